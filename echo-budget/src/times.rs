//! What a forward costs now: the table, and what was learnt since it was made.

use crate::cost::CostTable;
use crate::survival::Survival;
use echo_core::{Correction, Load, SuperTreeView};

/// A cost table in one step: its times, corrected by what was learnt since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    cost: &'a CostTable,
    correction: Correction,
    kv_len: usize,
}

impl CostTable {
    /// The table under the load of a step.
    pub fn under(&self, load: &Load) -> Times<'_> {
        Times { cost: self, correction: load.correction, kv_len: load.kv_len }
    }
}

impl Times<'_> {
    /// Microseconds of a target forward of `rows` rows.
    pub fn verify_us(&self, rows: usize) -> f64 {
        let timed = self.cost.timed_rows(rows);
        self.cost.verify_us(rows, self.kv_len) * self.correction.verify_at(timed)
    }

    /// Microseconds of a draft pass over `rows` rows.
    pub fn draft_us(&self, rows: usize) -> f64 {
        self.cost.draft_us(rows) * f64::from(self.correction.draft)
    }

    /// Microseconds of the draft passes that grew `tree`.
    pub fn drafted_us(&self, tree: SuperTreeView<'_>) -> f64 {
        let passes = tree.passes.iter().filter(|&&nodes| nodes > 0);
        passes.map(|&nodes| self.draft_us(nodes as usize)).sum()
    }

    /// Microseconds of the host.
    pub fn host_us(&self) -> f64 {
        (self.cost.host_us() + f64::from(self.correction.host_us)).max(0.0)
    }

    /// The chance of a node by `survival`, corrected.
    pub fn chance(&self, survival: &Survival, score: f32) -> f64 {
        f64::from((survival.at(score) * self.correction.chance).min(1.0))
    }
}
