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

    /// Gives the memory of `bytes` back to the system if they are mapped here; whoever reads them
    /// again has them read from the file again.
    pub(crate) fn release(&self, bytes: &[u8]) {
        let Mapping::Mapped(map) = self else { return };
        let start = bytes.as_ptr().addr().checked_sub(map.as_ptr().addr());
        let end = start.and_then(|start| start.checked_add(bytes.len()));
        if let (Some(start), Some(end)) = (start, end)
            && end <= map.len()
        {
            drop_pages(map, start, bytes.len());
        }
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

/// Refused, the pages stay until the system wants them.
#[cfg(unix)]
#[expect(unsafe_code, reason = "no safe call lets pages go")]
fn drop_pages(map: &memmap2::Mmap, start: usize, len: usize) {
    // SAFETY: the mapping is of a file and nothing writes to it, so a page that is dropped comes
    // back with the file's bytes, as it came the first time.
    let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
}

#[cfg(not(unix))]
fn drop_pages(_: &memmap2::Mmap, _: usize, _: usize) {}

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
