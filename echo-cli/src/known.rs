//! What policies may know: measured times, and what was learnt of the drafter.

use crate::registry;
use crate::team::Team;
use crate::times::Times;
use anyhow::Result;
use echo_budget::{Between, CostTable, Sample, Survival};
use echo_core::Limits;
use echo_gate::{CalibrationFile, SparseParams};
use echo_runtime::Profile;
use std::time::Duration;

/// What a level brings where nothing was learnt: a useless child as often as a good one.
const AHEAD: [f32; 4] = [0.1, 0.3, 0.6, 0.9];

/// Times and rates of one target and one drafter on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) cost: CostTable,
    pub(crate) survival: Survival,
    pub(crate) ahead: Vec<Vec<f32>>,
    /// Thresholds at the depths where confidence tells right from wrong, if that was learnt.
    pub(crate) sparse: Option<SparseParams>,
    /// The times the cost table was made of: rows, and a forward's time.
    pub(crate) forwards: Vec<(usize, Duration)>,
}

impl Known {
    /// From timed forwards and draft passes, padded to `tiers` if there are any, and the drafter's
    /// calibration if there is one.
    pub(crate) fn new(
        verify: &[Profile],
        draft: &[Profile],
        tiers: &[usize],
        calibration: Option<&CalibrationFile>,
    ) -> Result<Self> {
        let between = if tiers.is_empty() { Between::Linear } else { Between::Step };
        let cost =
            CostTable::from_samples(&samples(verify), &samples(draft), 0.0, between)?.convex();
        let paths = calibration.and_then(|file| file.paths.as_ref());
        let knots = |knot: &echo_gate::Knot| (knot.confidence, knot.gain);
        let survival = match paths {
            Some(paths) => Survival::new(paths.survival.knots().iter().map(knots).collect())?,
            None => Survival::identity(),
        };
        let ahead = paths.map_or(vec![AHEAD.to_vec()], |paths| paths.ahead.clone());
        let sparse = calibration.map(|file| file.calibration.sparse());
        let forwards = verify.iter().map(|profile| (profile.rows, profile.time)).collect();
        Ok(Known { cost, survival, ahead, sparse, forwards })
    }

    /// Measures, or knows from an earlier start, if one of the policies wants to know.
    pub(crate) fn for_policies(
        (gate, solver): (&str, &str),
        team: &mut Team,
        drafter: &str,
        limits: &Limits,
    ) -> Result<Option<Self>> {
        if !registry::measures(gate, solver) {
            return Ok(None);
        }
        let Times { verify, draft } = team.times(drafter, limits)?;
        Known::new(&verify, &draft, team.tiers(), team.calibration(drafter)).map(Some)
    }
}

fn samples(profiles: &[Profile]) -> Vec<Sample> {
    let sample =
        |p: &Profile| Sample { rows: p.rows, kv_len: p.kv_len, us: p.time.as_secs_f64() * 1e6 };
    profiles.iter().map(sample).collect()
}
