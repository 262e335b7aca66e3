//! How fast the machine is, and which numbers of rows are dearer than they were.
//!
//! A forward's time over the table's, `ln ρ(rows) = g + s(rows)`, has two parts: `g`, how fast the
//! machine is at all, which no choice depends on, and the shape `s`, which rows have become dearer
//! than others. What a step leaves unexplained moves `g` by a tenth and the points of `s` beside
//! its row count by a twentieth, less what all of the last steps left unexplained alike: a machine
//! that slows down while it runs one number of rows must not make a few rows more look cheap. A
//! draft pass has its own part in the place of `s`. Nothing above `RESIDUAL_MAX` is believed of one
//! step, so a preempted forward moves them by a few percent.

use crate::cost::CostTable;
use crate::ratio::FORGET;
use echo_core::{Correction, Load, Seen};

/// Of an unexplained logarithm, how much is believed of one step.
const RESIDUAL_MAX: f64 = 0.4;
/// How much of it moves the pace of everything, and the shape.
const OVERALL_RATE: f64 = 0.1;
const SHAPE_RATE: f64 = 0.05;
/// Factors stay between `exp(±FACTOR_MAX)`.
const FACTOR_MAX: f64 = 2.0;

/// Follows the times of forwards and draft passes. See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// `g`.
    overall: f64,
    /// What the last steps left unexplained, on average.
    common: f64,
    /// `s` at the points of [`Correction`].
    shape: [f64; Correction::POINTS],
    draft: f64,
}

impl Pace {
    /// Learns from a step without prompt rows, whose forward had `rows`.
    pub(crate) fn learn(&mut self, cost: &CostTable, seen: &Seen<'_>, rows: usize) {
        let (point, share) = Correction::place_of(cost.timed_rows(rows));
        let next = (point + 1).min(Correction::POINTS - 1);
        let shape = (1.0 - share) * self.shape[point] + share * self.shape[next];
        let known = self.overall + shape;
        let residual = residual(seen.verify_us, cost.verify_us(rows, seen.load.kv_len), known);
        self.overall += OVERALL_RATE * residual;
        self.shape.iter_mut().for_each(|s| *s -= FORGET * *s);
        // What a change of pace leaves unexplained until `g` has followed sums up to nothing here.
        self.common += OVERALL_RATE * (residual - self.common);
        let moved = SHAPE_RATE * (residual - self.common);
        self.shape[point] += (1.0 - share) * moved;
        self.shape[next] += share * moved;
        self.draft -= FORGET * self.draft;
        let passes_us = cost.under(&Load::default()).drafted_us(seen.tree);
        if passes_us > 0.0 {
            self.draft +=
                OVERALL_RATE * self::residual(seen.draft_us, passes_us, self.overall + self.draft);
        }
    }

    /// The factors of forwards, at the points of [`Correction`].
    pub(crate) fn verify(&self) -> [f32; Correction::POINTS] {
        self.shape.map(|s| self.factor(s))
    }

    /// The factor of draft passes.
    pub(crate) fn draft(&self) -> f32 {
        self.factor(self.draft)
    }

    fn factor(&self, part: f64) -> f32 {
        (self.overall + part).clamp(-FACTOR_MAX, FACTOR_MAX).exp() as f32
    }
}

/// What `known` leaves unexplained of the logarithm of a time over the table's.
fn residual(us: f64, table_us: f64, known: f64) -> f64 {
    let log = (us / table_us).ln();
    if log.is_finite() { (log - known).clamp(-RESIDUAL_MAX, RESIDUAL_MAX) } else { 0.0 }
}
