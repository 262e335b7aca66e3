//! What a query head carries from block to block: the largest score, and sums relative to it.

use crate::fast::simd::{LANES, Simd, exp, sum, versions};
use crate::linear::Isa;

/// The sums of some query heads.
#[derive(Default)]
pub(super) struct Sums {
    padded: usize,
    /// Largest score so far.
    max: Vec<f32>,
    /// Sum of weights relative to `max`, by lane, `[.., 16]`.
    sum: Vec<f32>,
    /// Weighted sum of values relative to `max`, `[.., padded]`.
    total: Vec<f32>,
}

/// The sums of some query heads, borrowed.
pub(super) struct Places<'a> {
    pub(super) max: &'a mut [f32],
    pub(super) sum: &'a mut [f32],
    pub(super) total: &'a mut [f32],
}

impl Sums {
    /// Room for `n` query heads of `padded` columns.
    pub(super) fn reserve(&mut self, n: usize, padded: usize) {
        let more = |held: &mut Vec<f32>, len: usize| {
            held.clear();
            held.reserve(len);
        };
        more(&mut self.max, n);
        more(&mut self.sum, n * LANES);
        more(&mut self.total, n * padded);
    }

    /// Nothing seen yet by `n` query heads of `padded` columns.
    pub(super) fn begin(&mut self, n: usize, padded: usize) {
        self.padded = padded;
        self.max.clear();
        self.max.resize(n, f32::NEG_INFINITY);
        self.sum.clear();
        self.sum.resize(n * LANES, 0.0);
        self.total.clear();
        self.total.resize(n * padded, 0.0);
    }

    /// The sums of query heads `first..first + n`.
    pub(super) fn places(&mut self, first: usize, n: usize) -> Places<'_> {
        Places {
            max: &mut self.max[first..first + n],
            sum: &mut self.sum[first * LANES..][..n * LANES],
            total: &mut self.total[first * self.padded..][..n * self.padded],
        }
    }

    /// Lets `n` query heads from `first` on absorb a block that was kept in those of `other` from
    /// `from` on, as they would have absorbed it at once.
    pub(super) fn absorb(&mut self, isa: Isa, first: usize, other: &Sums, from: usize, n: usize) {
        let padded = self.padded;
        assert_eq!(padded, other.padded, "sums of one shape");
        for i in 0..n {
            let (places, j) = (self.places(first + i, 1), from + i);
            let sum = &other.sum[j * LANES..][..LANES];
            let total = &other.total[j * padded..][..padded];
            // SAFETY: `isa` is available on the fast path; places and slices have the same lengths.
            unsafe { absorb_on(isa, places, other.max[j], sum, total) };
        }
    }

    /// Writes the attention of query head `i`.
    pub(super) fn finish(&self, isa: Isa, i: usize, out: &mut [f32]) {
        let mut whole = 0.0;
        // SAFETY: `isa` is available on the fast path; sixteen floats are passed.
        unsafe { sum_on(isa, &self.sum[i * LANES..][..LANES], &mut whole) };
        let scale = 1.0 / whole;
        for (out, total) in out.iter_mut().zip(&self.total[i * self.padded..]) {
            *out = total * scale;
        }
    }
}

impl Places<'_> {
    /// Takes the largest score and the sum of a block into those of query head `q`; gives the
    /// factors of the total so far and of the block's.
    ///
    /// Safety: there is such a query head; the instruction set of `S`.
    #[inline(always)]
    pub(super) unsafe fn join<S: Simd>(&mut self, q: usize, max: f32, sum: S::V) -> (f32, f32) {
        let before = self.max[q];
        let largest = if before > max { before } else { max };
        self.max[q] = largest;
        let mut lanes = [0.0; LANES];
        (lanes[0], lanes[1]) = (before - largest, max - largest);
        // SAFETY: the array has sixteen floats, and so has the sum of a query head.
        unsafe {
            S::store(lanes.as_mut_ptr(), exp::<S>(S::load(lanes.as_ptr())));
            let shares = (lanes[0], lanes[1]);
            absorb::<S>(self.sum[q * LANES..][..LANES].as_mut_ptr(), sum, shares);
            shares
        }
    }
}

/// `total = total * shares.0 + block * shares.1`.
///
/// Safety: sixteen floats at `total`; the instruction set of `S`.
#[inline(always)]
pub(super) unsafe fn absorb<S: Simd>(total: *mut f32, block: S::V, shares: (f32, f32)) {
    // SAFETY: handed on to the caller.
    unsafe {
        let before = S::mul(S::load(total), S::splat(shares.0));
        // A block that was kept for later has been added to zero, which turns -0 into 0.
        let block = S::add(block, S::splat(0.0));
        S::store(total, S::fma(block, S::splat(shares.1), before));
    }
}

versions!(absorb_on = absorb_kept(places: Places<'_>, max: f32, sum: &[f32], total: &[f32]));

/// Safety: one query head, sums of its lengths; the instruction set of `S`.
#[inline(always)]
unsafe fn absorb_kept<S: Simd>(mut places: Places<'_>, max: f32, sum: &[f32], total: &[f32]) {
    // SAFETY: handed on to the caller; totals are whole vectors.
    unsafe {
        let shares = places.join::<S>(0, max, S::load(sum.as_ptr()));
        for col in (0..total.len()).step_by(LANES) {
            let into = places.total.as_mut_ptr().add(col);
            absorb::<S>(into, S::load(total.as_ptr().add(col)), shares);
        }
    }
}

versions!(sum_on = sum_of(lanes: &[f32], whole: &mut f32));

/// Safety: sixteen lanes; the instruction set of `S`.
#[inline(always)]
unsafe fn sum_of<S: Simd>(lanes: &[f32], whole: &mut f32) {
    // SAFETY: handed on to the caller.
    *whole = unsafe { sum::<S>(S::load(lanes.as_ptr())) };
}
