//! Names of things.
//!
//! What crosses into kernels by the thousand (tokens, slots, positions, node and row indices) is a
//! plain `u32`, so that a slice of them *is* the device's array. What is only handed around on the
//! host is a newtype.

/// A token id, below the vocabulary's size.
pub type Token = u32;

/// A place for one token's keys and values, the same number in every layer, below
/// [`Limits::kv_slots`](crate::Limits::kv_slots).
pub type Slot = u32;

/// The name of a sequence for its whole life, across preemption.
///
/// Never reused by one engine, so a stale name can be told from a live one. The *place* a live
/// sequence holds in the batch is a plain `u32` called `seq`, and is reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqId(pub u64);

impl std::fmt::Display for SeqId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seq-{}", self.0)
    }
}
