//! What a request may ask of sampling, with ranges.

use crate::id::Token;
use std::fmt;

/// Sampling parameters of one request. The defaults leave the model's law untouched, at
/// temperature 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 (greedy) up to [`Sampling::TEMPERATURE_MAX`].
    pub temperature: f32,
    /// Likeliest tokens kept; 0 keeps all.
    pub top_k: u32,
    /// Probability mass kept, in (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// Share of the likeliest token's probability below which tokens are dropped, in [0, 1].
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens seen in prompt or output; in
    /// (0, 10], 1 for none.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens seen in the output, in [-2, 2].
    pub presence_penalty: f32,
    /// Subtracted once per occurrence in the output, in [-2, 2].
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens, in [-100, 100] each or −∞ to forbid.
    pub logit_bias: Vec<(Token, f32)>,
    /// Seed of the noise.
    pub seed: u64,
    /// Alternatives to list beside each token's log-probability; `None` reports neither.
    pub logprobs: Option<u32>,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
            logprobs: None,
        }
    }
}

impl Sampling {
    /// The hottest temperature accepted.
    pub const TEMPERATURE_MAX: f32 = 100.0;
    /// The coldest temperature that isn't greedy; below it quotients of logits would overflow.
    pub const TEMPERATURE_MIN: f32 = 1e-5;
    /// Most entries of `logit_bias`.
    pub const LOGIT_BIAS_MAX: usize = 1024;

    /// The likeliest token at each step.
    pub fn greedy() -> Self {
        Sampling { temperature: 0.0, ..Sampling::default() }
    }

    /// Takes a temperature below the coldest for 0, which it is as good as.
    pub fn settle(&mut self) {
        if self.temperature < Self::TEMPERATURE_MIN {
            self.temperature = 0.0;
        }
    }

    /// Refuses what is out of range, naming the parameter, its value and the range.
    pub fn check(&self, vocab: usize, logprobs_max: usize) -> Result<(), SamplingError> {
        let range = |name, value: f32, low: f32, high: f32, open: bool| {
            if value.is_finite() && value >= low && value <= high && !(open && value == low) {
                return Ok(());
            }
            let bracket = if open { '(' } else { '[' };
            Err(SamplingError {
                name,
                why: format!("is {value}, must be in {bracket}{low}, {high}]"),
            })
        };
        range("temperature", self.temperature, 0.0, Self::TEMPERATURE_MAX, false)?;
        range("top_p", self.top_p, 0.0, 1.0, true)?;
        range("min_p", self.min_p, 0.0, 1.0, false)?;
        range("repetition_penalty", self.repetition_penalty, 0.0, 10.0, true)?;
        range("presence_penalty", self.presence_penalty, -2.0, 2.0, false)?;
        range("frequency_penalty", self.frequency_penalty, -2.0, 2.0, false)?;
        self.check_bias(vocab)?;
        match self.logprobs {
            Some(n) if n as usize > logprobs_max => {
                let why = format!("is {n}, at most {logprobs_max} alternatives are kept");
                Err(SamplingError { name: "logprobs", why })
            }
            _ => Ok(()),
        }
    }

    fn check_bias(&self, vocab: usize) -> Result<(), SamplingError> {
        let refuse = |why| Err(SamplingError { name: "logit_bias", why });
        if self.logit_bias.len() > Self::LOGIT_BIAS_MAX {
            let n = self.logit_bias.len();
            return refuse(format!("has {n} entries, at most {}", Self::LOGIT_BIAS_MAX));
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= vocab {
                return refuse(format!("names token {token}, the vocabulary has {vocab}"));
            }
            if bias != f32::NEG_INFINITY && !(-100.0..=100.0).contains(&bias) {
                return refuse(format!("of token {token} is {bias}, must be in [-100, 100]"));
            }
        }
        Ok(())
    }
}

/// A sampling parameter out of range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingError {
    /// The parameter.
    pub name: &'static str,
    /// Its value and the range.
    pub why: String,
}

impl fmt::Display for SamplingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.why)
    }
}

impl std::error::Error for SamplingError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let check = |sampling: Sampling| sampling.check(10, 20).map_err(|e| e.to_string());
        let base = Sampling::default;
        assert_eq!(check(base()), Ok(()));
        assert_eq!(check(Sampling::greedy()), Ok(()));
        let message = check(Sampling { top_p: 0.0, ..base() }).unwrap_err();
        assert_eq!(message, "top_p is 0, must be in (0, 1]");
        assert!(check(Sampling { temperature: f32::NAN, ..base() }).is_err());
        assert!(check(Sampling { min_p: 1.5, ..base() }).is_err());
        assert!(check(Sampling { repetition_penalty: 0.0, ..base() }).is_err());
        assert!(check(Sampling { presence_penalty: 2.5, ..base() }).is_err());
        assert!(check(Sampling { frequency_penalty: -3.0, ..base() }).is_err());
        assert!(check(Sampling { logit_bias: vec![(10, 0.0)], ..base() }).is_err());
        assert!(check(Sampling { logit_bias: vec![(1, f32::INFINITY)], ..base() }).is_err());
        assert!(check(Sampling { logprobs: Some(21), ..base() }).is_err());
    }

    #[test]
    fn the_coldest_temperatures_are_greedy() {
        for (temperature, expected) in [(-0.0, 0.0), (1e-38, 0.0), (9e-6, 0.0), (1e-5, 1e-5)] {
            let mut sampling = Sampling { temperature, ..Sampling::default() };
            sampling.settle();
            assert_eq!(sampling.temperature.to_bits(), f32::to_bits(expected));
        }
    }
}
