//! The model's tokenizer and chat template, as the server asks for them.

use crate::setup::Loaded;
use echo_core::{Token, Vocab};
use echo_model::template::{ChatTemplate, Message, RenderOptions};
use echo_model::tokenizer::{Specials, Tokenizer};
use echo_serve::Codec;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A loaded model's side of text.
pub(crate) struct ModelCodec {
    tokenizer: Arc<Tokenizer>,
    template: Result<ChatTemplate, String>,
}

impl ModelCodec {
    /// A model without a chat template can still be asked to go on with a text.
    pub(crate) fn new(loaded: &Loaded) -> Self {
        let template = loaded.template().map_err(|error| error.to_string());
        ModelCodec { tokenizer: Arc::clone(&loaded.tokenizer), template }
    }
}

impl Codec for ModelCodec {
    fn vocab(&self) -> &dyn Vocab {
        self.tokenizer.as_ref()
    }

    fn encode(&self, text: &str) -> Result<Vec<Token>, String> {
        let mut tokens: Vec<Token> = self.tokenizer.prompt_start().into_iter().collect();
        let rest = self.tokenizer.encode(text, Specials::Plain);
        tokens.extend(rest.map_err(|error| error.to_string())?);
        Ok(tokens)
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<Token>, String> {
        let template = self.template.as_ref().map_err(Clone::clone)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let options = RenderOptions { add_generation_prompt: true, now_s: now as i64 };
        let encoded = template.encode(&self.tokenizer, messages, &options);
        encoded.map_err(|error| error.to_string())
    }
}
