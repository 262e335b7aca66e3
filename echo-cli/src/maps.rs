//! What a drafter's proposals are worth, by the temperature of the request.

use echo_core::Drafter;
use echo_gate::{CalibrationFile, Isotonic, Proposals};
use echo_model::calibrated::CalibratedDrafter;

/// Proposals are worth at least this chance, and how much their own order counts on a level step.
const CHANCE_MIN: f32 = 1e-4;
const TILT: f32 = 1e-3;

/// What the proposals of a drafter's two halves are worth, by their own probability, as far as
/// anybody learnt it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Maps<'a> {
    /// To greedy requests.
    pub(crate) greedy: Option<&'a Proposals>,
    /// To requests of temperature 1.
    pub(crate) sampled: Option<&'a Proposals>,
}

impl<'a> Maps<'a> {
    pub(crate) fn of(file: &'a CalibrationFile) -> Self {
        Maps { greedy: file.proposals.as_ref(), sampled: file.sampled.as_ref() }
    }

    /// One half of both.
    pub(crate) fn of_half(self, half: fn(&Proposals) -> &Isotonic) -> [Option<&'a Isotonic>; 2] {
        [self.greedy.map(half), self.sampled.map(half)]
    }
}

/// A drafter whose proposals are worth what the maps say, to greedy requests and to those of
/// temperature 1; in between both count in proportion.
pub(crate) fn calibrated(
    drafter: Box<dyn Drafter>,
    [greedy, sampled]: [Option<&Isotonic>; 2],
) -> Box<dyn Drafter> {
    let Some(greedy) = greedy.cloned() else { return drafter };
    let sampled = sampled.unwrap_or(&greedy).clone();
    // The maps have level steps; on each the drafter's own order decides.
    let chance = move |log_prob: f32, temperature: f32| {
        let (prob, share) = (log_prob.exp(), temperature.min(1.0));
        let gain = (1.0 - share) * greedy.gain(prob) + share * sampled.gain(prob);
        gain.max(CHANCE_MIN).ln() + TILT * log_prob.max(CHANCE_MIN.ln())
    };
    Box::new(CalibratedDrafter::new(drafter, Box::new(chance)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::{BatchView, Children, DeviceError, Frontier, Keep, Settled, SuperTreeView};
    use echo_gate::Sample;

    /// Proposes one token under each node, at even odds.
    struct Even;

    impl Drafter for Even {
        fn settle(&mut self, _settled: Settled<'_>) {}

        fn extend(
            &mut self,
            _batch: BatchView<'_>,
            frontier: Frontier<'_>,
            _keep: &Keep,
            children: &mut Children,
        ) -> Result<(), DeviceError> {
            frontier.nodes().for_each(|node| children.push(node, 7, 0.5f32.ln()));
            Ok(())
        }

        fn forget(&mut self, _seq: u32) {}
    }

    #[test]
    fn a_proposal_is_worth_what_it_is_to_a_request_of_this_temperature() {
        let map = |of_five: usize| {
            let sample = |i| Sample::new(0.5, i < of_five, 1).expect("a number");
            Isotonic::fit(&(0..5).map(sample).collect::<Vec<_>>()).expect("samples")
        };
        let (greedy, sampled) = (map(4), map(2));
        let tree = SuperTreeView {
            parent: &[0, 1, 2, 3],
            token: &[0; 4],
            seq: &[0, 1, 2, 3],
            score: &[0.0; 4],
            level_start: &[0, 4],
            passes: &[],
        };
        let batch = BatchView { temperature: &[0.0, 0.5, 1.0, 1.7], ..BatchView::default() };
        let chances = |maps| {
            let mut children = Children::default();
            let mut drafter = calibrated(Box::new(Even), maps);
            let extended = drafter.extend(batch, tree.frontier(), &Keep::default(), &mut children);
            extended.expect("no device");
            children.log_prob.iter().map(|p| (p.exp() * 100.0).round()).collect::<Vec<_>>()
        };
        assert_eq!(chances([Some(&greedy), Some(&sampled)]), [80.0, 60.0, 40.0, 40.0]);
        assert_eq!(chances([Some(&greedy), None]), [80.0; 4]);
        assert_eq!(chances([None, Some(&sampled)]), [50.0; 4]);
    }
}
