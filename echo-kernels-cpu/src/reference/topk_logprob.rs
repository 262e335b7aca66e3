//! `topk_logprob` — what a drafter proposes after each of its rows.
//! also: `echo-kernels-cuda/cu/topk_logprob.cu`, `echo-kernels-wgpu/wgsl/topk_logprob.wgsl`
//!
//! ```text
//! in   x       f32[rows, width]
//! in   k       1..=width
//! out  column, log_prob [rows, k]   best first, ties by lowest column
//! NaN counts as -inf, which has log_prob -inf.
//! numerics: columns exact; log-probabilities 1e-5 absolute.
//! panics: if the area leaves its buffer or k is out of range.
//! source: the children of a frontier node, EAGLE-2 (Li et al. 2024), section 4.
//! ```

use crate::Area;
use echo_core::TopK;

/// Sorts every row whole.
pub fn topk_logprob(rows: usize, x: &[f32], area: Area, k: usize, best: &mut TopK) {
    assert!((1..=area.width).contains(&k), "topk_logprob: k is {k} of {} columns", area.width);
    best.reset(rows, k);
    for row in 0..rows {
        let sound = |l: f32| if l.is_nan() { f32::NEG_INFINITY } else { l };
        let value = |i: usize| f64::from(sound(x[area.at(row, i)]));
        let mut order: Vec<usize> = (0..area.width).collect();
        order.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
        let max = value(order[0]);
        let sum: f64 = (0..area.width).map(|i| (value(i) - max).exp()).sum();
        for (i, &column) in order[..k].iter().enumerate() {
            best.column[row * k + i] = column as u32;
            let log_prob = value(column) - max - sum.ln();
            best.log_prob[row * k + i] = sound(log_prob as f32);
        }
    }
}
