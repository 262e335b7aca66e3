//! How well a confidence tells rounds that gain from rounds that don't: area under the ROC curve.
//!
//! `AUC = P(c⁺ > c⁻) + ½ P(c⁺ = c⁻)` for a random gaining and a random losing round: the
//! Mann–Whitney statistic `U / (n⁺ n⁻)` (Hanley et al., Radiology 143:29, 1982). A coin has ½.
//!
//! The bounds are percentiles of a stratified bootstrap (Efron 1979; stratified as in pROC):
//! gaining and losing rounds are drawn anew apart, so that no draw lacks a class. Rounds count as
//! independent. Neighbouring rounds of one text are not quite, so the true bounds are somewhat
//! wider; that is what the distance of δ from ½ is for.

use crate::draws::Draws;
use crate::sample::Sample;
use crate::tally::{Tally, Tie, totals};
use serde::{Deserialize, Serialize};

/// An area under the ROC curve with its bounds, each in `0..=1`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auc {
    /// The area, over all rounds.
    pub value: f32,
    /// The share [`Bootstrap::tail`] of the resampled areas lies below it.
    pub lower: f32,
    /// The share [`Bootstrap::tail`] of the resampled areas lies above it.
    pub upper: f32,
}

/// How bounds are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Times the rounds are drawn anew, at least 1; a thousand settles a 5 % percentile.
    pub resamples: usize,
    /// Share of the resampled areas beyond each bound, `0..0.5`.
    pub tail: f64,
    /// Seed of the draws.
    pub seed: u64,
}

/// The area under the ROC curve in O(n log n), ties counting half; `None` without a round of each
/// kind.
pub fn auc(samples: &[Sample]) -> Option<f64> {
    area(Tally::of(samples).ties())
}

impl Auc {
    /// The area and its bounds in O(n log n + n · resamples); `None` without a round of each kind.
    pub fn of(samples: &[Sample], bootstrap: Bootstrap) -> Option<Self> {
        let tally = Tally::of(samples);
        let value = area(tally.ties())?;
        let [gained, lost] = [true, false].map(|kind| tie_of_each(tally.ties(), kind));
        let mut redrawn = tally.ties().to_vec();
        let mut areas = Vec::with_capacity(bootstrap.resamples.max(1));
        for resample in 0..bootstrap.resamples.max(1) {
            let mut draws = Draws::new(bootstrap.seed, resample as u64);
            for tie in &mut redrawn {
                (tie.gained, tie.lost) = (0, 0);
            }
            for _ in &gained {
                redrawn[gained[draws.below(gained.len() as u64) as usize]].gained += 1;
            }
            for _ in &lost {
                redrawn[lost[draws.below(lost.len() as u64) as usize]].lost += 1;
            }
            areas.extend(area(&redrawn));
        }
        areas.sort_unstable_by(f64::total_cmp);
        let last = areas.len() - 1;
        let at = (bootstrap.tail.clamp(0.0, 0.5) * last as f64).floor() as usize;
        let [lower, upper] = [areas[at] as f32, areas[last - at] as f32];
        Some(Auc { value: value as f32, lower, upper })
    }
}

/// The area from sorted ties: each losing round is beaten by the gaining rounds above it, and half
/// by those level with it.
pub(crate) fn area(ties: &[Tie]) -> Option<f64> {
    let (gained, lost) = totals(ties);
    if gained == 0 || lost == 0 {
        return None;
    }
    // Twice U is a whole number and below 2⁵³ for any batch that fits in memory: no rounding.
    let mut twice_u = 0_u64;
    let mut lost_below = 0_u64;
    for tie in ties {
        twice_u += u64::from(tie.gained) * (2 * lost_below + u64::from(tie.lost));
        lost_below += u64::from(tie.lost);
    }
    Some(twice_u as f64 / 2.0 / gained as f64 / lost as f64)
}

/// The index of the tie that each round of one kind belongs to.
fn tie_of_each(ties: &[Tie], gained: bool) -> Vec<usize> {
    let count = |tie: &Tie| if gained { tie.gained } else { tie.lost };
    let rounds = ties.iter().enumerate();
    rounds.flat_map(|(i, tie)| std::iter::repeat_n(i, count(tie) as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOTSTRAP: Bootstrap = Bootstrap { resamples: 200, tail: 0.05, seed: 3 };

    fn samples(drawn: &[(f32, bool)]) -> Vec<Sample> {
        drawn.iter().filter_map(|&(c, gained)| Sample::new(c, gained, 1)).collect()
    }

    #[test]
    fn ties_count_half() {
        assert_eq!(auc(&samples(&[(0.1, false), (0.9, true)])), Some(1.0));
        assert_eq!(auc(&samples(&[(0.9, false), (0.1, true)])), Some(0.0));
        assert_eq!(auc(&samples(&[(0.5, false), (0.5, true)])), Some(0.5));
        assert_eq!(auc(&samples(&[(0.5, false), (0.5, true), (0.6, true)])), Some(0.75));
        assert_eq!(auc(&samples(&[(0.5, true)])), None);
    }

    #[test]
    fn bounds_enclose_the_area_and_narrow_with_more_rounds() {
        let width = |n: u32| {
            let drawn: Vec<_> = (0..n)
                .map(|i| ((i * 37 % 101) as f32 / 101.0, i * 37 % 101 + i % 60 > 80))
                .collect();
            let auc = Auc::of(&samples(&drawn), BOOTSTRAP).unwrap();
            assert!(auc.lower <= auc.value && auc.value <= auc.upper, "{auc:?}");
            assert_eq!(Some(auc), Auc::of(&samples(&drawn), BOOTSTRAP));
            auc.upper - auc.lower
        };
        assert!(width(6400) < width(100) / 4.0);
    }
}
