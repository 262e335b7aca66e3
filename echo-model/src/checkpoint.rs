//! A model's weights and configuration, whatever format they come in.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use echo_core::DType;

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::folder::Folder;
use crate::gguf::Gguf;
use crate::role::Role;
use crate::tensor::{Tensor, deinterleave};

/// An opened model: every tensor its architecture needs is there, in the shape its configuration
/// states, and there is none that would go unused.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    source: Source,
    config: ModelConfig,
}

#[derive(Debug)]
pub(crate) enum Source {
    Gguf(Gguf),
    Folder(Folder),
}

/// A tensor before its row order is settled.
struct Stored<'a> {
    name: Cow<'a, str>,
    dtype: DType,
    rows: usize,
    cols: usize,
    bytes: &'a [u8],
}

impl Checkpoint {
    /// Opens a `.gguf` file or a folder of safetensors and checks it whole.
    ///
    /// Files above 1 MiB are mapped, not read: they must not be changed while the checkpoint lives.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let (source, config) = if path.is_dir() {
            let folder = Folder::open(path)?;
            let config = ModelConfig::from_json(&path.join("config.json"), folder.config_json())?;
            (Source::Folder(folder), config)
        } else {
            let gguf = Gguf::open(path)?;
            let config = ModelConfig::from_gguf(path, &gguf)?;
            (Source::Gguf(gguf), config)
        };
        let checkpoint = Checkpoint { path: path.to_owned(), source, config };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// Its hyper-parameters.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The tensor with this role. q and k come in half-rotated order: column `i` of a head is
    /// rotated with column `i + head_dim / 2`. An error for layers beyond the last and for head
    /// norms the family does not have.
    pub fn tensor(&self, role: Role) -> Result<Tensor<'_>, ModelError> {
        let own = self.own(role);
        let stored = self.stored(own)?;
        let bytes = match (&self.source, own.interleaved_heads(&self.config)) {
            (Source::Gguf(_), Some(n_heads)) => {
                Cow::Owned(deinterleave(stored.bytes, n_heads, self.config.head_dim))
            }
            _ => Cow::Borrowed(stored.bytes),
        };
        Ok(Tensor {
            name: stored.name,
            dtype: stored.dtype,
            rows: stored.rows,
            cols: stored.cols,
            bytes,
        })
    }

    /// The elements of a norm's weights as F32.
    pub fn vector(&self, role: Role) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(role)?;
        tensor.to_f32().ok_or_else(|| ModelError::ElementType {
            path: self.path.clone(),
            tensor: tensor.name.clone().into_owned(),
            found: tensor.dtype,
            expected: "vectors must be F32, F16 or BF16",
        })
    }

    /// Gives the memory in which the tensor with this role was read back to the system, as far as
    /// it is mapped. The tensor can still be asked for and is then read from the file again.
    pub fn release(&self, role: Role) {
        let Ok(stored) = self.stored(self.own(role)) else { return };
        match &self.source {
            Source::Gguf(gguf) => gguf.release(stored.bytes),
            Source::Folder(folder) => folder.release(stored.bytes),
        }
    }

    /// Bytes of all tensors as stored.
    pub fn bytes(&self) -> usize {
        let stored = |role: Role| self.stored(role).map_or(0, |stored| stored.bytes.len());
        Role::all(&self.config).into_iter().map(stored).sum()
    }

    /// The role under which a tensor is stored.
    fn own(&self, role: Role) -> Role {
        if role == Role::Output && self.config.tied { Role::Embedding } else { role }
    }

    fn name(&self, role: Role) -> String {
        match &self.source {
            Source::Gguf(_) => role.gguf_name(),
            Source::Folder(_) => role.folder_name(),
        }
    }

    /// Looks a tensor up under the name its format gives it, and checks its shape.
    fn stored(&self, role: Role) -> Result<Stored<'_>, ModelError> {
        let name = self.name(role);
        let stored = match &self.source {
            Source::Gguf(gguf) => gguf.tensor(&name).map(|tensor| Stored {
                name: Cow::Borrowed(tensor.name),
                dtype: tensor.dtype,
                rows: tensor.dims[1..].iter().product::<u64>() as usize,
                cols: tensor.dims[0] as usize,
                bytes: tensor.bytes,
            }),
            Source::Folder(folder) => folder.tensor(&name)?.map(|tensor| {
                let (cols, rows) = tensor.shape.split_last().map_or((1, &[][..]), |(c, r)| (*c, r));
                Stored {
                    name: Cow::Owned(name.clone()),
                    dtype: tensor.dtype,
                    rows: rows.iter().product(),
                    cols,
                    bytes: tensor.bytes,
                }
            }),
        };
        let Some(stored) = stored else {
            return Err(ModelError::MissingTensor { path: self.path.clone(), tensor: name });
        };
        let expected = role.shape(&self.config);
        let found = (stored.rows, stored.cols);
        if found != expected {
            return Err(ModelError::Shape {
                path: self.path.clone(),
                tensor: name,
                found,
                expected,
            });
        }
        Ok(stored)
    }

    fn check(&self) -> Result<(), ModelError> {
        // Compared before any list of roles is made: a configuration may declare more layers than
        // the file has tensors.
        let n_tensors = match &self.source {
            Source::Gguf(gguf) => gguf.tensors().len(),
            Source::Folder(folder) => folder.names().len(),
        };
        if self.config.n_layers > n_tensors {
            self.stored(Role::AttnNorm(self.config.n_layers - 1))?;
        }
        let roles = Role::all(&self.config);
        for &role in &roles {
            let stored = self.stored(role)?;
            let is_float = matches!(stored.dtype, DType::F32 | DType::F16 | DType::BF16);
            if role.is_norm() && !is_float {
                return Err(ModelError::ElementType {
                    path: self.path.clone(),
                    tensor: stored.name.into_owned(),
                    found: stored.dtype,
                    expected: "norm weights must be F32, F16 or BF16",
                });
            }
        }
        self.check_nothing_else(&roles)
    }

    /// A tensor without a role is a bias or a variant: leaving it out would be another model.
    fn check_nothing_else(&self, roles: &[Role]) -> Result<(), ModelError> {
        let known: HashSet<String> = roles.iter().map(|&role| self.name(role)).collect();
        let extra = match &self.source {
            Source::Gguf(gguf) => gguf
                .tensors()
                .map(|tensor| tensor.name)
                .find(|&name| !known.contains(name) && name != "rope_freqs.weight"),
            // A tied head is sometimes stored again, and old files hold rotary frequencies.
            Source::Folder(folder) => folder
                .names()
                .filter(|&name| !(self.config.tied && name == Role::Output.folder_name()))
                .filter(|name| !name.ends_with("rotary_emb.inv_freq"))
                .find(|&name| !known.contains(name)),
        };
        match extra {
            Some(name) => Err(ModelError::UnexpectedTensor {
                path: self.path.clone(),
                tensor: name.to_owned(),
            }),
            None => Ok(()),
        }
    }
}
