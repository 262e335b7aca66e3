//! The arithmetic of one row over one block, and the sums a row carries from block to block.

use super::block::{Block, LEN};
use crate::fast::simd::{LANES, Simd, exp, max, sum, versions};
use crate::linear::Isa;

/// Query heads worked on side by side: as many chains of additions as hide each other's latency.
const SIDE_BY_SIDE: usize = 4;

/// Queries and running sums of the rows of one item, `[rows, group]` of each.
#[derive(Default)]
pub(super) struct State {
    group: usize,
    dim: usize,
    padded: usize,
    /// Scaled by `dim^-1/2`, `[.., dim]`.
    query: Vec<f32>,
    /// Largest score so far.
    max: Vec<f32>,
    /// Sum of weights relative to `max`, by lane, `[.., 16]`.
    sum: Vec<f32>,
    /// Weighted sum of values relative to `max`, `[.., padded]`.
    total: Vec<f32>,
}

impl State {
    /// Nothing seen yet by `rows` rows of `group` query heads.
    pub(super) fn begin(&mut self, rows: usize, group: usize, dim: usize) {
        (self.group, self.dim) = (group, dim);
        self.padded = dim.next_multiple_of(LANES);
        let n = rows * group;
        self.query.resize(n * dim, 0.0);
        self.max.clear();
        self.max.resize(n, f32::NEG_INFINITY);
        self.sum.clear();
        self.sum.resize(n * LANES, 0.0);
        self.total.clear();
        self.total.resize(n * self.padded, 0.0);
    }

    /// Takes the query heads of the `r`-th row.
    pub(super) fn query(&mut self, r: usize, heads: &[f32]) {
        let scale = 1.0 / (self.dim as f32).sqrt();
        let place = &mut self.query[r * heads.len()..][..heads.len()];
        for (place, &x) in place.iter_mut().zip(heads) {
            *place = x * scale;
        }
    }

    /// Adds what the `r`-th row sees in `block`.
    pub(super) fn attend(&mut self, isa: Isa, r: usize, block: &Block) {
        let all = r * self.group..(r + 1) * self.group;
        for first in all.clone().step_by(SIDE_BY_SIDE) {
            let n = SIDE_BY_SIDE.min(all.end - first);
            let queries = Queries {
                dim: self.dim,
                padded: self.padded,
                query: &self.query[first * self.dim..][..n * self.dim],
                max: &mut self.max[first..first + n],
                sum: &mut self.sum[first * LANES..][..n * LANES],
                total: &mut self.total[first * self.padded..][..n * self.padded],
                keys: block.keys(),
                values: block.values(),
                len: block.len(),
            };
            assert_eq!(queries.keys.len(), self.dim * LEN, "keys of a block");
            assert_eq!(queries.values.len(), queries.len * self.padded);
            // SAFETY: `isa` is available on the fast path, and the slices have the lengths that the
            // kernel states, as just cut or checked.
            unsafe { attend_on(isa, queries) };
        }
    }

    /// Writes the attention of the `r`-th row, `[group, dim]`.
    pub(super) fn finish(&self, isa: Isa, r: usize, out: &mut [f32]) {
        for (g, out) in out.chunks_exact_mut(self.dim).enumerate() {
            let q = r * self.group + g;
            let mut whole = 0.0;
            // SAFETY: `isa` is available on the fast path; sixteen floats are passed.
            unsafe { sum_on(isa, &self.sum[q * LANES..][..LANES], &mut whole) };
            let scale = 1.0 / whole;
            for (out, total) in out.iter_mut().zip(&self.total[q * self.padded..]) {
                *out = total * scale;
            }
        }
    }
}

/// Some query heads of one row, and the block they meet.
struct Queries<'a> {
    dim: usize,
    padded: usize,
    query: &'a [f32],
    max: &'a mut [f32],
    sum: &'a mut [f32],
    total: &'a mut [f32],
    /// `[dim, 16]`
    keys: &'a [f32],
    /// `[len, padded]`
    values: &'a [f32],
    len: usize,
}

versions!(sum_on = sum_of(lanes: &[f32], whole: &mut f32));
versions!(attend_on = attend(queries: Queries<'_>));

/// Safety: sixteen lanes; the instruction set of `S`.
#[inline(always)]
unsafe fn sum_of<S: Simd>(lanes: &[f32], whole: &mut f32) {
    // SAFETY: handed on to the caller.
    *whole = unsafe { sum::<S>(S::load(lanes.as_ptr())) };
}

/// Safety: the slices of `queries` have the lengths its type states; the instruction set of `S`.
#[inline(always)]
unsafe fn attend<S: Simd>(queries: Queries<'_>) {
    // SAFETY: handed on to the caller; the number of queries is the length of `max`.
    unsafe {
        match queries.max.len() {
            1 => attend_n::<S, 1>(queries),
            2 => attend_n::<S, 2>(queries),
            3 => attend_n::<S, 3>(queries),
            _ => attend_n::<S, SIDE_BY_SIDE>(queries),
        }
    }
}

/// Safety: as [`attend`], with `Q` queries.
#[inline(always)]
unsafe fn attend_n<S: Simd, const Q: usize>(mut queries: Queries<'_>) {
    // SAFETY: handed on to the caller.
    unsafe {
        let scores = scores::<S, Q>(&queries);
        let mut weights = [[0.0; LEN]; Q];
        let mut decay = [S::splat(0.0); Q];
        for q in 0..Q {
            (weights[q], decay[q]) = soften::<S>(&mut queries, q, scores[q]);
        }
        let vectors = queries.padded / LANES;
        for pair in 0..vectors / 2 {
            gather::<S, Q, 2>(&mut queries, &weights, &decay, 2 * pair * LANES);
        }
        if vectors % 2 == 1 {
            gather::<S, Q, 1>(&mut queries, &weights, &decay, (vectors - 1) * LANES);
        }
    }
}

/// One score per query and position: even and odd columns apart, then together.
///
/// Safety: as [`attend_n`].
#[inline(always)]
unsafe fn scores<S: Simd, const Q: usize>(queries: &Queries<'_>) -> [S::V; Q] {
    // SAFETY: a query has `dim` floats, the keys `dim` lines of sixteen; `dim` is even.
    unsafe {
        let (keys, query) = (queries.keys.as_ptr(), queries.query.as_ptr());
        let mut even = [S::splat(0.0); Q];
        let mut odd = [S::splat(0.0); Q];
        for d in (0..queries.dim).step_by(2) {
            let (low, high) = (S::load(keys.add(d * LEN)), S::load(keys.add((d + 1) * LEN)));
            for q in 0..Q {
                let at = query.add(q * queries.dim + d);
                even[q] = S::fma(S::splat(*at), low, even[q]);
                odd[q] = S::fma(S::splat(*at.add(1)), high, odd[q]);
            }
        }
        for q in 0..Q {
            even[q] = S::add(even[q], odd[q]);
        }
        even
    }
}

/// Turns the scores of query `q` into weights relative to the new largest score, and gives with
/// them the factor by which the sums so far shrink.
///
/// Safety: as [`attend_n`].
#[inline(always)]
unsafe fn soften<S: Simd>(queries: &mut Queries<'_>, q: usize, scores: S::V) -> ([f32; LEN], S::V) {
    let mut lanes = [0.0; LEN];
    // SAFETY: the arrays have sixteen floats, and so has the sum of a query.
    unsafe {
        let mut scores = scores;
        if queries.len < LEN {
            S::store(lanes.as_mut_ptr(), scores);
            lanes[queries.len..].fill(f32::NEG_INFINITY);
            scores = S::load(lanes.as_ptr());
        }
        let (before, here) = (queries.max[q], max::<S>(scores));
        let largest = if before > here { before } else { here };
        queries.max[q] = largest;
        let decay = exp::<S>(S::splat(before - largest));
        let mut weights = exp::<S>(S::sub(scores, S::splat(largest)));
        S::store(lanes.as_mut_ptr(), weights);
        if queries.len < LEN {
            lanes[queries.len..].fill(0.0);
            weights = S::load(lanes.as_ptr());
        }
        let sum = queries.sum.as_mut_ptr().add(q * LANES);
        S::store(sum, S::fma(S::load(sum), decay, weights));
        (lanes, decay)
    }
}

/// Adds the weighted values to the totals, positions ascending, for `C` vectors from column `col`.
///
/// Safety: as [`attend_n`], and `col + 16 C <= padded`.
#[inline(always)]
unsafe fn gather<S: Simd, const Q: usize, const C: usize>(
    queries: &mut Queries<'_>,
    weights: &[[f32; LEN]; Q],
    decay: &[S::V; Q],
    col: usize,
) {
    // SAFETY: totals are `[Q, padded]`, values `[len, padded]`.
    unsafe {
        let padded = queries.padded;
        let totals = queries.total.as_mut_ptr().add(col);
        let values = queries.values.as_ptr().add(col);
        let mut sums = [[S::splat(0.0); C]; Q];
        for q in 0..Q {
            for c in 0..C {
                sums[q][c] = S::mul(S::load(totals.add(q * padded + c * LANES)), decay[q]);
            }
        }
        for j in 0..queries.len {
            for c in 0..C {
                let value = S::load(values.add(j * padded + c * LANES));
                for q in 0..Q {
                    sums[q][c] = S::fma(S::splat(weights[q][j]), value, sums[q][c]);
                }
            }
        }
        for q in 0..Q {
            for c in 0..C {
                S::store(totals.add(q * padded + c * LANES), sums[q][c]);
            }
        }
    }
}
