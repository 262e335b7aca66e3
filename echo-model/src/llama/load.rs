//! Bringing weights to the device, and what can go wrong.

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::role::Role;
use crate::weights::Weights;
use echo_core::DeviceError;
use echo_core::port::{Buffer, Data, Element, Kernels, Weight};

/// A model that could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its files are not right.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device refused.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// How far loading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    /// Tensors that are on the device.
    pub done: usize,
    /// Tensors in all.
    pub total: usize,
}

/// Copies tensors to the device and reports each.
pub(super) struct Loader<'a> {
    kernels: &'a dyn Kernels,
    weights: &'a dyn Weights,
    progress: LoadProgress,
    report: &'a mut dyn FnMut(LoadProgress),
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        kernels: &'a dyn Kernels,
        weights: &'a dyn Weights,
        report: &'a mut dyn FnMut(LoadProgress),
    ) -> Self {
        let total = Role::all(weights.config()).len();
        Loader { kernels, weights, progress: LoadProgress { done: 0, total }, report }
    }

    pub(super) fn config(&self) -> &'a ModelConfig {
        self.weights.config()
    }

    /// The tensors of `roles`, one below the other, as one matrix.
    pub(super) fn matrix(&mut self, roles: &[Role]) -> Result<Weight, LoadError> {
        let tensors =
            roles.iter().map(|&role| self.weights.tensor(role)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<_> = tensors.iter().map(|tensor| tensor.view()).collect();
        let weight = self.kernels.weight(&parts)?;
        for &role in roles {
            self.weights.release(role);
        }
        self.advance(roles.len());
        Ok(weight)
    }

    /// The weights of a norm.
    pub(super) fn norm(&mut self, role: Role) -> Result<Buffer, LoadError> {
        let values = self.weights.vector(role)?;
        let buffer = self.kernels.alloc(Element::F32, values.len(), "norm weights")?;
        self.kernels.write(buffer, 0, Data::F32(&values))?;
        self.advance(1);
        Ok(buffer)
    }

    fn advance(&mut self, tensors: usize) {
        self.progress.done += tensors;
        (self.report)(self.progress);
    }
}
