//! Room on a device for as many rows as a limit says.

use echo_core::DeviceError;
use echo_core::port::{Buffer, Element, Kernels};

/// A buffer for `n` rows of `width`, as many as the limit called `limit` says, and `more`. A device
/// whose buffers can't be as large says what to lower the limit to.
pub(crate) fn rows(
    device: &dyn Kernels,
    element: Element,
    (limit, n): (&str, usize),
    more: usize,
    width: usize,
    what: &str,
) -> Result<Buffer, DeviceError> {
    let found = device.alloc(element, (n + more).saturating_mul(width), what);
    found.map_err(|error| match error {
        DeviceError::TooLarge { asked, at_most, .. } => DeviceError::Unsupported(format!(
            "{what} for {limit} {n} take more than one buffer can hold; lower {limit} to {}",
            (at_most / (asked / (n + more).max(1)).max(1)).saturating_sub(more)
        )),
        DeviceError::OutOfMemory { asked, what } => {
            DeviceError::OutOfMemory { asked, what: format!("{what}; lower {limit} to need less") }
        }
        other => other,
    })
}
