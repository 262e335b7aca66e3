//! Copies of the residual stream inside the network, for drafters that read the target's mind.

use echo_core::DeviceError;
use echo_core::port::{Buffer, Data, Element, Kernels, Mat};

/// Where the residual stream after three layers lies: `[rows_max, 3 * hidden]`, one row for each
/// row of the last forward, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taps {
    /// The device's buffer.
    pub buffer: Buffer,
    /// Its columns: three times the width of the residual stream, in the order of the layers named.
    pub width: usize,
}

/// The taps of a target, and what it needs to fill them.
pub(super) struct Tapping {
    pub(super) layers: [usize; 3],
    pub(super) taps: Taps,
    /// `0, 1, 2, …`: gathering by it is copying.
    identity: Buffer,
}

impl Tapping {
    pub(super) fn new(
        kernels: &dyn Kernels,
        layers: [usize; 3],
        rows_max: usize,
        hidden: usize,
    ) -> Result<Self, DeviceError> {
        let width = 3 * hidden;
        let buffer = kernels.alloc(Element::F32, rows_max * width, "taps")?;
        let identity = kernels.alloc(Element::U32, rows_max, "row numbers of taps")?;
        let numbers: Vec<u32> = (0..rows_max as u32).collect();
        kernels.write(identity, 0, Data::U32(&numbers))?;
        Ok(Tapping { layers, taps: Taps { buffer, width }, identity })
    }

    /// Copies the first `rows` rows of `stream` if `layer` is one of the three.
    pub(super) fn after(
        &self,
        kernels: &dyn Kernels,
        layer: usize,
        rows: usize,
        stream: Mat,
    ) -> Result<(), DeviceError> {
        let whole = Mat::new(self.taps.buffer, self.taps.width);
        for (i, _) in self.layers.iter().enumerate().filter(|(_, at)| **at == layer) {
            let own = whole.cols(i * stream.width, stream.width);
            kernels.gather_rows(rows, self.identity, stream, own)?;
        }
        Ok(())
    }
}
