//! The one error of the contract: a device that failed.

use std::fmt;

/// What nobody could foresee of a device. Fatal to the step, which then has committed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// Memory ran out while the engine was set up.
    OutOfMemory {
        /// Bytes asked for.
        asked: usize,
        /// What they were for.
        what: String,
    },
    /// A buffer that is larger than any of the device's can be, however much memory is free.
    TooLarge {
        /// Bytes asked for.
        asked: usize,
        /// Bytes of the largest buffer.
        at_most: usize,
        /// What it was for.
        what: String,
    },
    /// The device refused a request that can never work there.
    Unsupported(String),
    /// An operation failed; the device may still be usable.
    Failed(String),
    /// The device is gone and has to be opened anew.
    Lost(String),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::OutOfMemory { asked, what } => {
                let remedy = "lower the limits or use a smaller model";
                write!(f, "out of device memory: {asked} bytes for {what}; {remedy}")
            }
            DeviceError::TooLarge { asked, at_most, what } => {
                let remedy = "lower the limits or use a smaller model";
                write!(f, "{what}: {asked} bytes in one buffer, at most {at_most} fit; {remedy}")
            }
            DeviceError::Unsupported(what) => write!(f, "not supported by this device: {what}"),
            DeviceError::Failed(what) => write!(f, "device operation failed: {what}"),
            DeviceError::Lost(what) => write!(f, "device lost: {what}"),
        }
    }
}

impl std::error::Error for DeviceError {}
