//! Where the model's own texts begin.

use crate::setup::Loaded;
use anyhow::{Context, Result};
use echo_core::Token;
use echo_model::template::{ChatTemplate, Message};
use serde::Deserialize;

/// The first words of questions of many kinds; an empty one leaves all to the model.
const BUILT_IN: &str = include_str!("../../prompts/openings.jsonl");

/// How a question begins.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Opening {
    /// System message, if any.
    pub(crate) system: Option<String>,
    /// First words of the user.
    pub(crate) user: String,
}

impl Opening {
    /// The openings that come with the program.
    pub(crate) fn built_in() -> Result<Vec<Opening>> {
        let lines = BUILT_IN.lines().enumerate();
        lines
            .map(|(n, line)| {
                serde_json::from_str(line)
                    .with_context(|| format!("openings.jsonl, line {}", n + 1))
            })
            .collect()
    }

    /// The chat that asks `question`.
    pub(crate) fn messages(&self, question: &str) -> Vec<Message> {
        let system = self.system.iter().map(|text| Message::new("system", text));
        system.chain([Message::new("user", question)]).collect()
    }

    /// The tokens up to the point where the user goes on from the opening: the rendered chat
    /// without what the template puts behind any question.
    pub(crate) fn encode(&self, loaded: &Loaded, template: &ChatTemplate) -> Result<Vec<Token>> {
        let tokens =
            |question: &str| loaded.encode_messages(template, &self.messages(question), false);
        let [mut own, other] = [tokens(&self.user)?, tokens(&format!("{} 0", self.user))?];
        let tail = own.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
        own.truncate(own.len() - tail);
        Ok(own)
    }
}
