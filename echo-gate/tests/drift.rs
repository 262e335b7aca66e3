//! The alarm stays silent while the file's promise holds, and is raised soon after it breaks.

use echo_core::sampling::philox;
use echo_gate::{
    CalibrateParams, Calibration, Drift, DriftAlarm, DriftParams, Graded, Sample, calibrate,
};

fn even(seed: u32, i: u32, lane: usize) -> f32 {
    (philox([i, 0, 0, 0], [seed, 2])[lane] >> 8) as f32 / 16_777_216.0
}

fn round(seed: u32, i: u32, truth: &dyn Fn(f32) -> f32) -> Graded {
    let confidence = even(seed, i, 0);
    let gained = even(seed, i, 1) < truth(confidence);
    Graded { seq: 0, depth: 1, confidence, gained, nodes: 2 }
}

fn truth(c: f32) -> f32 {
    0.8 * c * c
}

fn learnt() -> Calibration {
    let rounds = (0..4000).filter_map(|i| {
        let g = round(0, i, &truth);
        Sample::new(g.confidence, g.gained, g.nodes)
    });
    let rounds: Vec<Sample> = rounds.collect();
    calibrate(&[&rounds], CalibrateParams { resamples: 200, ..CalibrateParams::usual() }).unwrap()
}

/// The first alarm in 20,000 rounds that gain by `truth`, checked every 50, and its round.
fn first(params: DriftParams, ungated: bool, truth: &dyn Fn(f32) -> f32) -> Option<(u32, Drift)> {
    let mut alarm = DriftAlarm::new(&learnt(), params);
    (0..20_000).find_map(|i| {
        alarm.observe(round(9, i, truth), ungated);
        (i % 50 == 0).then(|| alarm.check()).flatten().map(|drift| (i, drift))
    })
}

const PARAMS: DriftParams = DriftParams { window: 500, sigmas: 4.0, error_min: 0.02 };

#[test]
fn a_promise_kept_is_silent() {
    assert_eq!(first(PARAMS, true, &truth), None);
    // Negative control: with no allowance for chance the same rounds do alarm.
    assert!(first(DriftParams { sigmas: -1.0, error_min: 0.0, ..PARAMS }, true, &truth).is_some());
}

#[test]
fn lower_gains_alarm_within_a_window() {
    let (at, drift) = first(PARAMS, false, &|c| 0.3 * truth(c)).unwrap();
    assert!(at <= 600 && matches!(drift, Drift::Calibration { depth: 1, .. }), "{at} {drift:?}");
}

#[test]
fn a_blind_confidence_alarms_by_its_area_in_ungated_rounds_alone() {
    // An allowance so wide that the calibration error can't speak.
    let params = DriftParams { error_min: 1.0, ..PARAMS };
    let (at, drift) = first(params, true, &|_| 0.3).unwrap();
    assert!(at <= 600 && matches!(drift, Drift::Auc { depth: 1, .. }), "{at} {drift:?}");
    assert_eq!(first(params, false, &|_| 0.3), None);
}

#[test]
fn censored_rounds_and_unknown_depths_are_passed_over() {
    let mut alarm = DriftAlarm::new(&learnt(), PARAMS);
    for i in 0..2000 {
        let lost = round(9, i, &|_| 0.0);
        alarm.observe(Graded { nodes: 0, ..lost }, true);
        alarm.observe(Graded { depth: 7, ..lost }, true);
    }
    assert_eq!(alarm.check(), None);
}
