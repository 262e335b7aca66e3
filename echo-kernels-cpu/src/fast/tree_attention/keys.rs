//! Queries times keys.

use super::LEN;
use super::kernel::{Ahead, Block, Cache, ask};
use crate::fast::kv_element::KvElement;
use crate::fast::simd::{LANES, Parts, Simd};
use echo_core::Slot;
use std::mem::MaybeUninit;

/// Vectors of the longest key that query heads share as it was converted.
const WHOLE_MAX: usize = 8;
/// The slots of sixteen keys that follow each other.
const IN_ORDER: [Slot; LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Fills the scores of query heads from `first` on; what lies beyond the positions means nothing.
///
/// Safety: as `attend_dim`, and there are as many query heads as `scores`.
#[inline(always)]
pub(super) unsafe fn score<S: Simd, T: KvElement, const WHOLE: usize>(
    block: &Block<'_, T>,
    first: usize,
    scores: &mut [[f32; LEN]],
) {
    let Block { cache, padded, .. } = *block;
    let Cache { stride, dim, .. } = cache;
    // Several query heads share what is converted. (The branches below are where they are because
    // this form of the loop is the quickest: others took 8 % longer with one row.)
    let fits = (1..=WHOLE_MAX).contains(&WHOLE);
    let shares = T::CONVERTS && S::HALVES_ARE_DEAR && fits && scores.len() > 1;
    let mut wide = MaybeUninit::<[f32; LANES * WHOLE_MAX * LANES]>::uninit();
    let wide: *mut f32 = wide.as_mut_ptr().cast();
    for (v, slots) in block.slots.chunks(LANES).enumerate() {
        // SAFETY: asking for memory ahead touches none; the rest is handed on to the caller. The
        // keys of sixteen slots, each of at most `WHOLE_MAX` vectors, fit `wide`.
        unsafe {
            if first == 0 {
                let wanted = Ahead { slots, first: cache.first };
                ask::<S, T>(cache, cache.values, wanted);
            }
            let keys = cache.keys.as_ptr().add(cache.first);
            if shares {
                for (i, &slot) in slots.iter().enumerate() {
                    let key = keys.add(slot as usize * stride);
                    for at in (0..WHOLE).map(|c| c * LANES) {
                        S::store(wide.add(i * dim + at), T::load::<S>(key.add(at)));
                    }
                }
            }
            for (q, scores) in scores.iter_mut().enumerate() {
                let query = block.query.as_ptr().add((first + q) * padded);
                let sums = if shares {
                    let slots = &IN_ORDER[..slots.len()];
                    S::sums(&Products::<f32, WHOLE> { keys: wide, stride: dim, dim, query, slots })
                } else {
                    S::sums(&Products::<T, WHOLE> { keys, stride, dim, query, slots })
                };
                S::store(scores.as_mut_ptr().add(v * LANES), sums);
            }
        }
    }
}

/// A query and sixteen keys: part `i` is their product lane by lane, vectors ascending, for the
/// `i`-th of the slots; the last stands in for those beyond it.
struct Products<'a, T, const WHOLE: usize> {
    /// Of one key head, from the first slot on.
    keys: *const T,
    /// Numbers from slot to slot.
    stride: usize,
    dim: usize,
    query: *const f32,
    slots: &'a [Slot],
}

impl<S: Simd, T: KvElement, const WHOLE: usize> Parts<S> for Products<'_, T, WHOLE> {
    #[inline(always)]
    unsafe fn part(&self, i: usize) -> S::V {
        let dim = self.dim;
        let slot = self.slots[i.min(self.slots.len() - 1)] as usize;
        let whole = if WHOLE > 0 { WHOLE } else { dim / LANES };
        // SAFETY: the slot lies in the cache and a key within it; a query is padded to vectors.
        unsafe {
            let key = self.keys.add(slot * self.stride);
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
