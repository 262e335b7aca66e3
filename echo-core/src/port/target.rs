//! The model whose text is wanted.

use crate::error::DeviceError;
use crate::packed::PackedView;
use crate::sampling::SampleView;
use crate::verdict::Verdicts;

/// What an engine must know of a target before it sizes its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetShape {
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Longest sequence the model was made for.
    pub context_max: usize,
    /// KV slots this target holds.
    pub kv_slots: usize,
    /// Rows one forward can take.
    pub rows_max: usize,
    /// Sequences one forward can take.
    pub seqs_max: usize,
}

/// The model whose text is wanted.
pub trait Target: Send {
    /// Its sizes, the same for its whole life.
    fn shape(&self) -> TargetShape;

    /// One forward over all rows, and the token the target commits after each sampled row.
    ///
    /// `sample.specs` has one entry per entry of `packed.sampled`. Writes keys and values of every
    /// row into the row's slot and touches no other slot, so that a failed or rejected row leaves
    /// nothing behind. A row's answer depends on the weights, the tokens it sees and their
    /// positions alone: not on its neighbours, its slot, or how the rows were split into forwards.
    fn verify(
        &mut self,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError>;
}

const _: Option<&dyn Target> = None;
