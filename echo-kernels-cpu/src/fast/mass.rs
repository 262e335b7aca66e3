//! Bounds on the mass of a row, much faster than the sum itself: single precision, sixteen lanes.

use super::simd::{LANES, Simd, exp, sum, versions};
use crate::linear::Isa;

/// How far the sum of the law may be from the fast one, relative to it. The exponential is within
/// 2e-7, a lane adds sixteen numbers, lanes are added in four steps: 1.5e-6 at most.
const ERROR: f64 = 1e-5;
/// Vectors that are added in single precision.
const VECTORS: usize = 16;

/// Two numbers between which the sum of `exp(l - max)` over all logits lies, as
/// [`echo_core::sampling`] sums it. `max` is the best logit and finite.
pub(super) fn bounds(isa: Isa, logits: &[f32], max: f32) -> (f64, f64) {
    let mut total = 0.0;
    // SAFETY: the caller's instruction set is that of its device, which is available.
    unsafe { total_on(isa, logits, max, &mut total) };
    (total * (1.0 - ERROR), total * (1.0 + ERROR))
}

versions!(total_on = total(logits: &[f32], max: f32, out: &mut f64));

#[inline(always)]
unsafe fn total<S: Simd>(logits: &[f32], max: f32, out: &mut f64) {
    // SAFETY: the caller runs on a processor with the instruction set; every load is of an array of
    // sixteen floats.
    unsafe {
        for run in logits.chunks(VECTORS * LANES) {
            let mut lanes = S::splat(0.0);
            let (whole, rest) = run.as_chunks::<LANES>();
            for logits in whole {
                let below = S::sub(S::load(logits.as_ptr()), S::splat(max));
                lanes = S::add(lanes, exp::<S>(below));
            }
            if !rest.is_empty() {
                let mut padded = [f32::NEG_INFINITY; LANES];
                padded[..rest.len()].copy_from_slice(rest);
                let below = S::sub(S::load(padded.as_ptr()), S::splat(max));
                lanes = S::add(lanes, exp::<S>(below));
            }
            *out += f64::from(sum::<S>(lanes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::sampling::philox;

    #[test]
    fn the_sum_of_the_law_lies_between_the_bounds_and_they_are_close() {
        for seed in 0..60 {
            let vocab = [1, 15, 16, 300, 5000, 49_152][seed % 6];
            let spread = [1.0, 10.0, 60.0, 300.0][seed / 6 % 4];
            let draw = |i: usize| match philox([i as u32, seed as u32, 0, 0], [7, 8]) {
                [_, kind, ..] if kind % 11 == 0 => f32::NEG_INFINITY,
                [bits, ..] => (f64::from(bits) / f64::from(u32::MAX)) as f32 * spread,
            };
            let mut logits: Vec<f32> = (0..vocab).map(draw).collect();
            logits[vocab / 2] = spread;
            let sum: f64 = logits.iter().map(|l| f64::from(l - spread).exp()).sum();
            for &isa in Isa::available() {
                let (least, most) = bounds(isa, &logits, spread);
                assert!(least < sum && sum < most, "{isa}: {least} {sum} {most}");
                assert!(most - least < 3e-5 * sum, "{isa}: {least} to {most}");
                // A fifth of the allowance, so that a processor that rounds otherwise has room.
                let middle = f64::midpoint(least, most);
                assert!((middle - sum).abs() < 2e-6 * sum, "{isa}: {middle} of {sum}");
            }
        }
    }
}
