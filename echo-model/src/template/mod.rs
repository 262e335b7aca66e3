//! Chat templates: messages → the text a model was trained on.
//!
//! A template comes from a model file, so it is foreign code. It runs without loader, file system
//! or environment, on bounded fuel, recursion and output; it sees the messages, the model's BOS and
//! EOS and, if it asks, a date that the caller names. Templates are never taken from requests, and
//! none is invented for a model that has none.

mod capped;
mod functions;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, context};
use std::panic::resume_unwind;

use echo_core::Token;

use self::capped::Capped;
use crate::checkpoint::{Checkpoint, Source};
use crate::error::ModelError;
use crate::folder::Folder;
use crate::tokenizer::{EncodeError, TEXT_MAX, Tokenizer};

const SOURCE_MAX: usize = 1 << 20;
/// Operations of one rendering; minijinja charges one per instruction and per 64 bytes made.
const FUEL: u64 = 2_000_000;
const RECURSION_MAX: usize = 64;
/// Bytes of stack for a rendering. As deep as fuel lets a template nest lists in each other, they
/// are walked and freed by recursion. What is not used is not taken.
const STACK: usize = 512 << 20;
const NAME: &str = "chat template";

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn of `role` that says `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// What besides the messages decides the text.
#[derive(Clone, Copy, Debug)]
pub struct RenderOptions {
    /// Whether the text ends with the start of the assistant's turn.
    pub add_generation_prompt: bool,
    /// What `strftime_now` takes for now, in seconds since 1970-01-01 UTC.
    pub now_s: i64,
}

/// Messages that cannot be rendered or encoded.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The template refused the messages, in its own words.
    #[error("the chat template refuses these messages: {0}")]
    Refused(String),
    /// The template is wrong, or ran out of a bound.
    #[error("the chat template failed: {0}")]
    Failed(String),
    /// The text is too long or cannot be tokenised.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// A model's chat template, parsed.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The template of a checkpoint: GGUF's `tokenizer.chat_template`, or the folder's
    /// `chat_template.jinja` or `tokenizer_config.json`.
    pub fn open(checkpoint: &Checkpoint, tokenizer: &Tokenizer) -> Result<Self, ModelError> {
        let fault = |why| ModelError::Template { path: checkpoint.path().to_owned(), why };
        let source = Self::source_of(checkpoint)?.ok_or_else(|| {
            fault("there is none; use an instruct model, or give the prompt as plain text".into())
        })?;
        let name = |token: Option<Token>| token.and_then(|token| tokenizer.special_name(token));
        let bos = name(tokenizer.bos()).unwrap_or_default();
        let eos = name(tokenizer.eos()).unwrap_or_default();
        Self::parse(source, bos, eos).map_err(|error| fault(error.to_string()))
    }

    /// The template text of a checkpoint, if it has one.
    pub fn source_of(checkpoint: &Checkpoint) -> Result<Option<String>, ModelError> {
        match checkpoint.source() {
            Source::Gguf(gguf) => {
                let source = gguf.string("tokenizer.chat_template");
                let source = source.map_err(|source| ModelError::Gguf {
                    path: checkpoint.path().to_owned(),
                    source,
                });
                Ok(source?.map(str::to_owned))
            }
            Source::Folder(folder) => in_folder(folder),
        }
    }

    /// Parses a template; `bos` and `eos` are the texts of the model's control tokens.
    pub fn parse(source: String, bos: &str, eos: &str) -> Result<Self, ChatError> {
        if source.len() > SOURCE_MAX {
            let why = format!("it has {} bytes; at most {SOURCE_MAX} are accepted", source.len());
            return Err(ChatError::Failed(why));
        }
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION_MAX);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        // The settings under which all published templates are written.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| failed(&error))?);
        functions::add(&mut environment);
        environment.add_template_owned(NAME, source.clone()).map_err(|error| failed(&error))?;
        Ok(ChatTemplate { environment, source, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The template itself.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of `messages`. It may hold the names of control tokens, the template's and the
    /// users' alike; [`encode`](Self::encode) tells them apart.
    pub fn render(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<String, ChatError> {
        std::thread::scope(|scope| {
            let render = || self.render_here(messages, options);
            // Without memory for it the stack that is there has to do.
            match std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, render) {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => render(),
            }
        })
    }

    fn render_here(
        &self,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<String, ChatError> {
        let template = self.environment.get_template(NAME).map_err(|error| failed(&error))?;
        let turn =
            |m: &Message| context! { role => m.role.as_str(), content => m.content.as_str() };
        let context = context! {
            messages => messages.iter().map(turn).collect::<Vec<Value>>(),
            add_generation_prompt => options.add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            tools => (),
            documents => (),
            __now_s => options.now_s,
        };
        let mut out = Capped::new(TEXT_MAX);
        match template.render_captured_to(context, &mut out) {
            Ok(_) => String::from_utf8(out.into_bytes())
                .map_err(|_| ChatError::Failed("its text is not UTF-8".into())),
            Err(_) if out.is_full() => {
                Err(ChatError::Failed(format!("its text exceeds {TEXT_MAX} bytes")))
            }
            Err(error) => Err(functions::refusal(&error).unwrap_or_else(|| failed(&error))),
        }
    }

    /// The tokens of `messages`. Control tokens come from the template alone: their names inside
    /// a message are ordinary text.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: &RenderOptions,
    ) -> Result<Vec<Token>, ChatError> {
        // Noncharacters mean nothing in any text; one that no message has marks the names.
        let mut markers = '\u{fdd0}'..='\u{fdef}';
        let is_free = |marker: &char| {
            messages.iter().all(|m| !m.content.contains(*marker) && !m.role.contains(*marker))
        };
        let marker = markers.find(is_free).ok_or_else(|| {
            ChatError::Failed("the messages use all noncharacters from U+FDD0 to U+FDEF".into())
        })?;
        let shielded: Vec<Message> = messages
            .iter()
            .map(|m| Message {
                role: tokenizer.shield(&m.role, marker),
                content: tokenizer.shield(&m.content, marker),
            })
            .collect();
        let text = self.render(&shielded, options)?;
        Ok(tokenizer.encode_shielded(&text, marker)?)
    }
}

fn in_folder(folder: &Folder) -> Result<Option<String>, ModelError> {
    if let Some(source) = folder.text("chat_template.jinja")? {
        return Ok(Some(source));
    }
    let config = folder.json("tokenizer_config.json")?.unwrap_or_default();
    let template = &config["chat_template"];
    // Several templates by name: the default one is for plain chats.
    let default = template.as_array().into_iter().flatten().find(|t| t["name"] == "default");
    let default = default.map(|named| &named["template"]);
    Ok(template.as_str().or_else(|| default?.as_str()).map(str::to_owned))
}

fn failed(error: &minijinja::Error) -> ChatError {
    ChatError::Failed(match error.kind() {
        ErrorKind::OutOfFuel => "it runs too long".to_owned(),
        _ => error.to_string(),
    })
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChatTemplate({} bytes)", self.source.len())
    }
}
