//! GGUF files, versions 2 and 3, little endian.
//!
//! Reading has two phases. The first walks the file into plain descriptors with checked arithmetic
//! and compares every declared number with the bytes left before it decides anything; the second
//! hands out views. A file of `n` bytes never costs more than `4 n + 16 MiB` of heap, whatever it
//! declares.
//!
//! Limits: 65536 keys, 65536 tensors, 64 MiB of metadata, flat arrays only, strings of 1 MiB
//! outside `tokenizer.*`, 4 dimensions, alignment a power of two from 8 to 65536. Tensors of
//! element types no kernel reads are refused by name.

mod cursor;
mod fault;
mod header;
mod info;
mod value;

use std::path::Path;

use echo_core::DType;

pub use self::fault::{Fault, GgufError};
pub use self::value::{Array, Value};

use self::cursor::Cursor;
use self::header::Entry;
use self::info::Info;
use self::value::{Kind, scalar};
use crate::error::ModelError;
use crate::mapping::Mapping;

/// An opened and checked GGUF file.
#[derive(Debug)]
pub struct Gguf {
    bytes: Mapping,
    version: u32,
    entries: Vec<Entry>,
    infos: Vec<Info>,
    /// Places in `infos`, sorted by name.
    by_name: Vec<u32>,
    /// Where the data section begins.
    data: usize,
}

/// One tensor of a file, as stored.
#[derive(Clone, Copy, Debug)]
pub struct GgufTensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its element type.
    pub dtype: DType,
    /// One to four sizes, the innermost first (GGUF's order).
    pub dims: &'a [u64],
    /// Its elements.
    pub bytes: &'a [u8],
}

impl Gguf {
    /// Opens the file at `path` and checks all of it but the weights themselves.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::parse(Mapping::open(path)?)
            .map_err(|source| ModelError::Gguf { path: path.to_owned(), source })
    }

    /// Checks a file that is already in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::parse(Mapping::Read(bytes))
    }

    fn parse(bytes: Mapping) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(&bytes, 0);
        let header = header::header(&mut cursor)?;
        let entries = header::entries(&mut cursor, &bytes, header.n_keys)?;
        let alignment = alignment(&entries, &bytes)?;
        let infos = info::infos(&mut cursor, header.n_tensors, alignment)?;
        let data = cursor.at().next_multiple_of(alignment as usize);
        let data_len = (bytes.len() as u64).saturating_sub(data as u64);
        let by_name = info::check_together(&infos, &bytes, data_len)?;
        Ok(Gguf { version: header.version, entries, infos, by_name, data, bytes })
    }

    /// Version of the format, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All metadata in the order of the file.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&str, Value<'_>)> {
        self.entries.iter().map(|entry| (self.key(entry), self.decode(entry)))
    }

    /// The value of `key`, if there is one.
    pub fn value(&self, key: &str) -> Option<Value<'_>> {
        let entry = self.entries.iter().find(|entry| self.key(entry) == key)?;
        Some(self.decode(entry))
    }

    /// The string at `key`; an error if something else is there.
    pub fn string(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a string", |value| match value {
            Value::String(string) => Some(string),
            _ => None,
        })
    }

    /// The non-negative integer at `key`; an error if something else is there.
    pub fn count(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "a non-negative integer", |value| match value {
            Value::Int(int) => u64::try_from(int).ok(),
            _ => None,
        })
    }

    /// The number at `key`; an error if something else is there.
    pub fn number(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.typed(key, "a number", |value| match value {
            Value::Float(float) => Some(float),
            Value::Int(int) => Some(int as f64),
            _ => None,
        })
    }

    /// The boolean at `key`; an error if something else is there.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a boolean", |value| match value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })
    }

    /// The array at `key`; an error if something else is there.
    pub fn array(&self, key: &str) -> Result<Option<Array<'_>>, GgufError> {
        self.typed(key, "an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    /// All tensors in the order of the file.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = GgufTensor<'_>> {
        self.infos.iter().map(|info| self.view(info))
    }

    /// The tensor called `name`, if there is one.
    pub fn tensor(&self, name: &str) -> Option<GgufTensor<'_>> {
        let named = |&i: &u32| &self.bytes[self.infos[i as usize].name_range()];
        let found = self.by_name.binary_search_by(|i| named(i).cmp(name.as_bytes()));
        found.ok().map(|at| self.view(&self.infos[self.by_name[at] as usize]))
    }

    /// Gives the memory of a tensor's `bytes` back to the system.
    pub(crate) fn release(&self, bytes: &[u8]) {
        self.bytes.release(bytes);
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        take: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(entry) = self.entries.iter().find(|entry| self.key(entry) == key) else {
            return Ok(None);
        };
        let value = self.decode(entry);
        let taken = take(value).ok_or_else(|| GgufError {
            at: entry.value_range().start as u64,
            fault: Fault::Kind { key: key.to_owned(), found: value.name(), wanted },
        })?;
        Ok(Some(taken))
    }

    fn key(&self, entry: &Entry) -> &str {
        text(&self.bytes[entry.key_range()])
    }

    fn decode(&self, entry: &Entry) -> Value<'_> {
        let bytes = &self.bytes[entry.value_range()];
        match entry.kind {
            Kind::String => Value::String(text(bytes)),
            Kind::Array => Value::Array(Array { kind: entry.element, n: entry.n as usize, bytes }),
            kind => scalar(kind, bytes),
        }
    }

    fn view<'a>(&'a self, info: &'a Info) -> GgufTensor<'a> {
        let start = self.data + info.offset as usize;
        GgufTensor {
            name: text(&self.bytes[info.name_range()]),
            dtype: info.dtype,
            dims: &info.dims[..info.n_dims as usize],
            bytes: &self.bytes[start..start + info.bytes as usize],
        }
    }
}

/// Bytes the parser has found to be UTF-8. A mapped file can change afterwards, so this is checked
/// again instead of assumed; changed text reads as empty.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn alignment(entries: &[Entry], bytes: &[u8]) -> Result<u32, GgufError> {
    let key = "general.alignment".as_bytes();
    let Some(entry) = entries.iter().find(|e| &bytes[e.key_range()] == key) else {
        return Ok(32);
    };
    let range = entry.value_range();
    let at = range.start as u64;
    if entry.kind != Kind::U32 {
        let fault = Fault::AlignmentType;
        return Err(GgufError { at, fault });
    }
    let Value::Int(found) = scalar(Kind::U32, &bytes[range]) else {
        unreachable!("a u32 decodes to an integer");
    };
    let found = found as u32;
    if !found.is_power_of_two() || !(8..=65_536).contains(&found) {
        let fault = Fault::Alignment(found);
        return Err(GgufError { at, fault });
    }
    Ok(found)
}
