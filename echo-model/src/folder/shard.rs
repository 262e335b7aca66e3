//! One safetensors file.

use std::path::{Path, PathBuf};

use echo_core::DType;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};

use super::FolderTensor;
use crate::error::ModelError;
use crate::mapping::Mapping;

/// Longest header read, in bytes: while it is parsed, a hostile one costs 25 times as much memory.
/// The headers of published models of the supported families have up to 100 KB.
const HEADER_MAX: u64 = 512 << 10;

/// A mapped file and its parsed header.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    name: String,
    bytes: Mapping,
    /// Where the data section begins.
    data: usize,
    metadata: Metadata,
}

impl Shard {
    pub(super) fn open(folder: &Path, name: &str) -> Result<Self, ModelError> {
        let path = folder.join(name);
        let bytes = Mapping::open(&path)?;
        Self::new(path, name, bytes)
    }

    /// A file whose bytes are at hand; `path` is for messages.
    pub(super) fn new(path: PathBuf, name: &str, bytes: Mapping) -> Result<Self, ModelError> {
        let fault = |why| ModelError::Safetensors { path: path.clone(), why };
        let declared = bytes.first_chunk().map(|len| u64::from_le_bytes(*len));
        if let Some(declared) = declared.filter(|&len| len > HEADER_MAX) {
            let why = format!("header of {declared} bytes; at most {HEADER_MAX} are accepted");
            return Err(fault(why));
        }
        // The crate checks that tensors are contiguous, do not overlap and fill the file.
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| fault(error.to_string()))?;
        Ok(Shard { name: name.to_owned(), data: header + 8, path, bytes, metadata })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// The tensor called `name`, which must be one of [`names`](Self::names).
    pub(super) fn tensor(&self, name: &str) -> Result<FolderTensor<'_>, ModelError> {
        let (info, bytes) = self.stored(name)?;
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                return Err(self.fault(format!(
                    "tensor `{name}` has element type {other:?}; supported are F32, F16 and BF16"
                )));
            }
        };
        Ok(FolderTensor { dtype, shape: &info.shape, bytes })
    }

    /// The integers of the tensor called `name`, which must be one of [`names`](Self::names).
    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>, ModelError> {
        let (info, bytes) = self.stored(name)?;
        if info.dtype != Dtype::I64 {
            let why = format!("tensor `{name}` has element type {:?}, not I64", info.dtype);
            return Err(self.fault(why));
        }
        let (numbers, _) = bytes.as_chunks::<8>();
        Ok(numbers.iter().map(|&number| i64::from_le_bytes(number)).collect())
    }

    /// Gives the memory of `bytes` back to the system if they are part of this file.
    pub(super) fn release(&self, bytes: &[u8]) {
        self.bytes.release(bytes);
    }

    fn stored(&self, name: &str) -> Result<(&TensorInfo, &[u8]), ModelError> {
        let info = self.metadata.info(name);
        let info =
            info.ok_or_else(|| self.fault(format!("tensor `{name}` is not in the header")))?;
        let (from, to) = info.data_offsets;
        let bytes = self.bytes.get(self.data + from..self.data + to);
        let beyond = || self.fault(format!("tensor `{name}` ends beyond the file"));
        Ok((info, bytes.ok_or_else(beyond)?))
    }

    fn fault(&self, why: String) -> ModelError {
        ModelError::Safetensors { path: self.path.clone(), why }
    }
}
