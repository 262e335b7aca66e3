//! How far outputs are from an f64 product with the weights of the reference.

use crate::sample::{DTYPES, Random, Sample, normals};
use echo_core::DType;
use echo_kernels_cpu::linear::{Activations, Isa, PackedWeight, Scratch};
use echo_kernels_cpu::pool::Pool;
use echo_kernels_cpu::reference::dequantize;

const ROWS: usize = 8;

/// Mean squared error over mean square of the outputs for `x`, where the truth is the product of
/// the weights `w` and `truth`.
fn nmse(weight: &PackedWeight, w: &[f32], x: &[f32], truth: &[f32]) -> f64 {
    let (n, k) = (weight.rows(), weight.cols());
    let mut out = vec![0.0; ROWS * n];
    let mut scratch = Scratch::default();
    weight.apply(&Pool::new(2), &mut scratch, ROWS, x, k, 0, &mut out, n, 0);
    let (mut error, mut power) = (0.0, 0.0);
    for (i, out) in out.iter().enumerate() {
        let (x, w) = (&truth[i / n * k..][..k], &w[i % n * k..][..k]);
        let want: f64 = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
        error += (f64::from(*out) - want).powi(2);
        power += want * want;
    }
    error / power
}

fn reference(sample: &Sample) -> Vec<f32> {
    let mut weights = Vec::new();
    dequantize(&sample.view(), &mut weights);
    weights
}

#[test]
fn packed_weights_have_the_values_of_the_reference() {
    let mut random = Random(19);
    for dtype in DTYPES {
        let sample = Sample::new(dtype, 37, 768, &mut random);
        let weight = PackedWeight::new(&[sample.view()], Isa::Portable).expect("sound");
        let mut row = vec![0.0; 768];
        for (i, want) in reference(&sample).chunks_exact(768).enumerate() {
            weight.dequantize_row(i, &mut row);
            assert!(row == want, "{dtype}: row {i}");
        }
    }
}

#[test]
fn integer_and_float_activations_keep_their_error_bounds() {
    let mut random = Random(23);
    for dtype in DTYPES {
        let sample = Sample::new(dtype, 48, 768, &mut random);
        let w = reference(&sample);
        let gaussian = normals(ROWS * 768, &mut random);
        let heavy: Vec<f32> = gaussian.iter().map(|x| x * x * x).collect();
        for &isa in Isa::available() {
            for (mode, x, bound) in [
                (Activations::Int8, &gaussian, 4e-5),
                (Activations::Int8, &heavy, 2e-4),
                (Activations::Float, &gaussian, 1e-12),
                (Activations::Float, &heavy, 1e-12),
            ] {
                let weight = PackedWeight::new(&[sample.view()], isa).expect("sound");
                let weight = weight.with_activations(mode);
                let error = nmse(&weight, &w, x, x);
                println!("{isa} {dtype} {mode:?}: NMSE {error:.1e} (bound {bound:.0e})");
                assert!(error <= bound, "{isa} {dtype} {mode:?}: NMSE {error:e} above {bound:e}");
                // A product that leaves out four columns of 768 must not pass.
                let mut short = x.clone();
                short.iter_mut().step_by(192).for_each(|x| *x = 0.0);
                assert!(nmse(&weight, &w, &short, x) > bound, "{dtype}: the bound is too wide");
            }
        }
    }
}

#[test]
fn activations_that_are_not_finite_reach_every_output_of_their_row_only() {
    let sample = Sample::new(DType::Q4_1, 20, 64, &mut Random(29));
    for &isa in Isa::available() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = normals(2 * 64, &mut Random(31));
            x[40] = bad;
            let weight = PackedWeight::new(&[sample.view()], isa).expect("sound");
            let mut out = vec![0.0; 40];
            let pool = Pool::new(1);
            weight.apply(&pool, &mut Scratch::default(), 2, &x, 64, 0, &mut out, 20, 0);
            assert!(out[..20].iter().all(|x| !x.is_finite()), "{isa} {bad}: {out:?}");
            assert!(out[20..].iter().all(|x| x.is_finite()), "{isa} {bad}: {out:?}");
        }
    }
}
