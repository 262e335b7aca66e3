//! The law by which a token is sampled, as a function of logits, parameters, seed and position.
//!
//! The token committed at absolute position `t` of a request is
//! `argmax_v ( l'(v) + G(seed, t, v) )`, where `l'` are the processed logits and `G` is standard
//! Gumbel noise from a counter-based generator. The law of the result is exactly the softmax of
//! `l'` (the Gumbel-max identity), and the token is a *function* of the prefix and the seed: the
//! same for every draft tree, batch, schedule and policy. At temperature 0 it is `argmax_v l'(v)`.
//!
//! Processing, in this order: logit bias, repetition penalty, frequency and presence penalty,
//! temperature, min-p, top-k, top-p (the order of vLLM). Ties go to the lowest token id everywhere.

mod law;
mod noise;
mod params;
mod spec;

pub use law::{Scratch, sample_row};
pub use noise::{gumbel, gumbel_max, philox};
pub use params::{Sampling, SamplingError};
pub use spec::{SampleSpec, SampleView, TokenEdit};
