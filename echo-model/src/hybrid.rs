//! Two drafters that draft one tree together.

use echo_core::port::Children;
use echo_core::{BatchView, DeviceError, Drafter, Frontier, Keep, Limits, Settled};

/// Asks both drafters at every node. Where both propose a token, the tree keeps the likelier
/// proposal; where one falls silent, the other goes on from its nodes.
///
/// A learned head knows the language, a look-up knows the text: names, code and quotations that
/// stand in the prompt.
pub struct HybridDrafter {
    first: Box<dyn Drafter>,
    second: Box<dyn Drafter>,
    seconds: Children,
}

impl HybridDrafter {
    /// Both must be made for the same target and for `limits`.
    pub fn new(first: Box<dyn Drafter>, second: Box<dyn Drafter>, limits: &Limits) -> Self {
        let level = limits.seqs_max * limits.level_max().max(limits.width_max);
        HybridDrafter { first, second, seconds: Children::with_capacity(level) }
    }
}

impl Drafter for HybridDrafter {
    fn settle(&mut self, settled: Settled<'_>) {
        self.first.settle(settled);
        self.second.settle(settled);
    }

    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        self.first.extend(batch, frontier, keep, children)?;
        self.seconds.clear();
        self.second.extend(batch, frontier, keep, &mut self.seconds)?;
        children.parent.extend_from_slice(&self.seconds.parent);
        children.token.extend_from_slice(&self.seconds.token);
        children.log_prob.extend_from_slice(&self.seconds.log_prob);
        Ok(())
    }

    fn forget(&mut self, seq: u32) {
        self.first.forget(seq);
        self.second.forget(seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrated::CalibratedDrafter;
    use echo_core::SuperTreeView;

    /// Proposes one token under each open node, by a pass or for nothing.
    struct One {
        token: u32,
        by_pass: bool,
    }

    impl Drafter for One {
        fn settle(&mut self, _settled: Settled<'_>) {}

        fn extend(
            &mut self,
            _batch: BatchView<'_>,
            frontier: Frontier<'_>,
            keep: &Keep,
            children: &mut Children,
        ) -> Result<(), DeviceError> {
            for (i, node) in frontier.nodes().enumerate() {
                if keep.children(i) > 0 && (keep.passes(i) || !self.by_pass) {
                    children.push(node, self.token, -1.0);
                }
            }
            Ok(())
        }

        fn forget(&mut self, _seq: u32) {}
    }

    #[test]
    fn look_up_goes_on_where_no_pass_is_spent_and_each_speaks_at_its_own_rate() {
        let tree = SuperTreeView {
            parent: &[0, 1],
            token: &[5, 6],
            seq: &[0, 1],
            score: &[0.0; 2],
            level_start: &[0, 2],
            passes: &[],
        };
        let batch = BatchView { temperature: &[0.0, 0.5], ..BatchView::default() };
        let head = Box::new(One { token: 1, by_pass: true });
        let look_up = Box::new(One { token: 2, by_pass: false });
        let look_up = CalibratedDrafter::new(
            look_up,
            Box::new(|log_prob, temperature| (3.0 + temperature) * log_prob),
        );
        let mut hybrid =
            HybridDrafter::new(head, Box::new(look_up), &echo_core::Limits::usual(2, 64));
        let (mut keep, mut children) = (Keep::default(), Children::default());
        keep.reset(2);
        (0..2).for_each(|i| keep.open(i, 1));
        keep.forgo_pass(1);
        hybrid.extend(batch, tree.frontier(), &keep, &mut children).expect("no device");
        assert_eq!((children.parent, children.token), (vec![0, 0, 1], vec![1, 2, 2]));
        assert_eq!(children.log_prob, [-1.0, -3.0, -3.5]);
    }
}
