//! From a draft's own probability of a path to the rate at which such paths are accepted.
//!
//! Drafters are over-confident, and each in its own way. A table of knots maps `exp(S)` to the
//! measured chance that the node is accepted: monotone, so that it never changes who ranks first,
//! and linear between knots. Calibration (an isotonic fit over graded rounds) makes it; until then
//! a path is taken at its word.

/// A monotone map from path probability to acceptance rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Survival {
    knots: Vec<(f32, f32)>,
}

/// A table that is no monotone map of probabilities.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SurvivalError {
    /// A table needs something to say.
    #[error("survival table has no knot; use Survival::identity to take drafts at their word")]
    Empty,
    /// A number of a knot that is no probability.
    #[error("knot {knot} of the survival table holds {value}; it must lie between 0 and 1")]
    Range {
        /// Index of the knot.
        knot: usize,
        /// The number at fault.
        value: f32,
    },
    /// A knot that doesn't follow its predecessor.
    #[error("knot {knot} of the survival table must lie right of its predecessor and not below it")]
    Order {
        /// Index of the knot.
        knot: usize,
    },
}

impl Survival {
    /// Takes each draft at its word: the chance is the path's probability.
    pub fn identity() -> Self {
        Survival { knots: vec![(0.0, 0.0), (1.0, 1.0)] }
    }

    /// A table of `(path probability, acceptance rate)`, strictly ascending in the first and never
    /// falling in the second; flat beyond its ends.
    pub fn new(knots: Vec<(f32, f32)>) -> Result<Self, SurvivalError> {
        if knots.is_empty() {
            return Err(SurvivalError::Empty);
        }
        for (knot, &(x, y)) in knots.iter().enumerate() {
            for value in [x, y] {
                if !(0.0..=1.0).contains(&value) {
                    return Err(SurvivalError::Range { knot, value });
                }
            }
            if knot > 0 && (knots[knot - 1].0 >= x || knots[knot - 1].1 > y) {
                return Err(SurvivalError::Order { knot });
            }
        }
        Ok(Survival { knots })
    }

    /// The chance that a node of cumulative log-probability `score` (at most 0, not NaN) is
    /// accepted.
    pub fn at(&self, score: f32) -> f32 {
        let path = score.exp();
        let right = self.knots.partition_point(|&(x, _)| x < path);
        if right == 0 || right == self.knots.len() {
            return self.knots[right.min(self.knots.len() - 1)].1;
        }
        let ((x0, y0), (x1, y1)) = (self.knots[right - 1], self.knots[right]);
        // Rounding must not carry it past the knot, or the map would fall there.
        (y0 + (path - x0) / (x1 - x0) * (y1 - y0)).min(y1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knots_are_met_and_joined() {
        let table = Survival::new(vec![(0.25, 0.1), (0.5, 0.3)]).unwrap();
        assert_eq!(table.at(f32::NEG_INFINITY), 0.1);
        assert_eq!(table.at(0.0), 0.3);
        assert!((table.at(0.375_f32.ln()) - 0.2).abs() < 1e-6);
        assert!((Survival::identity().at(-1.0) - (-1.0_f32).exp()).abs() < 1e-7);
    }

    #[test]
    fn what_is_no_monotone_map_is_refused() {
        let fault = |knots: &[(f32, f32)]| Survival::new(knots.to_vec()).unwrap_err();
        assert_eq!(fault(&[]), SurvivalError::Empty);
        assert!(matches!(fault(&[(0.0, f32::NAN)]), SurvivalError::Range { knot: 0, .. }));
        assert_eq!(fault(&[(0.0, 0.5), (1.0, 0.4)]), SurvivalError::Order { knot: 1 });
        assert_eq!(fault(&[(0.5, 0.5), (0.5, 0.6)]), SurvivalError::Order { knot: 1 });
    }
}
