//! A summary of a model's files, for people and for JSON.

use std::collections::BTreeMap;
use std::path::Path;

use crate::checkpoint::{Checkpoint, Source};
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::gguf::Value;
use crate::role::Role;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// Longest value shown, in characters.
const SHOWN_MAX: usize = 80;

/// What [`describe`] finds.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Description {
    /// `GGUF v3`, or `safetensors`.
    pub format: String,
    /// Hyper-parameters.
    pub config: ModelConfig,
    /// Key and shortened value, in the order of the file.
    pub metadata: Vec<(String, String)>,
    /// By element type.
    pub tensors: BTreeMap<String, TensorGroup>,
    /// Number of weights, tied ones counted once.
    pub n_parameters: u64,
    /// Kind of the tokenizer, or why it cannot be used.
    pub tokenizer: Result<String, String>,
    /// Whether there is a chat template that parses, or why it cannot be used.
    pub chat_template: Result<bool, String>,
}

/// All tensors of one element type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct TensorGroup {
    /// Their number.
    pub n_tensors: usize,
    /// Their size together.
    pub bytes: u64,
}

/// Opens the model at `path` and says what it is. A tokenizer or template that cannot be used is
/// part of the answer; weights that cannot are an error.
pub fn describe(path: &Path) -> Result<Description, ModelError> {
    let checkpoint = Checkpoint::open(path)?;
    let config = checkpoint.config().clone();
    let (mut tensors, mut n_parameters) = (BTreeMap::<String, TensorGroup>::new(), 0);
    for role in Role::all(&config) {
        let tensor = checkpoint.tensor(role)?;
        let group = tensors.entry(tensor.dtype.to_string()).or_default();
        group.n_tensors += 1;
        group.bytes += tensor.bytes.len() as u64;
        n_parameters += tensor.rows as u64 * tensor.cols as u64;
    }
    let tokenizer = Tokenizer::open(&checkpoint);
    let chat_template = match (&tokenizer, ChatTemplate::source_of(&checkpoint)?) {
        (_, None) => Ok(false),
        (Err(_), Some(_)) => Err("it needs a tokenizer".into()),
        (Ok(tokenizer), Some(_)) => match ChatTemplate::open(&checkpoint, tokenizer) {
            Ok(_) => Ok(true),
            Err(error) => Err(error.to_string()),
        },
    };
    let (format, metadata) = match checkpoint.source() {
        Source::Gguf(gguf) => {
            let shown = gguf.metadata().map(|(key, value)| (key.to_owned(), show(&value)));
            (format!("GGUF v{}", gguf.version()), shown.collect())
        }
        Source::Folder(folder) => {
            let fields = folder.config_json().as_object().into_iter().flatten();
            let shown = fields.map(|(key, value)| (key.clone(), shorten(&value.to_string())));
            ("safetensors".to_owned(), shown.collect())
        }
    };
    Ok(Description {
        format,
        config,
        metadata,
        tensors,
        n_parameters,
        tokenizer: tokenizer.map(|t| t.kind().to_owned()).map_err(|error| error.to_string()),
        chat_template,
    })
}

fn show(value: &Value<'_>) -> String {
    match value {
        Value::Int(int) => int.to_string(),
        Value::Float(float) => float.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::String(string) => shorten(string),
        Value::Array(array) => format!("[{} elements]", array.len()),
    }
}

/// The beginning of `text` on one line.
fn shorten(text: &str) -> String {
    let line = |c: char| if c.is_control() { ' ' } else { c };
    let mut shown: String = text.chars().take(SHOWN_MAX).map(line).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_and_kept_on_one_line() {
        assert_eq!(shorten("a\nb"), "a b");
        assert_eq!(shorten(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(shorten(&"é".repeat(81)), "é".repeat(80) + "…");
    }
}
