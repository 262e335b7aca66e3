//! A line of the cache: weights and buffers begin on one, so that no vector of theirs lies in two.

/// Bytes of a line.
pub(crate) const LINE: usize = 64;

/// The bytes of one line.
#[derive(Clone, Copy, Debug, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; LINE]);
