//! For tests and examples: tiny models made up from a seed, and forwards laid out by hand.
//!
//! [`TinyModel`] has every shape and element type a real checkpoint can have and goes through the
//! same [`Weights`](crate::weights::Weights). [`Rows`] lays out a forward row by row, without the
//! engine's super-tree and its packer.

mod blocks;
mod head;
mod model;

pub use crate::rows::Rows;
pub use head::tiny_head;
pub use model::{TinyModel, TinyShape};
