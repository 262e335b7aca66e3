//! Texts with hidden states, in memory and in a file.

use crate::error::ModelError;
use crate::mapping::Mapping;
use echo_core::Token;
use half::f16;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A text and the target's hidden states beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Prompt and answer.
    pub tokens: Vec<Token>,
    /// The tapped layers of each forwarded token, `[rows, taps.width]`; `rows` is one less than the
    /// tokens when the last token ended the text.
    pub hidden: Vec<f16>,
}

impl Recording {
    /// Rows of hidden states that are `width` wide.
    pub fn rows(&self, width: usize) -> usize {
        self.hidden.len() / width
    }
}

/// Writes recordings as one safetensors file: `tokens` I32 and `hidden` F16 `[rows, width]`, text
/// after text, and `starts` I32 `[texts + 1]`, the first row of each. Tokens without hidden states
/// are left out.
///
/// The file appears under its name when it is complete.
pub fn write_recordings(
    path: &Path,
    recordings: &[Recording],
    width: usize,
    about: &[(&str, String)],
) -> Result<(), SafeTensorError> {
    let (mut tokens, mut hidden, mut starts) = (Vec::new(), Vec::new(), vec![0_i32]);
    for recording in recordings {
        let rows = recording.rows(width).min(recording.tokens.len());
        tokens.extend(recording.tokens[..rows].iter().map(|&t| t as i32));
        hidden.extend_from_slice(&recording.hidden[..rows * width]);
        starts.push(tokens.len() as i32);
    }
    let bytes = |numbers| bytemuck::cast_slice::<i32, u8>(numbers);
    let halves = bytemuck::cast_slice::<f16, u8>(&hidden);
    let views = [
        ("tokens", TensorView::new(Dtype::I32, vec![tokens.len()], bytes(&tokens))?),
        ("hidden", TensorView::new(Dtype::F16, vec![tokens.len(), width], halves)?),
        ("starts", TensorView::new(Dtype::I32, vec![starts.len()], bytes(&starts))?),
    ];
    let about: HashMap<String, String> =
        about.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let unfinished = path.with_extension("part");
    safetensors::serialize_to_file(views, Some(about), &unfinished)?;
    Ok(std::fs::rename(&unfinished, path)?)
}

/// What a file of recordings says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Tokens with hidden states.
    pub rows: usize,
    /// What was written beside them.
    pub about: BTreeMap<String, String>,
}

/// Reads the header of a file that [`write_recordings`] wrote.
pub fn recordings_in(path: &Path) -> Result<Recorded, ModelError> {
    let mapping = Mapping::open(path)?;
    let fault = |why: String| ModelError::Recording { path: path.to_owned(), why };
    let header = SafeTensors::read_metadata(&mapping);
    let (_, metadata) = header.map_err(|error| fault(error.to_string()))?;
    let tokens = metadata.info("tokens").ok_or_else(|| fault("it has no tokens".into()))?;
    let rows = tokens.shape.iter().product();
    let about = metadata.metadata().clone().unwrap_or_default();
    Ok(Recorded { rows, about: about.into_iter().collect() })
}
