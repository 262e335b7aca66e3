//! What calibration must find, and must not find, in rounds whose truth is known.

use echo_core::sampling::philox;
use echo_gate::{Auc, Bootstrap, CalibrateParams, ParamsError, Sample, TauSource, calibrate};

/// The `lane`-th even draw of round `i`, in `0..1`.
fn even(seed: u32, i: u32, lane: usize) -> f32 {
    (philox([i, 0, 0, 0], [seed, 1])[lane] >> 8) as f32 / 16_777_216.0
}

/// Rounds of even confidence that gain with the chance `truth` gives it.
fn rounds(n: u32, seed: u32, truth: impl Fn(f32) -> f32) -> Vec<Sample> {
    let round = |i| {
        let c = even(seed, i, 0);
        Sample::new(c, even(seed, i, 1) < truth(c), 4)
    };
    (0..n).filter_map(round).collect()
}

/// The same confidences, their labels dealt out anew.
fn shuffled(samples: &[Sample], seed: u32) -> Vec<Sample> {
    let mut labels: Vec<bool> = samples.iter().map(|s| s.gained()).collect();
    for i in (1..labels.len()).rev() {
        labels.swap(i, (even(seed, i as u32, 2) * (i + 1) as f32) as usize);
    }
    let relabel = |(s, y): (&Sample, bool)| Sample::new(s.confidence(), y, s.nodes());
    samples.iter().zip(labels).filter_map(relabel).collect()
}

fn params() -> CalibrateParams {
    CalibrateParams { resamples: 200, ..CalibrateParams::usual() }
}

fn chosen(levels: &[&[Sample]], params: CalibrateParams) -> Vec<u32> {
    let calibration = calibrate(levels, params).unwrap();
    calibration.depths.iter().filter(|d| d.chosen).map(|d| d.depth).collect()
}

fn sharp(c: f32) -> f32 {
    if c > 0.5 { 0.9 } else { 0.1 }
}

#[test]
fn a_planted_depth_is_found_and_shuffling_loses_it() {
    for seed in 0..20 {
        let noise = rounds(400, 3 * seed, |_| 0.4);
        let planted = rounds(400, 3 * seed + 1, sharp);
        let weak = rounds(400, 3 * seed + 2, |c| 0.3 + 0.2 * c);
        assert_eq!(chosen(&[&noise, &planted, &weak], params()), [2], "seed {seed}");
        let relabelled = shuffled(&planted, seed);
        assert_eq!(chosen(&[&noise, &relabelled, &weak], params()), [0; 0], "seed {seed}");
    }
}

#[test]
fn rare_gains_do_not_choose_a_depth_by_luck() {
    let lucky = |params| {
        (0..60).filter(move |&seed| {
            let rare = rounds(400, seed, |_| 0.004);
            !chosen(&[&rare], params).is_empty()
        })
    };
    assert_eq!(lucky(params()).count(), 0);
    // Negative control: without the floor on the rarer kind, luck does choose.
    assert!(lucky(CalibrateParams { kind_min: 1, ..params() }).count() > 0);
}

#[test]
fn a_depth_is_chosen_by_its_lower_bound() {
    // An area of 5/6 that so few rounds can't tell from the 0.82 asked for, but many can.
    let params = CalibrateParams { auc_min: 0.82, ..params() };
    let [few, many] = [400, 20_000].map(|n| rounds(n, 8, |c| c));
    let area = calibrate(&[&few], params).unwrap().depths[0].auc.unwrap();
    assert!(area.value > 0.82, "{area:?}");
    assert_eq!((chosen(&[&few], params), chosen(&[&many], params)), (vec![], vec![1]));
}

#[test]
fn each_bound_misses_the_true_area_one_time_in_twenty() {
    let bounds: Vec<Auc> = (0..300)
        .map(|seed| {
            let bootstrap = Bootstrap { resamples: 200, tail: 0.05, seed: u64::from(seed) };
            Auc::of(&rounds(300, seed, |c| c), bootstrap).unwrap()
        })
        .collect();
    let truth = 5.0 / 6.0;
    let above = bounds.iter().filter(|auc| auc.lower > truth).count();
    let below = bounds.iter().filter(|auc| auc.upper < truth).count();
    // 15 expected, deviation 4.
    assert!((4..=30).contains(&above) && (4..=30).contains(&below), "{above} and {below}");
}

#[test]
fn too_few_rounds_choose_nothing() {
    assert_eq!(chosen(&[&rounds(299, 1, sharp)], params()), [0; 0]);
    assert_eq!(chosen(&[&rounds(300, 1, sharp)], params()), [1]);
}

#[test]
fn calibration_takes_the_error_below_two_percent() {
    let over_confident = rounds(20_000, 5, |c| 0.6 * c * c);
    let calibration = calibrate(&[&over_confident], params()).unwrap();
    let known = &calibration.depths[0];
    let [before, after] = [known.ece_before, known.ece_after].map(|ece| ece.unwrap());
    assert!(before > 0.2, "before {before}");
    assert!(after <= 0.02, "after {after}");
}

#[test]
fn tau_is_where_a_node_gains_its_price() {
    let linear = rounds(20_000, 6, |c| c);
    let known = |price| {
        calibrate(&[&linear], CalibrateParams { price, ..params() }).map(|c| c.depths[0].tau)
    };
    let at = |price| known(price).unwrap();
    // Four nodes at 0.1 tokens each: a chance of 0.4, which is a confidence of 0.4 here.
    let tau = at(Some(0.1)).unwrap();
    assert!((tau.value - 0.4).abs() < 0.04 && tau.source == TauSource::Price, "{tau:?}");
    assert_eq!(at(Some(0.0)).unwrap().value, 0.0);
    assert_eq!(at(Some(9.0)).unwrap().value, 1.0);
    // Without a price, Youden's J parts where the chance crosses its mean.
    let tau = at(None).unwrap();
    assert!((tau.value - 0.5).abs() < 0.06 && tau.source == TauSource::Youden, "{tau:?}");
    for price in [f32::NAN, -1.0, f32::INFINITY] {
        assert!(matches!(known(Some(price)), Err(ParamsError::Price(_))), "{price}");
    }
}

#[test]
fn a_depth_that_never_closes_is_not_looked_at() {
    let planted = rounds(1000, 7, sharp);
    let free = CalibrateParams { price: Some(0.0), ..params() };
    assert!(calibrate(&[&planted], free).unwrap().sparse().thresholds.is_empty());
    let priced = CalibrateParams { price: Some(0.1), ..params() };
    let priced = calibrate(&[&planted], priced).unwrap().sparse();
    assert_eq!(priced.thresholds.len(), 1);
    assert!((priced.thresholds[0].tau - 0.5).abs() < 0.05);
}
