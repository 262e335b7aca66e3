//! From confidence to the chance of a gain: the best map that never falls.
//!
//! Pool adjacent violators (Ayer et al. 1955): the least-squares fit among all non-decreasing
//! functions. Each pool is a step at its mean; between two pools the map is a straight line, and
//! beyond its ends it is flat.

use crate::sample::Sample;
use crate::tally::Tally;
use serde::{Deserialize, Serialize};

/// A point of the map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knot {
    /// Confidence, `0..=1`.
    pub confidence: f32,
    /// Chance that the accepted path goes deeper, `0..=1`.
    pub gain: f32,
}

/// A map that never falls, from confidence to the chance of a gain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<Knot>", try_from = "Vec<Knot>")]
pub struct Isotonic {
    knots: Vec<Knot>,
}

/// Knots that make no such map.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum KnotError {
    /// A map needs a point.
    #[error("there is no knot; give at least one")]
    Empty,
    /// A number that is no probability.
    #[error("knot {knot} holds {value}; it must lie between 0 and 1")]
    Range {
        /// Index of the knot.
        knot: usize,
        /// The number.
        value: f32,
    },
    /// A knot that doesn't follow its predecessor.
    #[error("knot {knot} must have a higher confidence than the one before and no lower gain")]
    Order {
        /// Index of the knot.
        knot: usize,
    },
}

/// Neighbouring confidences that share a mean.
struct Pool {
    first: f32,
    last: f32,
    gained: u64,
    n: u64,
}

impl Isotonic {
    /// The fit, in O(n log n); `None` without samples.
    pub fn fit(samples: &[Sample]) -> Option<Self> {
        let mut pools: Vec<Pool> = Vec::new();
        for tie in Tally::of(samples).ties() {
            let [gained, lost] = [tie.gained, tie.lost].map(u64::from);
            let [first, last] = [tie.confidence; 2];
            let mut pool = Pool { first, last, gained, n: gained + lost };
            // Means are compared as fractions, exactly: a pool below its predecessor swallows it.
            while let Some(left) = pools.pop_if(|left| left.gained * pool.n >= pool.gained * left.n)
            {
                let Pool { last, gained, n, .. } = pool;
                pool =
                    Pool { first: left.first, last, gained: left.gained + gained, n: left.n + n };
            }
            pools.push(pool);
        }
        let mut knots = Vec::with_capacity(2 * pools.len());
        for Pool { first, last, gained, n } in pools {
            let gain = (gained as f64 / n as f64) as f32;
            knots.push(Knot { confidence: first, gain });
            if last > first {
                knots.push(Knot { confidence: last, gain });
            }
        }
        (!knots.is_empty()).then_some(Isotonic { knots })
    }

    /// A map read from a file. Refuses what is not strictly ascending in confidence, falls in
    /// gain, or leaves `0..=1`.
    pub fn new(knots: Vec<Knot>) -> Result<Self, KnotError> {
        if knots.is_empty() {
            return Err(KnotError::Empty);
        }
        for (knot, &Knot { confidence, gain }) in knots.iter().enumerate() {
            for value in [confidence, gain] {
                if !(0.0..=1.0).contains(&value) {
                    return Err(KnotError::Range { knot, value });
                }
            }
            let follows = |before: &Knot| before.confidence < confidence && before.gain <= gain;
            if knot > 0 && !follows(&knots[knot - 1]) {
                return Err(KnotError::Order { knot });
            }
        }
        Ok(Isotonic { knots })
    }

    /// The chance of a gain at `confidence`, in `0..=1`. NaN counts as no confidence at all.
    pub fn gain(&self, confidence: f32) -> f32 {
        let knots = &self.knots;
        let x = if confidence.is_nan() { f32::NEG_INFINITY } else { confidence };
        let right = knots.partition_point(|knot| knot.confidence < x);
        if right == 0 || right == knots.len() {
            return knots[right.min(knots.len() - 1)].gain;
        }
        let (a, b) = (knots[right - 1], knots[right]);
        let share = (x - a.confidence) / (b.confidence - a.confidence);
        // Rounding must not carry it past the knot, or the map would fall there.
        (a.gain + share * (b.gain - a.gain)).min(b.gain)
    }

    /// The largest confidence in `0..=1` whose chance of a gain is below `gain`; `None` where all
    /// reach it.
    pub fn last_below(&self, gain: f32) -> Option<f32> {
        let is_below = |bits: u32| self.gain(f32::from_bits(bits)) < gain;
        if !is_below(0) {
            return None;
        }
        // Bits of floats from 0 to 1 are ordered as the floats: bisect them, exactly.
        let (mut below, mut reaching) = (0, 1.0_f32.to_bits() + 1);
        while reaching - below > 1 {
            let middle = below + (reaching - below) / 2;
            if is_below(middle) { below = middle } else { reaching = middle }
        }
        Some(f32::from_bits(below))
    }

    /// The points, ascending by confidence; at least one.
    pub fn knots(&self) -> &[Knot] {
        &self.knots
    }
}

impl TryFrom<Vec<Knot>> for Isotonic {
    type Error = KnotError;

    fn try_from(knots: Vec<Knot>) -> Result<Self, KnotError> {
        Isotonic::new(knots)
    }
}

impl From<Isotonic> for Vec<Knot> {
    fn from(map: Isotonic) -> Self {
        map.knots
    }
}

/// Expected calibration error: how far promised gains lie from kept ones, in ten bins of equal
/// width, each weighed by its rounds (Naeini et al. 2015; Guo et al. 2017). 0 without rounds.
pub fn calibration_error(promised: impl Iterator<Item = (f32, bool)>) -> f64 {
    const BINS: usize = 10;
    let mut surplus = [0.0_f64; BINS];
    let mut n = 0_u64;
    for (gain, gained) in promised {
        let bin = ((gain * BINS as f32) as usize).min(BINS - 1);
        surplus[bin] += f64::from(gain) - f64::from(u8::from(gained));
        n += 1;
    }
    surplus.iter().map(|s| s.abs()).sum::<f64>() / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violators_are_pooled_and_pools_joined() {
        let drawn = [(0.1, true), (0.2, false), (0.4, true), (0.8, true)];
        let samples: Vec<Sample> =
            drawn.iter().filter_map(|&(c, gained)| Sample::new(c, gained, 1)).collect();
        let map = Isotonic::fit(&samples).unwrap();
        assert_eq!([0.0, 0.1, 0.2, 0.4, 1.0].map(|c| map.gain(c)), [0.5, 0.5, 0.5, 1.0, 1.0]);
        assert!((map.gain(0.3) - 0.75).abs() < 1e-6);
        assert_eq!(map.gain(f32::NAN), 0.5);
        assert_eq!(map.last_below(0.5), None);
        let tau = map.last_below(1.0).unwrap();
        assert!(map.gain(tau) < 1.0 && map.gain(tau.next_up()) >= 1.0, "{tau}");
        assert_eq!(map.last_below(2.0), Some(1.0));
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let fault = |knots: &[(f32, f32)]| {
            let knots = knots.iter().map(|&(confidence, gain)| Knot { confidence, gain });
            Isotonic::new(knots.collect()).unwrap_err()
        };
        assert_eq!(fault(&[]), KnotError::Empty);
        assert!(matches!(fault(&[(f32::NAN, 0.5)]), KnotError::Range { knot: 0, .. }));
        assert_eq!(fault(&[(0.1, 0.5), (0.2, 0.4)]), KnotError::Order { knot: 1 });
        assert_eq!(fault(&[(0.1, 0.5), (0.1, 0.6)]), KnotError::Order { knot: 1 });
    }

    #[test]
    fn the_error_is_the_mean_gap_per_bin() {
        let half = [(0.8, true), (0.8, false)];
        assert!((calibration_error(half.into_iter()) - 0.3).abs() < 1e-6);
        assert_eq!(calibration_error([(1.0, true), (0.0, false)].into_iter()), 0.0);
    }
}
