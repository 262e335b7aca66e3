//! A target that is shown a bent version of what the engine packed: bugs planted on purpose.

use echo_core::port::TargetShape;
use echo_core::{DeviceError, PackedView, SampleSpec, SampleView, Target, Verdicts};
use echo_model::sim::SimTarget;

/// What is bent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bend {
    /// A drafted row's position is its place among the rows, not its depth.
    PositionIsIndex,
    /// A drafted row also sees the drafted row before it, its sibling perhaps.
    SiblingVisible,
    /// A drafted row does not see its parent.
    ParentHidden,
    /// A drafted row misses the last position of the prefix.
    PrefixShort,
    /// The noise of a drafted row is that of the position before.
    NoiseBehind,
    /// A drafted row is sampled without the edits of its path.
    PathForgotten,
    /// The rows of a sequence write each other's slots.
    SlotsSwapped,
}

impl Bend {
    pub(crate) const ALL: [Bend; 7] = [
        Bend::PositionIsIndex,
        Bend::SiblingVisible,
        Bend::ParentHidden,
        Bend::PrefixShort,
        Bend::NoiseBehind,
        Bend::PathForgotten,
        Bend::SlotsSwapped,
    ];
}

pub(crate) struct BentTarget {
    pub(crate) inner: SimTarget,
    pub(crate) bend: Bend,
}

impl Target for BentTarget {
    fn shape(&self) -> TargetShape {
        self.inner.shape()
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let mut position = packed.position.to_vec();
        let mut prefix_len = packed.prefix_len.to_vec();
        let mut ancestors = packed.ancestors.to_vec();
        let mut slot = packed.slot.to_vec();
        let mut specs: Vec<SampleSpec> = sample.specs.to_vec();
        for s in 0..packed.n_seqs() {
            let drafted = packed.drafted(s);
            for row in drafted.clone() {
                let bit = row - drafted.start;
                let word = row * packed.words + bit / 64;
                let spec = packed.sampled.iter().position(|&r| r as usize == row);
                let spec = &mut specs[spec.expect("drafted rows are sampled")];
                match self.bend {
                    Bend::PositionIsIndex => {
                        position[row] = packed.position[drafted.start] + bit as u32;
                    }
                    Bend::SiblingVisible if bit > 0 => {
                        let before = bit - 1;
                        ancestors[row * packed.words + before / 64] |= 1 << (before % 64);
                    }
                    Bend::ParentHidden => ancestors[word] &= 1 << (bit % 64),
                    Bend::PrefixShort => prefix_len[row] -= 1,
                    Bend::NoiseBehind => spec.position -= 1,
                    Bend::PathForgotten => spec.path_edits = (0, 0),
                    Bend::SlotsSwapped if bit > 0 => slot.swap(row, row - 1),
                    Bend::SiblingVisible | Bend::SlotsSwapped => {}
                }
            }
        }
        let packed = PackedView {
            position: &position,
            prefix_len: &prefix_len,
            ancestors: &ancestors,
            slot: &slot,
            ..packed
        };
        self.inner.verify(packed, SampleView { specs: &specs, ..sample }, verdicts)
    }
}
