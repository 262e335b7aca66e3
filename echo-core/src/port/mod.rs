//! The ports: one trait each, object-safe, called once per level or per step on the whole batch.

mod device;
mod drafter;
mod gate;
mod kernels;
mod learner;
mod solver;
mod target;
mod vocab;

pub use device::{Buffer, Data, Device, Element, Stage, Weight};
pub use drafter::{Children, Drafter, Settled};
pub use gate::Gate;
pub use kernels::{Heads, Kernels, Mat};
pub use learner::{Learner, Seen};
pub use solver::Solver;
pub use target::{Target, TargetShape};
pub use vocab::Vocab;
