//! A drafter whose word is taken at another rate.

use echo_core::port::Children;
use echo_core::{BatchView, DeviceError, Drafter, Frontier, Keep, Settled};

/// What a draft log-probability given the parent is really worth to a request of this temperature.
pub type Chance = Box<dyn Fn(f32, f32) -> f32 + Send>;

/// Any drafter, its log-probabilities passed through a map that was learnt of it.
///
/// Each drafter is over-confident in its own way: a look-up counts occurrences, a head was trained
/// on other texts. What two of them propose for one tree can only be compared once both speak of
/// the chance that the target agrees.
pub struct CalibratedDrafter {
    inner: Box<dyn Drafter>,
    chance: Chance,
}

impl CalibratedDrafter {
    /// `chance` maps log-probabilities to log-probabilities; it should rise with them, or the
    /// drafter's own order is lost.
    pub fn new(inner: Box<dyn Drafter>, chance: Chance) -> Self {
        CalibratedDrafter { inner, chance }
    }
}

impl Drafter for CalibratedDrafter {
    fn settle(&mut self, settled: Settled<'_>) {
        self.inner.settle(settled);
    }

    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        self.inner.extend(batch, frontier, keep, children)?;
        for (&parent, log_prob) in children.parent.iter().zip(&mut children.log_prob) {
            let seq = frontier.tree.seq[parent as usize];
            *log_prob = (self.chance)(*log_prob, batch.temperature[seq as usize]);
        }
        Ok(())
    }

    fn forget(&mut self, seq: u32) {
        self.inner.forget(seq);
    }
}
