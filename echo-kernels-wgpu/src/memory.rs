//! The device's memory: buffers, weights and staged rows. Ids are indices; nothing is freed before
//! the device is.

use crate::gpu::{Array, Gpu};
use crate::packed::{self, Format, SIDE};
use crate::staged::Staged;
use crate::stream::Stream;
use echo_core::port::{Buffer, Element, Stage, Weight};
use echo_core::{DType, DeviceError, Limits, TensorView};

/// Rows of a weight that one launch can reach.
pub(crate) struct Slab {
    pub(crate) array: Array,
    pub(crate) format: Format,
    /// First row, of the whole weight.
    pub(crate) first: usize,
    pub(crate) rows: usize,
    /// Units of a row.
    pub(crate) units: usize,
}

/// A weight: its rows in slabs, ascending.
pub(crate) struct Matrix {
    pub(crate) slabs: Vec<Slab>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// All memory of one device.
#[derive(Default)]
pub(crate) struct Memory {
    arrays: Vec<(Array, Element)>,
    weights: Vec<Matrix>,
    stages: Vec<Staged>,
}

impl Memory {
    pub(crate) fn alloc(
        &mut self,
        gpu: &mut Gpu,
        element: Element,
        len: usize,
        what: &str,
    ) -> Result<Buffer, DeviceError> {
        self.arrays.push((gpu.array(len, what)?, element));
        Ok(Buffer(self.arrays.len() as u32 - 1))
    }

    pub(crate) fn open_stage(
        &mut self,
        gpu: &mut Gpu,
        limits: &Limits,
    ) -> Result<Stage, DeviceError> {
        self.stages.push(Staged::new(gpu, limits)?);
        Ok(Stage(self.stages.len() as u32 - 1))
    }

    /// Packs `parts` and uploads them: neighbours of one type together, in slabs that the device
    /// can bind.
    pub(crate) fn keep(
        &mut self,
        gpu: &mut Gpu,
        stream: &mut Stream,
        parts: &[TensorView<'_>],
    ) -> Result<Weight, DeviceError> {
        let cols = parts.first().map_or(0, |part| part.cols);
        let mut matrix = Matrix { slabs: Vec::new(), rows: 0, cols };
        for part in parts {
            packed::check(part, cols)?;
        }
        for parts in parts.chunk_by(|a, b| a.dtype == b.dtype) {
            let bytes = parts[0].dtype.row_bytes(cols).unwrap_or(0);
            let rows: Vec<&[u8]> =
                parts.iter().flat_map(|part| part.bytes.chunks_exact(bytes.max(1))).collect();
            let rows_max = Format::of(parts[0].dtype).rows_max(cols.max(1), gpu.buffer_max);
            if rows_max == 0 {
                return Err(DeviceError::Unsupported(format!(
                    "tensor {}: {SIDE} rows of {cols} columns, {} binds at most {} bytes",
                    parts[0].name, gpu.found.name, gpu.buffer_max
                )));
            }
            for rows in rows.chunks(rows_max) {
                let slab = slab(gpu, stream, parts[0].dtype, cols, rows, matrix.rows)?;
                matrix.rows += slab.rows;
                matrix.slabs.push(slab);
            }
        }
        self.weights.push(matrix);
        Ok(Weight(self.weights.len() as u32 - 1))
    }

    /// An F32 buffer; keys and values are kept as such, too.
    pub(crate) fn floats(&self, buffer: Buffer) -> &Array {
        match self.array(buffer) {
            (array, Element::F32 | Element::Kv) => array,
            (_, Element::U32) => panic!("{buffer:?} holds U32, F32 was meant"),
        }
    }

    /// A U32 buffer.
    pub(crate) fn numbers(&self, buffer: Buffer) -> &Array {
        match self.array(buffer) {
            (array, Element::U32) => array,
            (_, Element::F32 | Element::Kv) => panic!("{buffer:?} holds F32, U32 was meant"),
        }
    }

    pub(crate) fn weight(&self, weight: Weight) -> &Matrix {
        &self.weights[weight.0 as usize]
    }

    pub(crate) fn staged(&self, stage: Stage) -> &Staged {
        &self.stages[stage.0 as usize]
    }

    /// The rows of `stage`, for the next forward.
    pub(crate) fn staged_mut(&mut self, stage: Stage) -> &mut Staged {
        &mut self.stages[stage.0 as usize]
    }

    fn array(&self, buffer: Buffer) -> (&Array, Element) {
        let (array, element) = &self.arrays[buffer.0 as usize];
        (array, *element)
    }
}

fn slab(
    gpu: &mut Gpu,
    stream: &mut Stream,
    dtype: DType,
    cols: usize,
    rows: &[&[u8]],
    first: usize,
) -> Result<Slab, DeviceError> {
    let format = Format::of(dtype);
    let words = packed::pack(dtype, cols, rows);
    let array = gpu.array(words.len(), "weights")?;
    stream.write(gpu, &array.buffer, 0, bytemuck::cast_slice(&words));
    Ok(Slab { array, format, first, rows: rows.len(), units: format.units(cols) })
}
