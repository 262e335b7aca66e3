//! AUC and isotonic fit against their definitions, for any floats; nothing panics on any of them.

use echo_gate::{
    Auc, Bootstrap, CalibrateParams, CalibrationFile, Fingerprint, Isotonic, Sample, auc, calibrate,
};
use proptest::prelude::*;

fn confidence() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => (0_u32..6).prop_map(|i| i as f32 / 5.0),
        3 => 0.0_f32..1.0,
        1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(-0.0)],
        1 => any::<f32>(),
    ]
}

fn rounds(n: usize) -> impl Strategy<Value = Vec<Sample>> {
    prop::collection::vec((confidence(), any::<bool>(), 1_u32..9), 0..n)
        .prop_map(|drawn| drawn.into_iter().filter_map(|(c, y, n)| Sample::new(c, y, n)).collect())
}

/// `P(c⁺ > c⁻) + share · P(c⁺ = c⁻)`, pair by pair; the definition has `share = ½`.
fn auc_by_pairs(samples: &[Sample], share: f64) -> Option<f64> {
    let (mut won, mut pairs) = (0.0, 0.0);
    for a in samples.iter().filter(|s| s.gained()) {
        for b in samples.iter().filter(|s| !s.gained()) {
            pairs += 1.0;
            won += match a.confidence().total_cmp(&b.confidence()) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => share,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    (pairs > 0.0).then(|| won / pairs)
}

/// Sum of squared errors of the best non-decreasing fit: all ways to cut the distinct confidences
/// into pools whose means don't fall.
fn least_squares(samples: &[Sample]) -> f64 {
    let mut at: Vec<f32> = samples.iter().map(|s| s.confidence()).collect();
    at.sort_unstable_by(f32::total_cmp);
    at.dedup();
    let mut best = f64::INFINITY;
    for cuts in 0..1_u32 << at.len().saturating_sub(1) {
        let (mut sum, mut before, mut first) = (0.0, f64::NEG_INFINITY, 0);
        for last in 0..at.len() {
            if last + 1 < at.len() && cuts >> last & 1 == 0 {
                continue;
            }
            let pool: Vec<f64> = samples
                .iter()
                .filter(|s| (at[first]..=at[last]).contains(&s.confidence()))
                .map(|s| f64::from(u8::from(s.gained())))
                .collect();
            let mean = pool.iter().sum::<f64>() / pool.len() as f64;
            sum += pool.iter().map(|y| (y - mean).powi(2)).sum::<f64>();
            if mean < before {
                sum = f64::INFINITY;
            }
            (before, first) = (mean, last + 1);
        }
        best = best.min(sum);
    }
    best
}

fn squares(samples: &[Sample], gain: impl Fn(f32) -> f32) -> f64 {
    let error = |s: &Sample| f64::from(gain(s.confidence())) - f64::from(u8::from(s.gained()));
    samples.iter().map(|s| error(s).powi(2)).sum()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn the_area_is_the_definition(samples in rounds(40)) {
        match (auc(&samples), auc_by_pairs(&samples, 0.5)) {
            (Some(fast), Some(slow)) => prop_assert!((fast - slow).abs() < 1e-12),
            (fast, slow) => prop_assert_eq!(fast, slow),
        }
        let mut turned = samples.clone();
        turned.reverse();
        prop_assert_eq!(auc(&samples), auc(&turned));
    }

    #[test]
    fn the_fit_is_the_best_that_never_falls(samples in rounds(9)) {
        let Some(map) = Isotonic::fit(&samples) else {
            prop_assert!(samples.is_empty());
            return Ok(());
        };
        let error = squares(&samples, |c| map.gain(c));
        prop_assert!((error - least_squares(&samples)).abs() < 1e-5);
    }

    #[test]
    fn the_map_never_falls_and_its_thresholds_are_exact(
        samples in rounds(40), a in confidence(), b in confidence(), gain in 0.0_f32..1.0,
    ) {
        let Some(map) = Isotonic::fit(&samples) else { return Ok(()) };
        prop_assert_eq!(Isotonic::new(map.knots().to_vec()), Ok(map.clone()));
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        prop_assert!((0.0..=1.0).contains(&map.gain(low)));
        prop_assert!(low.is_nan() || high.is_nan() || map.gain(low) <= map.gain(high));
        match map.last_below(gain) {
            None => prop_assert!(map.gain(0.0) >= gain),
            Some(tau) => {
                prop_assert!(map.gain(tau) < gain);
                prop_assert!(tau == 1.0 || map.gain(tau.next_up()) >= gain);
            }
        }
    }

    #[test]
    fn any_rounds_make_a_file_that_reads_back(
        samples in rounds(60), price in prop::option::of(any::<f32>()), auc_min in confidence(),
    ) {
        let params = CalibrateParams {
            rounds_min: 10, kind_min: 2, resamples: 5, price, auc_min, ..CalibrateParams::usual()
        };
        let Ok(calibration) = calibrate(&[&samples, &[]], params) else {
            prop_assert!(params.check().is_err());
            return Ok(());
        };
        prop_assert!(echo_gate::Sparse::new(calibration.sparse()).is_ok());
        let name = || "n".to_owned();
        let fingerprint = Fingerprint {
            target: name(),
            drafter: name(),
            head: Some(name()),
            dtype: name(),
            backend: name(),
            prompt_set: name(),
        };
        let file = CalibrationFile::new(fingerprint, calibration);
        prop_assert_eq!(CalibrationFile::from_json(&file.to_json().unwrap()).unwrap(), file);
    }

    #[test]
    fn bounds_are_ordered_shares(samples in rounds(60), seed in any::<u64>()) {
        let bootstrap = Bootstrap { resamples: 9, tail: 0.05, seed };
        if let Some(auc) = Auc::of(&samples, bootstrap) {
            prop_assert!(0.0 <= auc.lower && auc.lower <= auc.upper && auc.upper <= 1.0);
        }
    }
}

/// Negative controls: the comparisons above reject ties that count whole, and a fit that keeps the
/// means it should pool.
#[test]
fn wrong_variants_are_caught() {
    let drawn = [(0.5, true), (0.5, false), (0.7, false)];
    let samples: Vec<Sample> = drawn.iter().filter_map(|&(c, y)| Sample::new(c, y, 1)).collect();
    assert!((auc(&samples).unwrap() - auc_by_pairs(&samples, 1.0).unwrap()).abs() > 0.1);
    let unpooled = |c| if c < 0.6 { 0.5 } else { 0.0 };
    assert!((squares(&samples, unpooled) - least_squares(&samples)).abs() > 0.1);
    let flat = |_| 0.5;
    assert!((squares(&samples, flat) - least_squares(&samples)).abs() > 0.01);
}
