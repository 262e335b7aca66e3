//! The drafter that proposes nothing: plain decoding.

use echo_core::{BatchView, Children, DeviceError, Drafter, Frontier, Keep, Settled};

/// Proposes nothing, so that every sequence owns one row, its root.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDraft;

impl Drafter for NoDraft {
    fn settle(&mut self, _settled: Settled<'_>) {}

    fn extend(
        &mut self,
        _batch: BatchView<'_>,
        _frontier: Frontier<'_>,
        _keep: &Keep,
        _children: &mut Children,
    ) -> Result<(), DeviceError> {
        Ok(())
    }

    fn forget(&mut self, _seq: u32) {}
}
