//! The bytes of a file, mapped or read.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

use crate::error::ModelError;

/// Files up to this size are read into memory: nothing can then change under the reader.
const READ_MAX: u64 = 1 << 20;

/// An immutable file. Larger ones are mapped; a model's folder must therefore be treated as
/// read-only while the model is in use, because the system ends a process that reads a mapped page
/// of a file somebody has cut short.
#[derive(Debug)]
pub(crate) enum Mapping {
    Read(Vec<u8>),
    Static(&'static [u8]),
    Mapped(memmap2::Mmap),
}

impl Mapping {
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let io = |source| ModelError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            return Err(ModelError::NotAModel {
                path: path.to_owned(),
                why: "is not a regular file".into(),
            });
        }
        if meta.len() <= READ_MAX {
            let mut bytes = Vec::with_capacity(meta.len() as usize);
            // One byte more than stated tells a file that grew; whatever was read is then parsed
            // as what it is.
            file.by_ref().take(READ_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
            return Ok(Mapping::Read(bytes));
        }
        map(&file).map(Mapping::Mapped).map_err(io)
    }
}

#[expect(unsafe_code, reason = "a mapping is the only way to load gigabytes without a copy")]
fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the mapping is private and read-only, and every byte pattern is a valid `u8`. What
    // remains is another process changing the file: a change can yield wrong weights but no
    // invalid value, since every number read from the file is used only after it was checked
    // against the mapping's own length; a truncation raises SIGBUS, which ends the process and
    // reads nothing that is not ours. Users are told to treat model folders as read-only.
    unsafe { memmap2::Mmap::map(file) }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Mapping::Read(bytes) => bytes,
            Mapping::Static(bytes) => bytes,
            Mapping::Mapped(map) => map,
        }
    }
}
