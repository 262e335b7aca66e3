//! A matrix operand: some columns of some rows of a larger matrix whose rest is guard words.

use super::random::Random;
use crate::area::Area;
use echo_core::DeviceError;
use echo_core::port::{Buffer, Data, Device, Element, Mat};

/// NaN with a payload: what surrounds an output, recognisable to whoever looks for writes.
pub(super) const GUARD: f32 = f32::from_bits(0x7FC0_BEEF);
/// What surrounds an input: poison to whoever reads it. Another NaN, for an operation that goes
/// beyond its rows writes what it makes of this where the guards of its output were.
const POISON: f32 = f32::from_bits(0x7FC0_F00D);
/// What surrounds an operand that is changed in place: a number, since a sum with NaN may well be
/// the NaN it was.
const STILL: f32 = -7.75e5;

const COLS_BEFORE: usize = 3;
const COLS_AFTER: usize = 2;
const ROWS_AFTER: usize = 2;

/// `rows` rows of `area` and what surrounds them.
#[derive(Clone)]
pub(super) struct Sheet {
    pub(super) rows: usize,
    pub(super) area: Area,
    pub(super) data: Vec<f32>,
}

impl Sheet {
    /// Guard words everywhere: an output.
    pub(super) fn guarded(rows: usize, width: usize) -> Self {
        Sheet::filled(rows, width, GUARD)
    }

    /// Activations inside, poison around: an input.
    pub(super) fn random(rows: usize, width: usize, random: &mut Random) -> Self {
        Sheet::filled(rows, width, POISON).activated(random)
    }

    /// Activations inside, a number around: an operand that is changed in place.
    pub(super) fn changing(rows: usize, width: usize, random: &mut Random) -> Self {
        Sheet::filled(rows, width, STILL).activated(random)
    }

    fn filled(rows: usize, width: usize, around: f32) -> Self {
        let area = Area { stride: COLS_BEFORE + width + COLS_AFTER, col: COLS_BEFORE, width };
        Sheet { rows, area, data: vec![around; (rows + ROWS_AFTER) * area.stride] }
    }

    fn activated(mut self, random: &mut Random) -> Self {
        for row in 0..self.rows {
            let values = random.activations(self.area.width);
            self.row_mut(row).copy_from_slice(&values);
        }
        self
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.data[self.area.at(row, 0)..self.area.at(row, self.area.width)]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let (start, end) = (self.area.at(row, 0), self.area.at(row, self.area.width));
        &mut self.data[start..end]
    }

    /// Whether element `i` of the buffer is one of the rows'.
    pub(super) fn holds(&self, i: usize) -> bool {
        let (row, col) = (i / self.area.stride, i % self.area.stride);
        row < self.rows && (self.area.col..self.area.col + self.area.width).contains(&col)
    }

    pub(super) fn mat(&self, buffer: Buffer) -> Mat {
        Mat { buffer, stride: self.area.stride, col: self.area.col, width: self.area.width }
    }

    /// A buffer of the device with this content.
    pub(super) fn upload(&self, device: &dyn Device) -> Result<Buffer, DeviceError> {
        upload(device, &self.data)
    }
}

/// A buffer of the device with these floats.
pub(super) fn upload(device: &dyn Device, data: &[f32]) -> Result<Buffer, DeviceError> {
    let buffer = device.alloc(Element::F32, data.len(), "conformance")?;
    device.write(buffer, 0, Data::F32(data))?;
    Ok(buffer)
}

/// The same for keys or values.
pub(super) fn upload_kv(device: &dyn Device, data: &[f32]) -> Result<Buffer, DeviceError> {
    let buffer = device.alloc(Element::Kv, data.len(), "conformance")?;
    device.write(buffer, 0, Data::F32(data))?;
    Ok(buffer)
}

/// What the device keeps of keys or values.
pub(super) fn kept(device: &dyn Device, data: &[f32]) -> Result<Vec<f32>, DeviceError> {
    download(device, upload_kv(device, data)?, data.len())
}

/// A buffer of the device with these row numbers.
pub(super) fn upload_index(device: &dyn Device, data: &[u32]) -> Result<Buffer, DeviceError> {
    let buffer = device.alloc(Element::U32, data.len(), "conformance")?;
    device.write(buffer, 0, Data::U32(data))?;
    Ok(buffer)
}

/// All of a buffer.
pub(super) fn download(
    device: &dyn Device,
    buffer: Buffer,
    len: usize,
) -> Result<Vec<f32>, DeviceError> {
    let mut out = vec![0.0; len];
    device.read(buffer, 0, &mut out)?;
    Ok(out)
}
