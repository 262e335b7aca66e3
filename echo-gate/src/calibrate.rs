//! From graded rounds to the depths worth asking at and their thresholds.
//!
//! - `D_sig = {d : lower bound of AUC_d > δ}` (ECHO, arXiv 2604.09603, with a bound in place of the
//!   bare area), among depths with enough rounds of both kinds.
//! - `P(gain | c)` by isotonic fit; its expected calibration error is measured on halves it was not
//!   fitted on, before (confidence taken at its word) and after.
//! - `τ_d`: drafting on gains `P(gain | c) / w` tokens per node, `w` the mean number of nodes
//!   verified one level deeper. It pays while that is at least the shadow price `λ` of a row of the
//!   budget, so `τ_d` is the largest confidence with `P(gain | c) < λ w`. Without a price, Youden's
//!   J decides.

use crate::auc::{Auc, Bootstrap};
use crate::draws::Draws;
use crate::isotonic::{Isotonic, calibration_error};
use crate::roc::{self, RocPoint};
use crate::sample::Sample;
use crate::sparse::{SparseParams, Threshold};
use crate::tally::Tally;
use serde::{Deserialize, Serialize};

/// Lane of the draws that halve the rounds; resamples take the lanes from 0.
const HALVES: u64 = u64::MAX;

/// How calibration decides. Kept in the file, so that it can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrateParams {
    /// Graded rounds below which a depth is not judged.
    pub rounds_min: u32,
    /// Rounds of the rarer kind, gaining or losing, below which a depth is never chosen: an area
    /// over a handful of them is luck.
    pub kind_min: u32,
    /// `δ`, `0..=1`.
    pub auc_min: f32,
    /// `λ`: tokens that a row of the budget is worth elsewhere, at least 0; none if not known.
    pub price: Option<f32>,
    /// Times the rounds are drawn anew for the bounds of the area.
    pub resamples: u32,
    /// Seed of the draws.
    pub seed: u64,
}

impl CalibrateParams {
    /// 300 rounds, 30 of each kind, `δ` 0.75, a thousand resamples, no price: a start to change
    /// fields from.
    pub fn usual() -> Self {
        let (rounds_min, kind_min) = (300, 30);
        CalibrateParams {
            rounds_min,
            kind_min,
            auc_min: 0.75,
            price: None,
            resamples: 1000,
            seed: 0,
        }
    }

    /// Refuses numbers out of their range.
    pub fn check(&self) -> Result<(), ParamsError> {
        let CalibrateParams { auc_min, price, .. } = *self;
        if !(0.0..=1.0).contains(&auc_min) {
            return Err(ParamsError::AucMin(auc_min));
        }
        match price {
            Some(price) if !(price >= 0.0 && price.is_finite()) => Err(ParamsError::Price(price)),
            _ => Ok(()),
        }
    }
}

/// Parameters that can't be calibrated by.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ParamsError {
    /// `δ` is an area.
    #[error("auc_min is {0}; it must lie between 0 and 1")]
    AucMin(f32),
    /// A price is paid in tokens.
    #[error("price is {0}; it must be finite and not negative, or left out")]
    Price(f32),
}

/// What a threshold rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TauSource {
    /// The shadow price of the budget.
    Price,
    /// Youden's J.
    Youden,
}

/// A threshold and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tau {
    /// Confidence up to which a sequence is closed, `0..=1`.
    pub value: f32,
    /// Where it comes from.
    pub source: TauSource,
}

/// All that is known of one depth. What too few rounds can't tell is `None` or empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthCalibration {
    /// The depth, from 1.
    pub depth: u32,
    /// Graded rounds.
    pub rounds: u32,
    /// Rounds that gained.
    pub gained: u32,
    /// `w`: mean number of nodes verified one level deeper; 0 without rounds.
    pub nodes_mean: f32,
    /// How well the confidence tells rounds apart.
    pub auc: Option<Auc>,
    /// Whether the depth is in `D_sig`.
    pub chosen: bool,
    /// `τ_d`.
    pub tau: Option<Tau>,
    /// `P(gain | c)`.
    pub isotonic: Option<Isotonic>,
    /// Expected calibration error of the confidence itself, `0..=1`.
    pub ece_before: Option<f32>,
    /// Expected calibration error of the map on rounds it wasn't fitted on, `0..=1`.
    pub ece_after: Option<f32>,
    /// The ROC curve, thinned.
    pub roc: Vec<RocPoint>,
}

/// What was learnt, depth by depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// How it was learnt.
    pub params: CalibrateParams,
    /// The depths, ascending.
    pub depths: Vec<DepthCalibration>,
}

/// Calibrates from the rounds of each depth, `levels[0]` those of depth 1. O(n log n + n ·
/// resamples) per depth.
pub fn calibrate(
    levels: &[&[Sample]],
    params: CalibrateParams,
) -> Result<Calibration, ParamsError> {
    params.check()?;
    let depths = levels.iter().enumerate();
    let depths = depths.map(|(i, samples)| depth_of(i as u32 + 1, samples, params)).collect();
    Ok(Calibration { params, depths })
}

fn depth_of(depth: u32, samples: &[Sample], params: CalibrateParams) -> DepthCalibration {
    let tally = Tally::of(samples);
    let (gained, lost) = tally.totals();
    let bootstrap = Bootstrap {
        resamples: params.resamples as usize,
        tail: 0.05,
        seed: params.seed ^ u64::from(depth) << 48,
    };
    let nodes: u64 = samples.iter().map(|s| u64::from(s.nodes())).sum();
    let mut known = DepthCalibration {
        depth,
        rounds: samples.len() as u32,
        gained: gained as u32,
        nodes_mean: (nodes as f64 / samples.len().max(1) as f64) as f32,
        auc: Auc::of(samples, bootstrap),
        chosen: false,
        tau: None,
        isotonic: None,
        ece_before: None,
        ece_after: None,
        roc: roc::curve(tally.ties()),
    };
    if samples.is_empty() || known.rounds < params.rounds_min {
        return known;
    }
    known.isotonic = Isotonic::fit(samples);
    let own_word = samples.iter().map(|s| (s.confidence(), s.gained()));
    known.ece_before = Some(calibration_error(own_word) as f32);
    known.ece_after = held_out_error(samples, params.seed).map(|error| error as f32);
    let youden = |value| Tau { value, source: TauSource::Youden };
    known.tau = match params.price {
        Some(price) => known.tau_at(price),
        None => roc::youden(tally.ties()).map(youden),
    };
    let tells = known.auc.is_some_and(|auc| auc.lower > params.auc_min);
    let enough = gained.min(lost) >= u64::from(params.kind_min);
    known.chosen = tells && enough && known.tau.is_some();
    known
}

/// The error of a map fitted on one half, on the other, the mean of both ways round.
fn held_out_error(samples: &[Sample], seed: u64) -> Option<f64> {
    let mut draws = Draws::new(seed, HALVES);
    let (left, right): (Vec<Sample>, Vec<Sample>) =
        samples.iter().partition(|_| draws.below(2) == 0);
    let one_way = |fitted: &[Sample], held: &[Sample]| {
        let map = Isotonic::fit(fitted)?;
        Some(calibration_error(held.iter().map(|s| (map.gain(s.confidence()), s.gained()))))
    };
    Some(f64::midpoint(one_way(&left, &right)?, one_way(&right, &left)?))
}

impl DepthCalibration {
    /// `τ_d` at another price `λ ≥ 0` in tokens per row: load changes it, the map stays. 0 where
    /// every confidence pays, 1 where none does; `None` without a map.
    pub fn tau_at(&self, price: f32) -> Option<Tau> {
        let map = self.isotonic.as_ref()?;
        let value = map.last_below(price * self.nodes_mean).unwrap_or(0.0);
        Some(Tau { value, source: TauSource::Price })
    }
}

impl Calibration {
    /// `D_sig` and its thresholds for [`Sparse`](crate::Sparse). A depth that never closes anything
    /// (`τ = 0`) is left out, since to look is to wait for the draft.
    pub fn sparse(&self) -> SparseParams {
        let threshold = |known: &DepthCalibration| {
            let tau = known.tau.filter(|tau| known.chosen && tau.value > 0.0)?.value;
            Some(Threshold { depth: known.depth as usize, tau })
        };
        SparseParams { thresholds: self.depths.iter().filter_map(threshold).collect() }
    }
}
