//! The linear layer: exact where it promises bits, close where it promises numbers.

mod accuracy;
mod purity;
mod refusal;
mod sample;
