//! What the ids of the port stand for on the device.

use crate::driver::Driver;
use crate::staged::Staged;
use crate::weight::Matrix;
use echo_core::DeviceError;
use echo_core::port::{Buffer, Element, Mat, Stage, Weight};

/// A device array.
#[derive(Clone, Copy, Debug)]
struct Array {
    element: Element,
    address: u64,
    len: usize,
}

/// Rows of a matrix operand on the device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rows {
    /// Address of the first column of the first row.
    pub(crate) address: u64,
    /// Columns from row to row.
    pub(crate) stride: usize,
    pub(crate) width: usize,
}

/// All that was taken, by id. Nothing is freed before the device is.
#[derive(Default)]
pub(crate) struct Memory {
    arrays: Vec<Array>,
    pub(crate) weights: Vec<Matrix>,
    pub(crate) stages: Vec<Staged>,
}

impl Memory {
    pub(crate) fn alloc(
        &mut self,
        driver: &dyn Driver,
        element: Element,
        len: usize,
        what: &str,
    ) -> Result<Buffer, DeviceError> {
        let bytes = len.saturating_mul(4);
        let address = driver.alloc(bytes, what)?;
        // Keys and values are kept as they are.
        let element = if element == Element::Kv { Element::F32 } else { element };
        self.arrays.push(Array { element, address, len });
        Ok(Buffer(self.arrays.len() as u32 - 1))
    }

    /// The address of elements `start..start + len`. Panics if the buffer has none of the type.
    pub(crate) fn range(&self, buffer: Buffer, element: Element, start: usize, len: usize) -> u64 {
        let array = self.arrays[buffer.0 as usize];
        assert_eq!(array.element, element, "{buffer:?} holds {:?}", array.element);
        assert!(start + len <= array.len, "{buffer:?}: elements {start}+{len} of {}", array.len);
        array.address + 4 * start as u64
    }

    /// An F32 buffer of any length and its length.
    pub(crate) fn floats(&self, buffer: Buffer) -> (u64, usize) {
        (self.range(buffer, Element::F32, 0, 0), self.arrays[buffer.0 as usize].len)
    }

    /// `rows` rows of `mat`. Panics unless they lie inside the buffer; `what` they are.
    pub(crate) fn rows(&self, mat: Mat, rows: usize, what: &str) -> Rows {
        let Mat { buffer, stride, col, width } = mat;
        assert!(col + width <= stride, "{what}: columns {col}+{width} of a row of {stride}");
        let extent = if rows == 0 { 0 } else { (rows - 1) * stride + width };
        // The last row may end where the buffer does.
        let start = if rows == 0 { 0 } else { col };
        let address = self.range(buffer, Element::F32, start, extent);
        Rows { address, stride, width }
    }

    pub(crate) fn matrix(&self, weight: Weight) -> &Matrix {
        &self.weights[weight.0 as usize]
    }

    pub(crate) fn stage(&self, stage: Stage) -> &Staged {
        &self.stages[stage.0 as usize]
    }
}

/// Memory that operations use within themselves; grows at start, when its users are known.
#[derive(Default)]
pub(crate) struct Scratch {
    address: u64,
    bytes: usize,
}

impl Scratch {
    /// The address of `bytes` bytes, taken anew if there were fewer.
    pub(crate) fn reserve(
        &mut self,
        driver: &dyn Driver,
        bytes: usize,
        what: &str,
    ) -> Result<u64, DeviceError> {
        if bytes > self.bytes {
            let room = bytes.max(1 << 16);
            self.address = driver.alloc(room, what)?;
            self.bytes = room;
        }
        Ok(self.address)
    }

    /// How many there are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
