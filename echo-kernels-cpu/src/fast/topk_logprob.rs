//! The fast form of [`topk_logprob`](crate::reference::topk_logprob()): one pass for the best
//! columns, one for the sum of exponentials in sixteen lanes; nothing is sorted.

use super::Fast;
use super::rows::Rows;
use super::simd::{LANES, Simd, exp, load_part, store_part, sum, versions};
use crate::area::Area;
use echo_core::TopK;

/// Exponents below this give nothing that counts beside 1.
const LOWEST: f32 = -80.0;

impl Fast {
    pub(crate) fn topk_logprob(
        &self,
        rows: usize,
        x: &[f32],
        area: Area,
        k: usize,
        best: &mut TopK,
    ) {
        assert!((1..=area.width).contains(&k), "topk_logprob: k is {k} of {} columns", area.width);
        best.reset(rows, k);
        let own = Area { stride: k, col: 0, width: k };
        let columns = Rows::new(&mut best.column, own, rows);
        let log_probs = Rows::new(&mut best.log_prob, own, rows);
        self.each_row(rows, area.width, &|row| {
            let x = &x[area.at(row, 0)..area.at(row, area.width)];
            // SAFETY: each row is worked on once.
            unsafe {
                let log_probs = log_probs.row_mut(row);
                select(x, columns.row_mut(row), log_probs);
                let max = log_probs[0];
                let mut total = 0.0;
                total_on(self.isa, x, max, &mut total);
                let log_total = total.ln();
                for log_prob in log_probs {
                    let own = *log_prob - max - log_total;
                    *log_prob = if own.is_nan() { f32::NEG_INFINITY } else { own };
                }
            }
        });
    }
}

/// Leaves in `columns` and `values` the best columns of `x`, best first, by insertion: few of the
/// many columns get past the last place.
fn select(x: &[f32], columns: &mut [u32], values: &mut [f32]) {
    let mut held = 0;
    for (i, &l) in x.iter().enumerate() {
        if held == values.len() && (l <= values[held - 1] || l.is_nan()) {
            continue;
        }
        let value = if l.is_nan() { f32::NEG_INFINITY } else { l };
        let place = values[..held].partition_point(|&v| v >= value);
        held = (held + 1).min(values.len());
        values[place..held].rotate_right(1);
        columns[place..held].rotate_right(1);
        (values[place], columns[place]) = (value, i as u32);
    }
}

versions!(total_on = total(x: &[f32], max: f32, out: &mut f32));

/// `sum(exp(x - max))`; NaN counts as nothing.
///
/// Safety: the instruction set of `S`.
#[inline(always)]
unsafe fn total<S: Simd>(x: &[f32], max: f32, out: &mut f32) {
    let (n, tail) = (x.len() / LANES * LANES, x.len() % LANES);
    // SAFETY: all offsets are below the slice's length; the part is `tail < 16` floats.
    unsafe {
        // What lies below is raised to `LOWEST`, NaN too: `max` gives its second where one is NaN.
        let lowest = S::splat(LOWEST);
        let term = |v: S::V| exp::<S>(S::max(S::sub(v, S::splat(max)), lowest));
        let mut sums = [S::splat(0.0); 2];
        for (turn, i) in (0..n).step_by(LANES).enumerate() {
            sums[turn % 2] = S::add(sums[turn % 2], term(S::load(x.as_ptr().add(i))));
        }
        if tail > 0 {
            // The lanes beyond the row must not count.
            let mut lanes = [0.0; LANES];
            let terms = term(load_part::<S>(x.as_ptr().add(n), tail));
            store_part::<S>(lanes.as_mut_ptr(), terms, tail);
            sums[0] = S::add(sums[0], S::load(lanes.as_ptr()));
        }
        *out = sum::<S>(S::add(sums[0], sums[1]));
    }
}
