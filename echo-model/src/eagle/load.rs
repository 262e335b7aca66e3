//! Bringing a head's tensors to the device.

use super::head::Head;
use super::quantise::to_q4_1;
use crate::error::ModelError;
use crate::llama::LoadError;
use crate::role::Role;
use crate::tensor::Tensor;
use crate::weights::Weights;
use echo_core::Token;
use echo_core::port::{Buffer, Data, Element, Kernels, Weight};

/// A head on its way to a device.
#[derive(Clone, Copy)]
pub(super) struct Loading<'a> {
    pub(super) device: &'a dyn Kernels,
    pub(super) head: &'a Head,
    /// Width of the residual stream.
    pub(super) hidden: usize,
}

impl Loading<'_> {
    /// Tensors of these names and shapes, one below the other, as one matrix of four bits.
    pub(super) fn matrix(&self, names: &[(&str, (usize, usize))]) -> Result<Weight, LoadError> {
        let tensors = names
            .iter()
            .map(|&(name, shape)| Ok(to_q4_1(self.head.tensor(name, shape)?)))
            .collect::<Result<Vec<Tensor<'_>>, ModelError>>()?;
        let parts: Vec<_> = tensors.iter().map(Tensor::view).collect();
        Ok(self.device.weight(&parts)?)
    }

    /// The weights of a norm.
    pub(super) fn vector(&self, name: &str) -> Result<Buffer, LoadError> {
        let tensor = self.head.tensor(name, (1, self.hidden))?;
        let values = tensor.to_f32().expect("safetensors are not quantised");
        let buffer = self.device.alloc(Element::F32, values.len(), "norm weights of the head")?;
        self.device.write(buffer, 0, Data::F32(&values))?;
        Ok(buffer)
    }
}

/// The rows of the target's output head that belong to draft tokens.
pub(super) fn output_rows<'a>(
    weights: &'a dyn Weights,
    tokens: &[Token],
) -> Result<Tensor<'a>, ModelError> {
    let whole = weights.tensor(Role::Output)?;
    let row = whole.bytes.len() / whole.rows;
    let bytes = tokens.iter().flat_map(|&token| &whole.bytes[token as usize * row..][..row]);
    let bytes: Vec<u8> = bytes.copied().collect();
    weights.release(Role::Output);
    Ok(Tensor { rows: tokens.len(), bytes: bytes.into(), ..whole })
}
