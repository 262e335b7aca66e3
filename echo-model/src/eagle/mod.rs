//! The EAGLE-3 drafter (Li et al., arXiv 2503.01840), and what it is trained on.
//!
//! A head of one decoder layer reads the target's mind: hidden states of three of its layers, fused
//! into one, beside the embedding of the token that followed. The *entry* of position `p` is made
//! of the token there and the state after `p - 1`; it predicts the token at `p + 1`. Below the
//! last committed token the layer's own output takes the state's place, level by level.
//!
//! [`EagleDrafter`] brings the entries of committed tokens up to date as part of its first level,
//! and those of prompts that take several forwards right after each. A sequence whose states were
//! lost meanwhile (the engine did not draft, or found its prefix in the cache) drafts on with the
//! entries it has.
//!
//! Reading order: `head` (files), `network` (one pass), `ledger` (which entries are there),
//! `drafter`. [`Recorder`] keeps texts and states to train a head on.

mod buffers;
mod checksum;
mod drafter;
#[cfg(test)]
mod golden;
mod head;
mod ledger;
mod load;
mod network;
mod quantise;
mod recorder;
mod recording;

pub use drafter::EagleDrafter;
pub use head::Head;
pub use recorder::Recorder;
pub use recording::{Recorded, Recording, recordings_in, write_recordings};
