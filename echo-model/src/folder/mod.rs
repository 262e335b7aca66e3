//! A folder as the Hugging Face hub lays it out: `config.json` and safetensors, whole or in shards.

mod shard;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use echo_core::DType;
use serde_json::Value;

use self::shard::Shard;
use crate::error::ModelError;
use crate::mapping::Mapping;

/// Largest JSON file read, in bytes. Tokenizers of large vocabularies have some 17 MB.
const JSON_MAX: u64 = 64 << 20;
const SHARDS_MAX: usize = 1024;

/// An opened folder: its configuration and where each tensor lies.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    config: Value,
    shards: Vec<Shard>,
    /// Shard of each tensor.
    tensors: BTreeMap<String, u32>,
}

/// One tensor of a folder, as stored.
#[derive(Clone, Copy, Debug)]
pub struct FolderTensor<'a> {
    /// Its element type.
    pub dtype: DType,
    /// Its sizes, the outermost first (safetensors' order).
    pub shape: &'a [usize],
    /// Its elements.
    pub bytes: &'a [u8],
}

impl Folder {
    /// Opens the folder at `path`: `model.safetensors`, or the shards its index names.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let mut folder = Folder {
            path: path.to_owned(),
            config: Value::Null,
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        };
        folder.config = folder.json("config.json")?.ok_or_else(|| ModelError::NotAModel {
            path: path.to_owned(),
            why: "has no config.json".into(),
        })?;
        if path.join("model.safetensors").is_file() {
            folder.add_shard("model.safetensors")?;
        } else {
            folder.add_indexed()?;
        }
        Ok(folder)
    }

    /// A folder of `config.json` and `model.safetensors` that the program carries; `name` is for
    /// messages.
    pub fn built_in(name: &str, config: &str, tensors: &'static [u8]) -> Result<Self, ModelError> {
        let path = PathBuf::from(name);
        let config = serde_json::from_str(config).map_err(|error| ModelError::NotAModel {
            path: path.join("config.json"),
            why: format!("is not valid JSON: {error}"),
        })?;
        let mut folder =
            Folder { path: path.clone(), config, shards: Vec::new(), tensors: BTreeMap::new() };
        let file = "model.safetensors";
        folder.add(Shard::new(path.join(file), file, Mapping::Static(tensors))?)?;
        Ok(folder)
    }

    /// The parsed `config.json`.
    pub fn config_json(&self) -> &Value {
        &self.config
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The JSON file `name` of this folder, if there is one.
    pub fn json(&self, name: &str) -> Result<Option<Value>, ModelError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|error| ModelError::NotAModel {
            path: self.path.join(name),
            why: format!("is not valid JSON: {error}"),
        })
    }

    /// The text file `name` of this folder, if there is one.
    pub fn text(&self, name: &str) -> Result<Option<String>, ModelError> {
        let path = self.path.join(name);
        let io = |source| ModelError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(io)?,
        };
        let mut text = String::new();
        file.take(JSON_MAX + 1).read_to_string(&mut text).map_err(io)?;
        if text.len() as u64 > JSON_MAX {
            let why = format!("is larger than {JSON_MAX} bytes");
            return Err(ModelError::NotAModel { path, why });
        }
        Ok(Some(text))
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor called `name`, if there is one; an error if its element type is not supported.
    pub fn tensor(&self, name: &str) -> Result<Option<FolderTensor<'_>>, ModelError> {
        match self.tensors.get(name) {
            Some(&shard) => self.shards[shard as usize].tensor(name).map(Some),
            None => Ok(None),
        }
    }

    /// The 64-bit integers of the tensor called `name`, if there is one.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, ModelError> {
        match self.tensors.get(name) {
            Some(&shard) => self.shards[shard as usize].integers(name).map(Some),
            None => Ok(None),
        }
    }

    /// Gives the memory of a tensor's `bytes` back to the system.
    pub(crate) fn release(&self, bytes: &[u8]) {
        for shard in &self.shards {
            shard.release(bytes);
        }
    }

    fn add_indexed(&mut self) -> Result<(), ModelError> {
        let name = "model.safetensors.index.json";
        let index = self.json(name)?.ok_or_else(|| ModelError::NotAModel {
            path: self.path.clone(),
            why: format!("has neither model.safetensors nor {name}"),
        })?;
        let fault = |why| ModelError::Safetensors { path: self.path.join(name), why };
        let map = index["weight_map"].as_object();
        let map = map.ok_or_else(|| fault("`weight_map` is missing".into()))?;
        let mut files: Vec<&str> = Vec::new();
        for (tensor, file) in map {
            let file = file.as_str().filter(|file| is_plain_name(file)).ok_or_else(|| {
                fault(format!(
                    "tensor `{tensor}` lies in {file}, which is no name of a .safetensors file"
                ))
            })?;
            files.push(file);
        }
        files.sort_unstable();
        files.dedup();
        if files.is_empty() || files.len() > SHARDS_MAX {
            return Err(fault(format!(
                "names {} files; 1 to {SHARDS_MAX} are accepted",
                files.len()
            )));
        }
        for file in files {
            self.add_shard(file)?;
        }
        for (tensor, file) in map {
            let found = self.tensors.get(tensor).map(|&shard| self.shards[shard as usize].name());
            if found != file.as_str() {
                return Err(ModelError::Safetensors {
                    path: self.path.join(name),
                    why: format!("tensor `{tensor}` should lie in {file} but does not"),
                });
            }
        }
        Ok(())
    }

    fn add_shard(&mut self, name: &str) -> Result<(), ModelError> {
        self.add(Shard::open(&self.path, name)?)
    }

    fn add(&mut self, shard: Shard) -> Result<(), ModelError> {
        let place = self.shards.len() as u32;
        for tensor in shard.names() {
            if let Some(other) = self.tensors.insert(tensor.clone(), place) {
                let other = self.shards[other as usize].name();
                return Err(ModelError::Safetensors {
                    path: self.path.join(shard.name()),
                    why: format!("tensor `{tensor}` lies in {other} too"),
                });
            }
        }
        self.shards.push(shard);
        Ok(())
    }
}

/// Whether `name` is a file of the folder itself: an index must not lead anywhere else.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let one = matches!(components.next(), Some(Component::Normal(_)));
    one && components.next().is_none()
        && !name.contains(['/', '\\', ':', '\0'])
        && name.strip_suffix(".safetensors").is_some_and(|stem| !stem.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_cannot_leave_its_folder() {
        assert!(is_plain_name("model-00001-of-00002.safetensors"));
        for name in [
            "../model.safetensors",
            "/etc/model.safetensors",
            "a/model.safetensors",
            "a\\model.safetensors",
            "c:model.safetensors",
            "..",
            "",
            ".safetensors",
            "model.bin",
        ] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
