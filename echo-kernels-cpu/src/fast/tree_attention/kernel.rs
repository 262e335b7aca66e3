//! The arithmetic of the query heads of one row over one block of positions.
//!
//! A block's answer is relative to the block's own largest score and is then *absorbed* by the sums
//! so far, so it is the same number whether it is absorbed at once or kept for later.

use super::LEN;
use super::keys::score;
use super::sums::Places;
use super::values::{SIDE_BY_SIDE, gather_all};
use crate::fast::kv_element::KvElement;
use crate::fast::simd::{LANES, Simd, exp, max, versions};
use crate::line::LINE;
use crate::linear::Isa;
use echo_core::Slot;

/// Query heads whose weights are kept between the keys and the values of a block, so that both
/// stay in the first-level cache while they are used.
pub(super) const TOGETHER: usize = 12;

/// The scores of [`TOGETHER`] query heads, and then their weights.
pub(super) type Weights = [[f32; LEN]; TOGETHER];

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
pub(super) struct Block<'a, T> {
    pub(super) cache: Cache<'a, T>,
    pub(super) padded: usize,
    pub(super) slots: &'a [Slot],
    pub(super) ahead: Ahead<'a>,
    pub(super) query: &'a [f32],
    pub(super) places: Places<'a>,
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

/// Asks for keys or values ahead of their use.
#[inline(always)]
pub(super) fn ask<S: Simd, T: Copy>(cache: Cache<'_, T>, of: &[T], wanted: Ahead<'_>) {
    for &slot in wanted.slots {
        let start = of.as_ptr().wrapping_add(slot as usize * cache.stride + wanted.first);
        for col in (0..cache.dim).step_by(LINE / size_of::<T>()) {
            S::prefetch(start.wrapping_add(col).cast());
        }
    }
}
