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
