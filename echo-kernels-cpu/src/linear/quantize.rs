//! Activations as 8-bit integers, for the integer kernels.
//!
//! Each block of 32 columns of a row becomes `x = scale * q` with `scale = max|x| / 127` and `q`
//! rounded to the nearest integer, ties to even. Beside them lie the sums of `q` that kernels need
//! for minima and for weights stored with an offset. Sums are of `q`, not of `x`: then the error of
//! an output is the error of `x` times the *weight*, not times the much larger stored weight.
//!
//! A block that holds a NaN or an infinity gets a NaN scale, so every output that reads it is NaN.

use super::format::BLOCK;
use super::isa::Isa;

/// Largest absolute value below which a block counts as zero, so that `127 / max` stays finite.
const TINY: f32 = 1e-30;

/// Adding and subtracting it rounds a float below 2^22 to an integer, ties to even.
const ROUND: f32 = 12_582_912.0;

/// Quantised activations of some rows; grown when a call needs more, never shrunk.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    pub(super) cols: usize,
    /// `[rows, cols]`
    pub(super) q: Vec<i8>,
    /// `q` as 16-bit integers, columns 0, 2, 1, 3 of each four, `[rows, cols]`.
    pub(super) q16: Vec<i16>,
    /// `[rows, blocks]`
    pub(super) scale: Vec<f32>,
    /// `scale` times the sum of `q`, `[rows, blocks]`.
    pub(super) scaled_sum: Vec<f32>,
    /// Minus the sum of `q`, `[rows, blocks]`.
    pub(super) minus_sum: Vec<i32>,
    /// The same for each half of a block, `[rows, blocks, 2]`.
    pub(super) minus_half: Vec<i32>,
}

/// The places of one row in a [`Scratch`].
pub(super) struct Row<'a> {
    pub(super) q: &'a mut [i8],
    pub(super) q16: &'a mut [i16],
    pub(super) scale: &'a mut [f32],
    pub(super) scaled_sum: &'a mut [f32],
    pub(super) minus_sum: &'a mut [i32],
    pub(super) minus_half: &'a mut [i32],
}

impl Scratch {
    /// Room for `rows` rows of `cols` activations, so that no later call of that size allocates.
    pub fn with_capacity(rows: usize, cols: usize) -> Self {
        let mut scratch = Scratch::default();
        scratch.resize(rows, cols.next_multiple_of(BLOCK));
        scratch
    }

    pub(super) fn resize(&mut self, rows: usize, cols: usize) {
        fn at_least<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) {
            if buffer.len() < len {
                buffer.resize(len, T::default());
            }
        }
        let blocks = rows * (cols / BLOCK);
        self.cols = cols;
        at_least(&mut self.q, rows * cols);
        at_least(&mut self.q16, rows * cols);
        at_least(&mut self.scale, blocks);
        at_least(&mut self.scaled_sum, blocks);
        at_least(&mut self.minus_sum, blocks);
        at_least(&mut self.minus_half, blocks * 2);
    }

    /// The places of the rows, in order; [`Scratch::resize`] has made them.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = Row<'_>> {
        let (cols, blocks) = (self.cols, self.cols / BLOCK);
        let q = self.q.chunks_exact_mut(cols);
        let q16 = self.q16.chunks_exact_mut(cols);
        let scale = self.scale.chunks_exact_mut(blocks);
        let scaled_sum = self.scaled_sum.chunks_exact_mut(blocks);
        let minus_sum = self.minus_sum.chunks_exact_mut(blocks);
        let minus_half = self.minus_half.chunks_exact_mut(blocks * 2);
        let parts = q.zip(q16).zip(scale.zip(scaled_sum)).zip(minus_sum.zip(minus_half));
        parts.map(|(((q, q16), (scale, scaled_sum)), (minus_sum, minus_half))| Row {
            q,
            q16,
            scale,
            scaled_sum,
            minus_sum,
            minus_half,
        })
    }
}

impl Row<'_> {
    /// Fills the row from `x`, a whole number of blocks. `isa` must be available here; all give
    /// the same bits, but only AVX2 gets `q16`.
    pub(super) fn fill(&mut self, isa: Isa, x: &[f32]) {
        match isa {
            // SAFETY: the instruction set is available here.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { self.fill_avx2::<true>(x) },
            // SAFETY: it includes AVX2.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => unsafe { self.fill_avx2::<false>(x) },
            _ => self.fill_plain::<false>(x),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn fill_avx2<const Q16: bool>(&mut self, x: &[f32]) {
        self.fill_plain::<Q16>(x);
    }

    #[allow(clippy::inline_always, reason = "vectorised for the features of its caller")]
    #[inline(always)]
    fn fill_plain<const Q16: bool>(&mut self, x: &[f32]) {
        let blocks = x.as_chunks::<BLOCK>().0;
        let q = self.q.as_chunks_mut::<BLOCK>().0;
        let q16 = self.q16.as_chunks_mut::<BLOCK>().0;
        for (block, x) in blocks.iter().enumerate() {
            let (scale, sums) = quantize(x, &mut q[block]);
            if Q16 {
                let fours = q16[block].as_chunks_mut::<4>().0.iter_mut();
                for (q16, q) in fours.zip(q[block].as_chunks::<4>().0) {
                    *q16 = [q[0], q[2], q[1], q[3]].map(i16::from);
                }
            }
            let sum = sums[0] + sums[1];
            self.scale[block] = scale;
            self.scaled_sum[block] = scale * sum as f32;
            self.minus_sum[block] = -sum;
            self.minus_half[block * 2] = -sums[0];
            self.minus_half[block * 2 + 1] = -sums[1];
        }
    }
}

/// Quantises one block; the scale, and the sums of both halves.
#[allow(clippy::inline_always, reason = "vectorised for the features of its caller")]
#[inline(always)]
fn quantize(x: &[f32; BLOCK], q: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    // Without the sign, floats are ordered as their bits are, and NaN stands above infinity.
    let max = x.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff));
    let max = f32::from_bits(max);
    if !max.is_finite() || max < TINY {
        q.fill(0);
        return (if max < TINY { 0.0 } else { f32::NAN }, [0; 2]);
    }
    let inverse = 127.0 / max;
    let mut rounded = [0i32; BLOCK];
    for (rounded, x) in rounded.iter_mut().zip(x) {
        *rounded = (x * inverse + ROUND).to_bits() as i32 - ROUND.to_bits() as i32;
    }
    for (q, &rounded) in q.iter_mut().zip(&rounded) {
        *q = rounded as i8;
    }
    let (low, high) = rounded.split_at(BLOCK / 2);
    (max / 127.0, [low.iter().sum(), high.iter().sum()])
}
