//! The ROC curve, and the threshold that Youden's J picks on it.

use crate::tally::{Tie, totals};
use serde::{Deserialize, Serialize};

/// Points of a thinned curve at most, its two ends included.
pub(crate) const POINTS_MAX: usize = 102;

/// What the rule "gains if `c > tau`" gets right and wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RocPoint {
    /// The threshold, `0..=1`.
    pub tau: f32,
    /// Share of the losing rounds kept open, `0..=1`.
    pub false_rate: f32,
    /// Share of the gaining rounds kept open, `0..=1`.
    pub true_rate: f32,
}

/// The curve from its strictest threshold to keeping all but the least confidence, thinned to about
/// a hundred even shares of the rounds. Empty without a round of each kind.
pub(crate) fn curve(ties: &[Tie]) -> Vec<RocPoint> {
    let (gained, lost) = totals(ties);
    if gained == 0 || lost == 0 {
        return Vec::new();
    }
    let all = gained + lost;
    let mut points: Vec<RocPoint> = Vec::with_capacity(POINTS_MAX);
    let (mut above, mut due) = ((0_u64, 0_u64), 0);
    for tie in ties.iter().rev() {
        let n = above.0 + above.1;
        if n * 100 >= due * all {
            let [true_rate, false_rate] =
                [(above.0, gained), (above.1, lost)].map(|(part, of)| part as f32 / of as f32);
            points.push(RocPoint { tau: tie.confidence, false_rate, true_rate });
            due = n * 100 / all + 1;
        }
        above = (above.0 + u64::from(tie.gained), above.1 + u64::from(tie.lost));
    }
    points
}

/// The threshold with the largest `J = true rate − false rate` (Youden 1950), the lowest of equals;
/// `None` without a round of each kind.
pub(crate) fn youden(ties: &[Tie]) -> Option<f32> {
    let (gained, lost) = totals(ties);
    if gained == 0 || lost == 0 {
        return None;
    }
    // J times both totals, in whole numbers, so that ties are ties.
    let (mut best, mut tau) = (i128::MIN, 0.0);
    let mut above = (gained, lost);
    for tie in ties {
        above = (above.0 - u64::from(tie.gained), above.1 - u64::from(tie.lost));
        let j = i128::from(above.0) * i128::from(lost) - i128::from(above.1) * i128::from(gained);
        if j > best {
            (best, tau) = (j, tie.confidence);
        }
    }
    Some(tau)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ties(drawn: &[(f32, u32, u32)]) -> Vec<Tie> {
        let tie = |&(confidence, gained, lost)| Tie { confidence, gained, lost };
        drawn.iter().map(tie).collect()
    }

    #[test]
    fn youden_parts_the_kinds() {
        assert_eq!(youden(&ties(&[(0.1, 1, 9), (0.3, 1, 8), (0.6, 9, 1)])), Some(0.3));
        assert_eq!(youden(&ties(&[(0.1, 1, 1), (0.3, 1, 1)])), Some(0.1));
        assert_eq!(youden(&ties(&[(0.1, 1, 0)])), None);
    }

    #[test]
    fn the_curve_rises_and_stays_short() {
        let many: Vec<_> = (0..5000).map(|i| (i as f32 / 5000.0, i % 3, 2 - i % 3)).collect();
        let points = curve(&ties(&many));
        assert!((50..=POINTS_MAX).contains(&points.len()), "{}", points.len());
        for pair in points.windows(2) {
            assert!(pair[0].tau > pair[1].tau && pair[0].true_rate <= pair[1].true_rate);
            assert!(pair[0].false_rate <= pair[1].false_rate);
        }
        let few = curve(&ties(&[(0.2, 1, 3), (0.4, 3, 1)]));
        let point = |tau, false_rate, true_rate| RocPoint { tau, false_rate, true_rate };
        assert_eq!(few, [point(0.4, 0.0, 0.0), point(0.2, 0.25, 0.75)]);
    }
}
