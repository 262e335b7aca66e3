//! Text → tokens, and each token's bytes.
//!
//! Byte-level BPE only: there a token *is* a byte string and a text's bytes are those of its tokens
//! one after another, whatever the run. The merging is done by the `tokenizers` crate, the
//! reference for these vocabularies. Control tokens are handled here, apart from it, so that a
//! user's text can never become one: see [`Specials`].

mod from_folder;
mod from_gguf;
mod pre;
mod special;

use std::panic::{AssertUnwindSafe, catch_unwind};

use echo_core::{Token, Vocab};

use self::special::{Piece, SpecialSet};
use crate::checkpoint::{Checkpoint, Source};
use crate::error::ModelError;

/// Longest text one call encodes, in bytes.
pub const TEXT_MAX: usize = 1 << 20;

/// What to do with a control token's name inside a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// It is that token. For the text of templates, never for what a user wrote.
    Parse,
    /// It is ordinary text.
    Plain,
}

/// A text that cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Longer than [`TEXT_MAX`].
    #[error("the text has {bytes} bytes; at most {TEXT_MAX} are accepted")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// White space without end, on which the search for words would give up.
    #[error(
        "the text has {characters} characters of white space in a row; at most {max} are accepted",
        max = pre::SPACES_MAX
    )]
    Spaces {
        /// Length of the longest run.
        characters: usize,
    },
    /// The vocabulary has no way to write it.
    #[error("the text cannot be tokenised: {0}")]
    Failed(String),
}

/// A model's vocabulary, both ways.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    specials: SpecialSet,
    /// Bytes of all tokens one after another, and where each begins; `[vocab + 1]`.
    bytes: Vec<u8>,
    start: Vec<u32>,
    bos: Option<Token>,
    eos: Option<Token>,
    adds_bos: bool,
    /// Ascending.
    ends: Vec<Token>,
    kind: String,
}

/// What a file says of a vocabulary, before it is checked as a whole.
struct Parts {
    inner: tokenizers::Tokenizer,
    /// By token id; `None` where an id has no token.
    tokens: Vec<Option<Entry>>,
    bos: Option<Token>,
    eos: Option<Token>,
    adds_bos: bool,
    ends: Vec<Token>,
    kind: String,
}

struct Entry {
    text: String,
    class: Class,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Written in the byte alphabet.
    Normal,
    /// Stands for its own text.
    Literal,
    /// Stands for no text.
    Control,
}

/// Control tokens that end a turn or a text wherever they exist under these names.
const END_NAMES: [&str; 6] =
    ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "</s>"];

impl Tokenizer {
    /// The tokenizer in a checkpoint's GGUF metadata or its folder's `tokenizer.json`.
    pub fn open(checkpoint: &Checkpoint) -> Result<Self, ModelError> {
        let vocab = checkpoint.config().vocab;
        // The `tokenizers` crate trusts its files more than we do; should it panic on one, that is
        // a bad file and not the end of the process.
        let parts = catch_unwind(AssertUnwindSafe(|| match checkpoint.source() {
            Source::Gguf(gguf) => from_gguf::parts(gguf, vocab),
            Source::Folder(folder) => from_folder::parts(folder, vocab),
        }));
        let fault = |why| ModelError::Tokenizer { path: checkpoint.path().to_owned(), why };
        parts
            .unwrap_or_else(|_| Err("its parts contradict each other".into()))
            .and_then(Self::assemble)
            .map_err(fault)
    }

    fn assemble(parts: Parts) -> Result<Self, String> {
        let Parts { mut inner, tokens, bos, eos, adds_bos, mut ends, kind } = parts;
        // Truncation or padding stored with a tokenizer would change texts silently; control
        // tokens are found by `specials` alone.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.set_encode_special_tokens(true);

        let mut bytes = Vec::new();
        let mut start = vec![0];
        let mut specials = SpecialSet::default();
        for (id, entry) in tokens.iter().enumerate() {
            if let Some(Entry { text, class }) = entry {
                match class {
                    Class::Normal => bytes.extend(
                        crate::byte_alphabet::bytes(text)
                            .ok_or_else(|| format!("token {id} `{text}` is not byte-level"))?,
                    ),
                    Class::Literal => bytes.extend_from_slice(text.as_bytes()),
                    Class::Control => specials.add(text, id as Token)?,
                }
            }
            let end = u32::try_from(bytes.len()).map_err(|_| "the vocabulary exceeds 4 GiB")?;
            start.push(end);
        }
        for named in [("BOS", bos), ("EOS", eos)] {
            if let (name, Some(id)) = named
                && id as usize >= tokens.len()
            {
                return Err(format!("{name} is token {id} of {}", tokens.len()));
            }
        }
        ends.extend(eos);
        ends.extend(END_NAMES.iter().filter_map(|name| specials.id(name)));
        ends.retain(|&id| (id as usize) < tokens.len());
        ends.sort_unstable();
        ends.dedup();
        Ok(Tokenizer { inner, specials, bytes, start, bos, eos, adds_bos, ends, kind })
    }

    /// The tokens of `text`. No token is added at either end.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<Token>, EncodeError> {
        check_size(text)?;
        let mut tokens = Vec::new();
        match specials {
            Specials::Plain => self.append(text, &mut tokens)?,
            Specials::Parse => {
                for piece in self.specials.split(text, None) {
                    match piece {
                        Piece::Text(text) => self.append(text, &mut tokens)?,
                        Piece::Special(token) => tokens.push(token),
                    }
                }
            }
        }
        Ok(tokens)
    }

    /// Like [`encode`](Self::encode) with [`Specials::Parse`], for a text in which the names to be
    /// left alone were [shielded](Self::shield) with `marker`.
    pub(crate) fn encode_shielded(
        &self,
        text: &str,
        marker: char,
    ) -> Result<Vec<Token>, EncodeError> {
        check_size(text)?;
        let mut tokens = Vec::new();
        for piece in self.specials.split(text, Some(marker)) {
            match piece {
                Piece::Text(text) => self.append(&text.replace(marker, ""), &mut tokens)?,
                Piece::Special(token) => tokens.push(token),
            }
        }
        Ok(tokens)
    }

    /// Breaks each control token's name in `text` with `marker`, a character `text` does not have.
    pub(crate) fn shield(&self, text: &str, marker: char) -> String {
        self.specials.shield(text, marker)
    }

    fn append(&self, text: &str, tokens: &mut Vec<Token>) -> Result<(), EncodeError> {
        if text.is_empty() {
            return Ok(());
        }
        let encoding = catch_unwind(AssertUnwindSafe(|| self.inner.encode_fast(text, false)))
            .map_err(|_| EncodeError::Failed("the vocabulary contradicts itself".into()))?
            .map_err(|error| EncodeError::Failed(error.to_string()))?;
        tokens.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    /// Beginning-of-text token, if the model has one.
    pub fn bos(&self) -> Option<Token> {
        self.bos
    }

    /// End-of-text token, if the model has one.
    pub fn eos(&self) -> Option<Token> {
        self.eos
    }

    /// The token that belongs before a prompt that is not a chat. Templates write their own.
    pub fn prompt_start(&self) -> Option<Token> {
        self.bos.filter(|_| self.adds_bos)
    }

    /// The name of a control token; `None` for other tokens.
    pub fn special_name(&self, token: Token) -> Option<&str> {
        self.specials.name(token)
    }

    /// What the file calls this tokenizer, for descriptions.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

impl Vocab for Tokenizer {
    fn len(&self) -> usize {
        self.start.len() - 1
    }

    fn bytes(&self, token: Token) -> &[u8] {
        let id = token as usize;
        match self.start.get(id..id + 2) {
            Some(&[from, to]) => &self.bytes[from as usize..to as usize],
            _ => &[],
        }
    }

    fn ends(&self, token: Token) -> bool {
        self.ends.binary_search(&token).is_ok()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({}, {} tokens)", self.kind, self.len())
    }
}

fn check_size(text: &str) -> Result<(), EncodeError> {
    if text.len() > TEXT_MAX {
        return Err(EncodeError::TooLong { bytes: text.len() });
    }
    let (mut run, mut longest) = (0, 0);
    for character in text.chars() {
        run = if character.is_whitespace() { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    if longest > pre::SPACES_MAX {
        return Err(EncodeError::Spaces { characters: longest });
    }
    Ok(())
}

/// Refuses a merge whose halves or union are not tokens; the `tokenizers` crate would panic on it.
fn check_merge(
    rank: usize,
    left: &str,
    right: &str,
    is_token: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let union = format!("{left}{right}");
    match [left, right, union.as_str()].into_iter().find(|token| !is_token(token)) {
        Some(missing) => {
            Err(format!("merge {rank} (`{left}` and `{right}`): `{missing}` is not a token"))
        }
        None => Ok(()),
    }
}
