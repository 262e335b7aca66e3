//! Counts of drafted nodes, depth by depth.

/// What was drafted, verified and accepted at each depth below the root. Depths beyond the last
/// counted one are counted with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByDepth {
    /// Nodes drafted, by depth from 1.
    pub drafted: [u64; ByDepth::DEPTHS],
    /// Drafted nodes that the target verified.
    pub verified: [u64; ByDepth::DEPTHS],
    /// Drafted nodes whose token was committed: also, sequences that accepted at least so many.
    pub accepted: [u64; ByDepth::DEPTHS],
}

impl ByDepth {
    /// Depths counted apart.
    pub const DEPTHS: usize = 16;

    /// The place of `depth`, which is 1 or more, in the arrays.
    pub fn place(depth: usize) -> usize {
        depth.clamp(1, Self::DEPTHS) - 1
    }

    /// Combines each count with the other's.
    pub(crate) fn combine(&mut self, other: &ByDepth, count: impl Fn(&mut u64, u64)) {
        let ByDepth { drafted, verified, accepted } = self;
        let pairs =
            [(drafted, &other.drafted), (verified, &other.verified), (accepted, &other.accepted)];
        for (own, other) in pairs {
            for (own, &other) in own.iter_mut().zip(other) {
                count(own, other);
            }
        }
    }
}
