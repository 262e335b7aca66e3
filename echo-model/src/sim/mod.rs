//! A simulated pair of target and drafter: no weights, no device, microseconds a row.
//!
//! For tests of engines and policies. The target's logits are a hash of the text a row sees, and
//! its KV cache is a ledger: a wrong position, mask or slot, a stale or a foreign read changes the
//! output and is noted besides. The drafter knows the target's law and agrees with it as often as
//! a test wants. Both are functions of their seeds, so every failure replays.
//!
//! Deliberately not here: an engine, and any statement about speed.

mod drafter;
mod faults;
mod law;
mod ledger;
mod protocol;
mod target;
mod vocab;

pub use drafter::{SimDraft, SimDrafter};
pub use faults::Faults;
pub use law::SimLaw;
pub use target::{FailAt, SimOptions, SimTarget};
pub use vocab::ByteVocab;
