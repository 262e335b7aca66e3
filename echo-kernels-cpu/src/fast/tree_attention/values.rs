//! Weights times values.

use super::kernel::{Block, Cache, TOGETHER, Weights, ask};
use super::sums::absorb;
use crate::fast::kv_element::KvElement;
use crate::fast::simd::{LANES, Simd};

/// Query heads that share each load of a value: as many chains of additions as hide each other's
/// latency.
pub(super) const SIDE_BY_SIDE: usize = 4;

/// Lets the totals of query heads `first + q..first + q + Q` absorb the weighted values.
///
/// Safety: as `attend_dim`, and there are such query heads.
#[inline(always)]
pub(super) unsafe fn gather_all<S: Simd, T: KvElement, const Q: usize>(
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
                absorb::<S>(total, sums[i][c], shares[q + i]);
            }
        }
    }
}
