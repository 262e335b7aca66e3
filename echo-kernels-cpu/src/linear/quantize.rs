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
use super::stream::fetch;

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
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AVX2 reads it"))]
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

    /// Asks for the first `rows` rows, which another core has written, to be read.
    pub(super) fn ask(&self, rows: usize) {
        let blocks = rows * (self.cols / BLOCK);
        fetch(&self.q[..rows * self.cols]);
        fetch(&self.scale[..blocks]);
        fetch(&self.scaled_sum[..blocks]);
        fetch(&self.minus_sum[..blocks]);
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
            _ => {
                for (block, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
                    let (scale, sums) = quantize(x, &mut self.q.as_chunks_mut::<BLOCK>().0[block]);
                    self.put(block, scale, sums);
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn fill_avx2<const Q16: bool>(&mut self, x: &[f32]) {
        for (block, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
            let q = &mut self.q.as_chunks_mut::<BLOCK>().0[block];
            let (scale, sums) = super::avx2_quantize::quantize(x, q);
            if Q16 {
                let q16 = self.q16.as_chunks_mut::<BLOCK>().0[block].as_chunks_mut::<4>().0;
                for (q16, q) in q16.iter_mut().zip(q.as_chunks::<4>().0) {
                    *q16 = [q[0], q[2], q[1], q[3]].map(i16::from);
                }
            }
            self.put(block, scale, sums);
        }
    }

    /// Writes what belongs to a block beside its activations.
    #[inline]
    fn put(&mut self, block: usize, scale: f32, sums: [i32; 2]) {
        let sum = sums[0] + sums[1];
        self.scale[block] = scale;
        self.scaled_sum[block] = scale * sum as f32;
        self.minus_sum[block] = -sum;
        self.minus_half[block * 2] = -sums[0];
        self.minus_half[block * 2 + 1] = -sums[1];
    }
}

/// The scale of a block by the bits of its largest magnitude, and the factor of its activations;
/// or, of a block that is zero or not finite, the scale alone.
#[inline]
pub(super) fn scales(max: u32) -> (f32, Option<f32>) {
    let max = f32::from_bits(max);
    if max < TINY {
        (0.0, None)
    } else if max.is_finite() {
        (max / 127.0, Some(127.0 / max))
    } else {
        (f32::NAN, None)
    }
}

/// Quantises one block; the scale, and the sums of both halves.
fn quantize(x: &[f32; BLOCK], q: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    // Without the sign, floats are ordered as their bits are, and NaN stands above infinity.
    let max = x.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff));
    let (scale, Some(inverse)) = scales(max) else {
        q.fill(0);
        return (scales(max).0, [0; 2]);
    };
    let mut rounded = [0i32; BLOCK];
    for (rounded, x) in rounded.iter_mut().zip(x) {
        *rounded = (x * inverse + ROUND).to_bits() as i32 - ROUND.to_bits() as i32;
    }
    for (q, &rounded) in q.iter_mut().zip(&rounded) {
        *q = rounded as i8;
    }
    let (low, high) = rounded.split_at(BLOCK / 2);
    (scale, [low.iter().sum(), high.iter().sum()])
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Blocks with ties between integers, zeros, tiny and huge values, infinities and NaN.
    fn blocks() -> impl Iterator<Item = [f32; BLOCK]> {
        let mut state = 0x9E37_79B9u32;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        (0..2000).map(move |i| {
            let wide = (next() as f32 / 1e9).exp();
            let mut x = std::array::from_fn(|_| (next() as f32 / u32::MAX as f32 - 0.5) * wide);
            match i % 10 {
                0 => x = x.map(|x| (x * 20.0).round() / 2.0),
                1 => x[next() as usize % BLOCK] = 63.5,
                2 => x[next() as usize % BLOCK] = f32::NAN,
                3 => x[next() as usize % BLOCK] = f32::NEG_INFINITY,
                4 => x = x.map(|x| x * 1e-31),
                5 => x = x.map(|x| x * 1e37),
                6 => x = [-0.0; BLOCK],
                _ => {}
            }
            x
        })
    }

    #[test]
    fn avx2_gives_the_bits_of_the_plain_form() {
        if !Isa::available().contains(&Isa::Avx2) {
            return;
        }
        let mut kinds = [0; 3];
        for x in blocks() {
            let (mut plain, mut fast) = ([1; BLOCK], [2; BLOCK]);
            let (scale, sums) = quantize(&x, &mut plain);
            // SAFETY: the instruction set is available here.
            let (fast_scale, fast_sums) =
                unsafe { super::super::avx2_quantize::quantize(&x, &mut fast) };
            assert_eq!((plain, sums), (fast, fast_sums), "{x:?}");
            assert_eq!(scale.to_bits(), fast_scale.to_bits(), "{x:?}");
            kinds[usize::from(scale > 0.0) + 2 * usize::from(scale.is_nan())] += 1;
        }
        assert!(kinds.iter().all(|&n| n > 100), "zero, finite, not finite: {kinds:?}");
    }
}
