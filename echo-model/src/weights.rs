//! Where a forward gets its weights from.

use crate::checkpoint::Checkpoint;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::role::Role;
use crate::tensor::Tensor;

/// A configuration and the tensors that go with it: files, or a model made up in memory.
pub trait Weights {
    /// The hyper-parameters.
    fn config(&self) -> &ModelConfig;

    /// The tensor with this role; the embedding for [`Role::Output`] of a tied model.
    fn tensor(&self, role: Role) -> Result<Tensor<'_>, ModelError>;

    /// The elements of a norm's weights.
    fn vector(&self, role: Role) -> Result<Vec<f32>, ModelError>;

    /// Hears that the device has its own copy of the tensor with this role, so that memory which
    /// only served to read it can go. Nothing by default.
    fn release(&self, role: Role) {
        let _ = role;
    }
}

impl Weights for Checkpoint {
    fn config(&self) -> &ModelConfig {
        Checkpoint::config(self)
    }

    fn tensor(&self, role: Role) -> Result<Tensor<'_>, ModelError> {
        Checkpoint::tensor(self, role)
    }

    fn vector(&self, role: Role) -> Result<Vec<f32>, ModelError> {
        Checkpoint::vector(self, role)
    }

    fn release(&self, role: Role) {
        Checkpoint::release(self, role);
    }
}
