//! Thresholds that make sense.

/// A threshold or its depth that no gate can work with.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum TauError {
    /// A confidence lies in `0..=1`, and so must what it is compared with.
    #[error("tau at depth {depth} is {tau}; it must lie between 0 and 1")]
    Range {
        /// Depth the threshold is for.
        depth: usize,
        /// The threshold.
        tau: f32,
    },
    /// Two thresholds for one depth, or depths out of order.
    #[error("depth {depth} of a threshold doesn't ascend; list each depth once, in order")]
    Order {
        /// Depth at fault.
        depth: usize,
    },
}

/// Refuses a threshold outside `0..=1`, NaN included.
pub(crate) fn check_tau(depth: usize, tau: f32) -> Result<(), TauError> {
    if (0.0..=1.0).contains(&tau) { Ok(()) } else { Err(TauError::Range { depth, tau }) }
}
