//! The arithmetic of the query heads of one row over one block of positions.
//!
//! A block's answer is relative to the block's own largest score and is then *absorbed* by the sums
//! so far, so it is the same number whether it is absorbed at once or kept for later.

use super::LEN;
use super::sums::Places;
use crate::fast::kv_element::KvElement;
use crate::fast::simd::{LANES, Parts, Simd, exp, max, versions};
use crate::line::LINE;
use crate::linear::Isa;
use echo_core::Slot;

/// Query heads that share each load of a value: as many chains of additions as hide each other's
/// latency.
const SIDE_BY_SIDE: usize = 4;
/// Query heads whose weights are kept between the keys and the values of a block, so that both
/// stay in the first-level cache while they are used.
const TOGETHER: usize = 12;

/// The scores of [`TOGETHER`] query heads, and then their weights.
type Weights = [[f32; LEN]; TOGETHER];

/// The keys and values of one key head.
#[derive(Clone, Copy)]
pub(super) struct Cache<'a, T> {
    pub(super) keys: &'a [T],
    pub(super) values: &'a [T],
    /// Numbers from slot to slot.
    pub(super) stride: usize,
    /// Numbers from the start of a slot to the key head.
    pub(super) first: usize,
    /// Numbers of a key.
    pub(super) dim: usize,
}

impl<T> Cache<'_, T> {
    /// Numbers of a key, up to whole vectors.
    pub(super) fn padded(&self) -> usize {
        self.dim.next_multiple_of(LANES)
    }
}

/// Keys that are wanted next, if any: of `slots`, those of the key head `first` numbers into one.
#[derive(Clone, Copy, Default)]
pub(super) struct Ahead<'a> {
    pub(super) slots: &'a [Slot],
    pub(super) first: usize,
}

/// Lets query heads, `[.., padded]` and zero beyond `dim`, attend to `slots`, at least one and at
/// most [`LEN`]; `places` has the sums of each.
///
/// Panics if a slot lies outside the cache.
pub(super) fn attend<T: KvElement>(
    isa: Isa,
    cache: Cache<'_, T>,
    slots: &[Slot],
    ahead: Ahead<'_>,
    query: &[f32],
    places: Places<'_>,
) {
    let Cache { keys, values, stride, first, dim } = cache;
    assert!((1..=LEN).contains(&slots.len()), "{} positions in a block", slots.len());
    assert!(first + dim <= stride && dim > 0, "a key lies within its slot");
    let held = keys.len().min(values.len()) / stride;
    let last = slots.iter().fold(0, |last, &slot| slot.max(last));
    assert!((last as usize) < held, "slot {last} of a cache of {held}");
    let (n, padded) = (places.max.len(), cache.padded());
    assert_eq!((query.len(), places.total.len()), (n * padded, n * padded), "a query per place");
    assert_eq!(places.sum.len(), n * LANES, "lanes per place");
    // SAFETY: `isa` is available on the fast path, and the lengths are as just checked.
    unsafe { attend_on(isa, Block { cache, padded, slots, ahead, query, places }) };
}

/// Query heads and the positions they meet, checked by [`attend`].
struct Block<'a, T> {
    cache: Cache<'a, T>,
    padded: usize,
    slots: &'a [Slot],
    ahead: Ahead<'a>,
    query: &'a [f32],
    places: Places<'a>,
}

versions!(attend_on<T: KvElement> = attend_all(block: Block<'_, T>));

/// Safety: what [`attend`] checks; the instruction set of `S`.
#[inline(always)]
unsafe fn attend_all<S: Simd, T: KvElement>(block: Block<'_, T>) {
    // SAFETY: handed on to the caller.
    unsafe {
        match block.cache.dim {
            64 => attend_dim::<S, T, 4>(block),
            128 => attend_dim::<S, T, 8>(block),
            _ => attend_dim::<S, T, 0>(block),
        }
    }
}

/// Safety: as [`attend_all`]; `WHOLE` is the number of vectors of a key, or 0 for any size.
#[inline(always)]
unsafe fn attend_dim<S: Simd, T: KvElement, const WHOLE: usize>(mut block: Block<'_, T>) {
    let n = block.places.max.len();
    for first in (0..n).step_by(TOGETHER) {
        let count = TOGETHER.min(n - first);
        let mut weights = [[0.0; LEN]; TOGETHER];
        let mut shares = [(0.0, 0.0); TOGETHER];
        // SAFETY: queries `first..first + count` are among those of the block.
        unsafe {
            score::<S, T, WHOLE>(&block, first, &mut weights[..count]);
            for (q, weights) in weights[..count].iter_mut().enumerate() {
                let (largest, sum) = soften::<S>(weights, block.slots.len());
                shares[q] = block.places.join::<S>(first + q, largest, sum);
            }
            for q in (0..count).step_by(SIDE_BY_SIDE) {
                match count - q {
                    1 => gather_all::<S, T, 1>(&mut block, first, q, &weights, &shares),
                    2 => gather_all::<S, T, 2>(&mut block, first, q, &weights, &shares),
                    3 => gather_all::<S, T, 3>(&mut block, first, q, &weights, &shares),
                    _ => gather_all::<S, T, SIDE_BY_SIDE>(&mut block, first, q, &weights, &shares),
                }
            }
        }
    }
}

/// Fills the scores of query heads from `first` on; what lies beyond the positions means nothing.
///
/// Safety: as [`attend_dim`], and there are as many query heads as `scores`.
#[inline(always)]
unsafe fn score<S: Simd, T: KvElement, const WHOLE: usize>(
    block: &Block<'_, T>,
    first: usize,
    scores: &mut [[f32; LEN]],
) {
    let Block { cache, padded, .. } = *block;
    for (v, slots) in block.slots.chunks(LANES).enumerate() {
        // SAFETY: asking for memory ahead touches none; the rest is handed on to the caller.
        unsafe {
            if first == 0 {
                let wanted = Ahead { slots, first: cache.first };
                ask::<S, T>(cache, cache.values, wanted);
            }
            for (q, scores) in scores.iter_mut().enumerate() {
                let query = block.query.as_ptr().add((first + q) * padded);
                let sums = S::sums(&Products::<T, WHOLE> { cache, query, slots });
                S::store(scores.as_mut_ptr().add(v * LANES), sums);
            }
        }
    }
}

/// Asks for keys or values ahead of their use.
#[inline(always)]
fn ask<S: Simd, T: Copy>(cache: Cache<'_, T>, of: &[T], wanted: Ahead<'_>) {
    for &slot in wanted.slots {
        let start = of.as_ptr().wrapping_add(slot as usize * cache.stride + wanted.first);
        for col in (0..cache.dim).step_by(LINE / size_of::<T>()) {
            S::prefetch(start.wrapping_add(col).cast());
        }
    }
}

/// A query and sixteen keys: part `i` is their product lane by lane, vectors ascending, for the
/// `i`-th of the slots; the last stands in for those beyond it.
struct Products<'a, T, const WHOLE: usize> {
    cache: Cache<'a, T>,
    query: *const f32,
    slots: &'a [Slot],
}

impl<S: Simd, T: KvElement, const WHOLE: usize> Parts<S> for Products<'_, T, WHOLE> {
    #[inline(always)]
    unsafe fn part(&self, i: usize) -> S::V {
        let Cache { stride, first, dim, .. } = self.cache;
        let slot = self.slots[i.min(self.slots.len() - 1)] as usize;
        let whole = if WHOLE > 0 { WHOLE } else { dim / LANES };
        // SAFETY: the slot lies in the cache and a key within it; a query is padded to vectors.
        unsafe {
            let key = self.cache.keys.as_ptr().add(slot * stride + first);
            let mut sum = S::splat(0.0);
            for c in 0..whole {
                let (q, k) = (S::load(self.query.add(c * LANES)), T::load::<S>(key.add(c * LANES)));
                sum = if c == 0 { S::mul(q, k) } else { S::fma(q, k, sum) };
            }
            if WHOLE == 0 && !dim.is_multiple_of(LANES) {
                let q = S::load(self.query.add(whole * LANES));
                let k = T::load_part::<S>(key.add(whole * LANES), dim % LANES);
                sum = S::fma(q, k, sum);
            }
            sum
        }
    }
}

/// Turns the scores of `len` positions into weights relative to the largest, zero beyond; gives the
/// largest, and the sum of the weights by lane.
///
/// Safety: `len` is at least 1 and at most [`LEN`]; the instruction set of `S`.
#[inline(always)]
unsafe fn soften<S: Simd>(scores: &mut [f32; LEN], len: usize) -> (f32, S::V) {
    let padded = len.next_multiple_of(LANES);
    scores[len..padded].fill(f32::NEG_INFINITY);
    // SAFETY: whole vectors below the length of the array.
    unsafe {
        let mut most = S::load(scores.as_ptr());
        for first in (LANES..padded).step_by(LANES) {
            most = S::max(most, S::load(scores.as_ptr().add(first)));
        }
        let largest = max::<S>(most);
        let mut sum = S::splat(0.0);
        for first in (0..padded).step_by(LANES) {
            let place = scores.as_mut_ptr().add(first);
            S::store(place, exp::<S>(S::sub(S::load(place), S::splat(largest))));
            if first + LANES > len {
                scores[len..padded].fill(0.0);
            }
            sum = S::add(sum, S::load(place));
        }
        (largest, sum)
    }
}

/// Lets the totals of query heads `first + q..first + q + Q` absorb the weighted values.
///
/// Safety: as [`attend_dim`], and there are such query heads.
#[inline(always)]
unsafe fn gather_all<S: Simd, T: KvElement, const Q: usize>(
    block: &mut Block<'_, T>,
    first: usize,
    q: usize,
    weights: &Weights,
    shares: &[(f32, f32); TOGETHER],
) {
    let whole = block.cache.dim / LANES * LANES;
    let mut col = 0;
    if first + q == 0 {
        ask::<S, T>(block.cache, block.cache.keys, block.ahead);
    }
    // SAFETY: handed on to the caller; the columns lie within a padded query.
    unsafe {
        while S::ABREAST >= 4 && col + 4 * LANES <= whole {
            gather::<S, T, Q, 4, true>(block, first, q, weights, shares, col);
            col += 4 * LANES;
        }
        while col + 2 * LANES <= whole {
            gather::<S, T, Q, 2, true>(block, first, q, weights, shares, col);
            col += 2 * LANES;
        }
        if col < whole {
            gather::<S, T, Q, 1, true>(block, first, q, weights, shares, col);
        }
        if whole < block.padded {
            gather::<S, T, Q, 1, false>(block, first, q, weights, shares, whole);
        }
    }
}

/// Sums the weighted values, positions ascending, for `C` vectors from column `col`, and lets the
/// totals of `Q` query heads absorb them.
///
/// Safety: as [`gather_all`]; `C` vectors from `col` on lie in a padded query, and if `WHOLE` in a
/// value.
#[inline(always)]
unsafe fn gather<S: Simd, T: KvElement, const Q: usize, const C: usize, const WHOLE: bool>(
    block: &mut Block<'_, T>,
    first: usize,
    q: usize,
    weights: &Weights,
    shares: &[(f32, f32); TOGETHER],
    col: usize,
) {
    // SAFETY: handed on to the caller.
    unsafe {
        let Cache { stride, dim, .. } = block.cache;
        let values = block.cache.values.as_ptr().add(block.cache.first + col);
        let weights = weights.as_ptr().add(q);
        let mut sums = [[S::splat(0.0); C]; Q];
        for (j, &slot) in block.slots.iter().enumerate() {
            let value = values.add(slot as usize * stride);
            for c in 0..C {
                let value = if WHOLE {
                    T::load::<S>(value.add(c * LANES))
                } else {
                    T::load_part::<S>(value, dim - col)
                };
                for i in 0..Q {
                    let weight = S::splat((*weights.add(i))[j]);
                    sums[i][c] = S::fma(weight, value, sums[i][c]);
                }
            }
        }
        for i in 0..Q {
            for c in 0..C {
                let at = (first + q + i) * block.padded + col + c * LANES;
                let total = block.places.total[at..at + LANES].as_mut_ptr();
                super::sums::absorb::<S>(total, sums[i][c], shares[q + i]);
            }
        }
    }
}
