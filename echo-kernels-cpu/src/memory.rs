//! The device's memory: buffers, weights and staged rows, all of the host's.

use crate::kv::{Kv, to_half};
use crate::linear::PackedWeight;
use crate::pages::{Arena, Piece};
use crate::staged::Staged;
use echo_core::port::{Buffer, Data, Element, Stage, Weight};
use echo_core::{DeviceError, Limits};
use half::f16;

/// A device array.
enum Array {
    F32(Piece<f32>),
    F16(Piece<f16>),
    U32(Piece<u32>),
}

/// A weight as the backend's path wants it.
pub(crate) enum Stored {
    /// Dequantised to F32, row-major, `[rows, cols]`.
    Plain { values: Vec<f32>, cols: usize },
    /// Repacked for the fast linear layer.
    Packed(PackedWeight),
}

/// All memory of one device. Ids are indices; nothing is freed before the device is.
#[derive(Default)]
pub(crate) struct Memory {
    /// Whether keys and values are kept in half precision.
    halves: bool,
    arena: Arena,
    arrays: Vec<Array>,
    weights: Vec<Stored>,
    stages: Vec<Staged>,
}

impl Memory {
    /// `halves`: whether keys and values are kept in half precision.
    pub(crate) fn new(halves: bool) -> Self {
        Memory { halves, ..Memory::default() }
    }

    pub(crate) fn alloc(
        &mut self,
        element: Element,
        len: usize,
        what: &str,
    ) -> Result<Buffer, DeviceError> {
        let is_half = element == Element::Kv && self.halves;
        let array = match element {
            _ if is_half => self.arena.take(len).map(Array::F16),
            Element::F32 | Element::Kv => self.arena.take(len).map(Array::F32),
            Element::U32 => self.arena.take(len).map(Array::U32),
        };
        let bytes = if is_half { size_of::<f16>() } else { size_of::<f32>() };
        let asked = len.saturating_mul(bytes);
        let none = || DeviceError::OutOfMemory { asked, what: what.to_owned() };
        self.arrays.push(array.ok_or_else(none)?);
        Ok(Buffer(self.arrays.len() as u32 - 1))
    }

    pub(crate) fn keep(&mut self, stored: Stored) -> Weight {
        self.weights.push(stored);
        Weight(self.weights.len() as u32 - 1)
    }

    pub(crate) fn write(&mut self, buffer: Buffer, start: usize, data: Data<'_>) {
        match (&mut self.arrays[buffer.0 as usize], data) {
            (Array::F32(array), Data::F32(data)) => {
                array[start..start + data.len()].copy_from_slice(data);
            }
            (Array::U32(array), Data::U32(data)) => {
                array[start..start + data.len()].copy_from_slice(data);
            }
            (Array::F16(array), Data::F32(data)) => {
                let places = &mut array[start..start + data.len()];
                places.iter_mut().zip(data).for_each(|(place, &x)| *place = to_half(x));
            }
            (Array::F32(_) | Array::F16(_), Data::U32(_)) => {
                panic!("{buffer:?} holds floats, U32 was written")
            }
            (Array::U32(_), Data::F32(_)) => panic!("{buffer:?} holds U32, F32 was written"),
        }
    }

    /// Copies elements from `start` on.
    pub(crate) fn read(&self, buffer: Buffer, start: usize, out: &mut [f32]) {
        let range = start..start + out.len();
        match &self.arrays[buffer.0 as usize] {
            Array::F16(array) => {
                out.iter_mut().zip(&array[range]).for_each(|(out, x)| *out = x.to_f32());
            }
            array => out.copy_from_slice(&array.floats()[range]),
        }
    }

    pub(crate) fn floats(&self, buffer: Buffer) -> &[f32] {
        self.arrays[buffer.0 as usize].floats()
    }

    /// Several F32 buffers at once, to be read and written; they must differ.
    pub(crate) fn floats_mut<const N: usize>(&mut self, buffers: [Buffer; N]) -> [&mut [f32]; N] {
        let indices = buffers.map(|b| b.0 as usize);
        match self.arrays.get_disjoint_mut(indices) {
            Ok(arrays) => arrays.map(Array::floats_mut),
            Err(error) => panic!("operands must be different buffers: {buffers:?}: {error}"),
        }
    }

    /// A U32 buffer beside two F32 buffers.
    pub(crate) fn indexed(
        &mut self,
        index: Buffer,
        x: Buffer,
        out: Buffer,
    ) -> (&[u32], &[f32], &mut [f32]) {
        let indices = [index, x, out].map(|b| b.0 as usize);
        match self.arrays.get_disjoint_mut(indices) {
            Ok([Array::U32(index), Array::F32(x), Array::F32(out)]) => (index, x, out),
            Ok(_) => panic!("the index must be U32 and the operands F32"),
            Err(error) => panic!("operands must be different buffers: {indices:?}: {error}"),
        }
    }

    pub(crate) fn open_stage(&mut self, limits: &Limits) -> Stage {
        self.stages.push(Staged::new(limits));
        Stage(self.stages.len() as u32 - 1)
    }

    /// The rows of `stage`, for the next forward.
    pub(crate) fn stage_mut(&mut self, stage: Stage) -> &mut Staged {
        &mut self.stages[stage.0 as usize]
    }

    /// Borrows staged rows and keys and values beside two F32 buffers.
    pub(crate) fn staged_and_kv(
        &mut self,
        stage: Stage,
        [keys, values]: [Buffer; 2],
        others: [Buffer; 2],
    ) -> (&Staged, Kv<'_>, [&mut [f32]; 2]) {
        let Memory { arrays, stages, .. } = self;
        let buffers = [keys, values, others[0], others[1]];
        let [keys, values, a, b] = match arrays.get_disjoint_mut(buffers.map(|b| b.0 as usize)) {
            Ok(arrays) => arrays,
            Err(error) => panic!("operands must be different buffers: {buffers:?}: {error}"),
        };
        let kv = match (keys, values) {
            (Array::F16(keys), Array::F16(values)) => Kv::F16 { keys, values },
            (keys, values) => Kv::F32 { keys: keys.floats_mut(), values: values.floats_mut() },
        };
        (&stages[stage.0 as usize], kv, [a, b].map(Array::floats_mut))
    }

    /// Borrows a weight and staged rows beside an F32 buffer to be written.
    pub(crate) fn weight_stage_out(
        &mut self,
        weight: Weight,
        stage: Stage,
        out: Buffer,
    ) -> (&Stored, &Staged, &mut [f32]) {
        (
            &self.weights[weight.0 as usize],
            &self.stages[stage.0 as usize],
            self.arrays[out.0 as usize].floats_mut(),
        )
    }

    /// Borrows a weight beside two different F32 buffers.
    pub(crate) fn weight_and_floats<const N: usize>(
        &mut self,
        weight: Weight,
        buffers: [Buffer; N],
    ) -> (&Stored, [&mut [f32]; N]) {
        let Memory { arrays, weights, .. } = self;
        let indices = buffers.map(|b| b.0 as usize);
        match arrays.get_disjoint_mut(indices) {
            Ok(arrays) => (&weights[weight.0 as usize], arrays.map(Array::floats_mut)),
            Err(error) => panic!("operands must be different buffers: {buffers:?}: {error}"),
        }
    }
}

impl Array {
    fn floats(&self) -> &[f32] {
        match self {
            Array::F32(array) => array,
            Array::F16(_) | Array::U32(_) => panic!("a Kv or U32 buffer was used as F32"),
        }
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        match self {
            Array::F32(array) => array,
            Array::F16(_) | Array::U32(_) => panic!("a Kv or U32 buffer was used as F32"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_room_is_an_error_that_names_its_use() {
        let error = Memory::default().alloc(Element::F32, usize::MAX / 8, "the moon").unwrap_err();
        assert!(error.to_string().contains("the moon"), "{error}");
    }

    #[test]
    fn buffers_start_as_zeros_and_keep_what_was_written() {
        let mut memory = Memory::default();
        let buffer = memory.alloc(Element::F32, 4, "test").unwrap();
        memory.write(buffer, 1, Data::F32(&[5.0, 6.0]));
        assert_eq!(memory.floats(buffer), [0.0, 5.0, 6.0, 0.0]);
    }

    #[test]
    fn keys_and_values_are_halves_where_they_may_be() {
        for halves in [false, true] {
            let mut memory = Memory::new(halves);
            let buffer = memory.alloc(Element::Kv, 3, "keys").unwrap();
            memory.write(buffer, 1, Data::F32(&[1.000_1, 1e9]));
            let mut out = [9.0; 3];
            memory.read(buffer, 0, &mut out);
            let kept = if halves { [0.0, 1.0, 65_504.0] } else { [0.0, 1.000_1, 1e9] };
            assert_eq!(out, kept);
        }
    }
}
