//! The exponential function, without a library whose answer could change.

use super::Simd;

/// Below this the result would be subnormal.
const LOWEST: f32 = -87.3;
/// Above this the result would overflow.
const HIGHEST: f32 = 88.0;
/// `1.5 * 2^23`: adding it leaves the nearest integer in the low bits.
const ROUNDER: f32 = 12_582_912.0;
/// `ln 2` in two parts; the first has nine bits, so a small integer times it is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// `(exp(r) - 1 - r) / r²` on `[-ln 2 / 2, ln 2 / 2]`, highest power first: Taylor's coefficients
/// `1 / n!`, which are good to 2⁻²⁵ there with six terms.
const SERIES: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];

/// `e^x` for `x` cut to `[-87.3, 88]`, within 2e-7 of itself; NaN stays NaN.
#[inline(always)]
pub(in super::super) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller runs on a processor with the instruction set; no memory is touched.
    unsafe {
        let x = S::min(S::splat(HIGHEST), S::max(S::splat(LOWEST), x));
        let biased = S::fma(x, S::splat(std::f32::consts::LOG2_E), S::splat(ROUNDER));
        let n = S::sub(biased, S::splat(ROUNDER));
        let r = S::fma(n, S::splat(-LN2_HIGH), x);
        let r = S::fma(n, S::splat(-LN2_LOW), r);
        let mut p = S::splat(SERIES[0]);
        for &term in &SERIES[1..] {
            p = S::fma(p, r, S::splat(term));
        }
        let p = S::fma(S::mul(r, r), p, S::add(r, S::splat(1.0)));
        S::scale(p, biased)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LANES, versions};
    use super::*;
    use crate::linear::Isa;

    #[inline(always)]
    unsafe fn map<S: Simd>(lanes: &mut [f32; LANES]) {
        // SAFETY: the array has sixteen floats.
        unsafe { S::store(lanes.as_mut_ptr(), exp::<S>(S::load(lanes.as_ptr()))) };
    }

    versions!(map_on = map(lanes: &mut [f32; LANES]));

    fn run(isa: Isa, mut lanes: [f32; LANES]) -> [f32; LANES] {
        // SAFETY: only available instruction sets are passed.
        unsafe { map_on(isa, &mut lanes) };
        lanes
    }

    #[test]
    fn it_is_close_to_the_exact_value_everywhere() {
        for &isa in Isa::available() {
            let mut worst = 0.0f64;
            for step in 0..20_000 {
                let x: [f32; LANES] =
                    std::array::from_fn(|i| -87.3 + (step * 16 + i) as f32 * (175.3 / 320_000.0));
                for (x, y) in x.into_iter().zip(run(isa, x)) {
                    let exact = f64::from(x).exp();
                    worst = worst.max((f64::from(y) - exact).abs() / exact);
                }
            }
            assert!(worst < 2e-7, "{isa}: {worst:e}");
        }
    }

    #[test]
    fn zero_gives_one_and_nan_stays() {
        for &isa in Isa::available() {
            assert_eq!(run(isa, [0.0; LANES]), [1.0; LANES]);
            assert!(run(isa, [f32::NAN; LANES])[3].is_nan());
            assert!(run(isa, [f32::NEG_INFINITY; LANES])[0] < 2e-38);
        }
    }
}
