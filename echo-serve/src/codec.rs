//! The model's side of text: what prompts become, and what tokens stand for.

use echo_core::{Token, Vocab};
use echo_model::template::Message;

/// Turns prompts into tokens. Errors are the client's to read.
pub trait Codec: Send + Sync {
    /// What tokens stand for.
    fn vocab(&self) -> &dyn Vocab;

    /// The tokens of a plain prompt, with those the model's texts start with.
    fn encode(&self, text: &str) -> Result<Vec<Token>, String>;

    /// The tokens of a chat up to the start of the answer.
    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<Token>, String>;
}
