//! What can be wrong with a model's files, each with the file, the thing and the remedy.

use std::path::PathBuf;

use echo_core::DType;

use crate::gguf::GgufError;

/// A model that cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The operating system refused.
    #[error("{path}: {source}; check the path and its permissions", path = .path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Neither a GGUF file nor a folder with a `config.json`.
    #[error(
        "{path}: {why}; give a .gguf file or a folder with config.json and *.safetensors",
        path = .path.display()
    )]
    NotAModel {
        /// What was opened.
        path: PathBuf,
        /// Why it is not a model.
        why: String,
    },
    /// No folder of a draft head.
    #[error(
        "{path}: {why}; give the folder of an EAGLE-3 head, with config.json and model.safetensors",
        path = .path.display()
    )]
    NotAHead {
        /// What was opened.
        path: PathBuf,
        /// Why it is none.
        why: String,
    },
    /// A GGUF file that breaks its format.
    #[error("{path}: {source}; download the file again or convert it anew", path = .path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: GgufError,
    },
    /// A safetensors file or its index that breaks its format.
    #[error("{path}: {why}; download the file again", path = .path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file of recorded texts that breaks its format.
    #[error("{path}: {why}; remove the file and harvest again", path = .path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A model family that has no forward here.
    #[error(
        "{path}: architecture `{name}` is not supported; supported are llama and qwen3",
        path = .path.display()
    )]
    Architecture {
        /// The file that names it.
        path: PathBuf,
        /// The name it gives.
        name: String,
    },
    /// A hyper-parameter that is missing, contradicts another, or is out of range.
    #[error("{path}: `{field}` {why}", path = .path.display())]
    Config {
        /// The file that holds it.
        path: PathBuf,
        /// Key in that file.
        field: String,
        /// What is wrong with it, and the remedy.
        why: String,
    },
    /// A tensor the architecture needs is not there.
    #[error(
        "{path}: tensor `{tensor}` is missing; the file is incomplete or of another \
         architecture",
        path = .path.display()
    )]
    MissingTensor {
        /// File or folder.
        path: PathBuf,
        /// Its name there.
        tensor: String,
    },
    /// A tensor the architecture has no place for, so that ignoring it would change the model.
    #[error(
        "{path}: tensor `{tensor}` has no place in this architecture; the model is a variant \
         that is not supported",
        path = .path.display()
    )]
    UnexpectedTensor {
        /// File or folder.
        path: PathBuf,
        /// Its name there.
        tensor: String,
    },
    /// A tensor whose shape contradicts the configuration.
    #[error(
        "{path}: tensor `{tensor}` is {found:?} but the configuration asks for {expected:?} \
         (rows, columns); the files do not belong together",
        path = .path.display()
    )]
    Shape {
        /// File or folder.
        path: PathBuf,
        /// Its name there.
        tensor: String,
        /// As stored.
        found: (usize, usize),
        /// As the configuration has it.
        expected: (usize, usize),
    },
    /// A tensor whose element type cannot be used in its place.
    #[error("{path}: tensor `{tensor}` is {found}; {expected}", path = .path.display())]
    ElementType {
        /// File or folder.
        path: PathBuf,
        /// Its name there.
        tensor: String,
        /// As stored.
        found: DType,
        /// What is wanted there.
        expected: &'static str,
    },
    /// A tokenizer that is missing, of another kind, or contradicts itself.
    #[error("{path}: tokenizer: {why}", path = .path.display())]
    Tokenizer {
        /// File or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A chat template that is missing or does not parse.
    #[error("{path}: chat template: {why}", path = .path.display())]
    Template {
        /// File or folder.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        why: String,
    },
}

impl ModelError {
    pub(crate) fn config(
        path: &std::path::Path,
        field: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        ModelError::Config { path: path.to_owned(), field: field.into(), why: why.into() }
    }
}
