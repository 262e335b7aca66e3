//! Samples in order of confidence, equal confidences counted together.
//!
//! The one sort of calibration: ROC curve, AUC and isotonic fit are each a scan of it.

use crate::sample::Sample;

/// The samples of one confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tie {
    /// The confidence they share.
    pub(crate) confidence: f32,
    /// How many of them gained.
    pub(crate) gained: u32,
    /// How many of them did not.
    pub(crate) lost: u32,
}

/// Distinct confidences, ascending, with the outcomes seen at each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    ties: Vec<Tie>,
    order: Vec<(u32, bool)>,
}

impl Tally {
    /// Sorts and counts `samples` in O(n log n).
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let mut tally = Tally::default();
        tally.read(samples.iter().copied());
        tally
    }

    /// Counts other samples. Allocates only for more of them than it ever held.
    pub(crate) fn read(&mut self, samples: impl Iterator<Item = Sample>) {
        let Tally { ties, order } = self;
        order.clear();
        // The bits of floats that are not negative are ordered as the floats are.
        order.extend(samples.map(|s| (s.confidence().to_bits(), s.gained())));
        order.sort_unstable();
        ties.clear();
        for &(bits, gained) in order.iter() {
            let confidence = f32::from_bits(bits);
            if ties.last().is_none_or(|tie| tie.confidence != confidence) {
                ties.push(Tie { confidence, gained: 0, lost: 0 });
            }
            if let Some(tie) = ties.last_mut() {
                tie.gained += u32::from(gained);
                tie.lost += u32::from(!gained);
            }
        }
    }

    /// Room for `n` samples without a later allocation.
    pub(crate) fn with_capacity(n: usize) -> Self {
        Tally { ties: Vec::with_capacity(n), order: Vec::with_capacity(n) }
    }

    /// The ties, ascending by confidence.
    pub(crate) fn ties(&self) -> &[Tie] {
        &self.ties
    }

    /// How many samples gained, and how many did not.
    pub(crate) fn totals(&self) -> (u64, u64) {
        totals(&self.ties)
    }
}

/// How many samples of `ties` gained, and how many did not.
pub(crate) fn totals(ties: &[Tie]) -> (u64, u64) {
    ties.iter().fold((0, 0), |(gained, lost), tie| {
        (gained + u64::from(tie.gained), lost + u64::from(tie.lost))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_confidences_are_counted_together() {
        let drawn = [(0.5, true), (0.25, false), (0.5, false), (-0.0, true), (0.0, true)];
        let samples: Vec<Sample> =
            drawn.iter().filter_map(|&(c, gained)| Sample::new(c, gained, 1)).collect();
        let tally = Tally::of(&samples);
        let tie = |confidence, gained, lost| Tie { confidence, gained, lost };
        assert_eq!(tally.ties(), [tie(0.0, 2, 0), tie(0.25, 0, 1), tie(0.5, 1, 1)]);
        assert_eq!(tally.totals(), (3, 2));
        assert!(Tally::of(&[]).ties().is_empty());
    }
}
