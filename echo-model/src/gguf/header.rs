//! Phase one: from bytes to plain descriptors, with no allocation that a declared number decides.

use std::ops::Range;

use super::cursor::Cursor;
use super::fault::{Fault, GgufError};
use super::value::Kind;

pub(super) const KEYS_MAX: u64 = 65_536;
const METADATA_MAX: usize = 64 << 20;
const KEY_LEN_MAX: u64 = 65_535;
const STRING_MAX: u64 = 1 << 20;

/// Where one metadata entry lies. Positions fit 32 bits because metadata ends below 64 MiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    key: (u32, u32),
    value: (u32, u32),
    /// Element count of an array, 1 otherwise.
    pub(super) n: u32,
    pub(super) kind: Kind,
    /// Element kind of an array, `kind` otherwise.
    pub(super) element: Kind,
}

impl Entry {
    pub(super) fn key_range(&self) -> Range<usize> {
        self.key.0 as usize..self.key.1 as usize
    }

    /// The bytes of the value, or of the elements one after another.
    pub(super) fn value_range(&self) -> Range<usize> {
        self.value.0 as usize..self.value.1 as usize
    }
}

/// The fixed part at the start of the file.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) n_tensors: u64,
    pub(super) n_keys: u64,
}

pub(super) fn header(cursor: &mut Cursor<'_>) -> Result<Header, GgufError> {
    let start = *cursor;
    let magic: [u8; 4] = match cursor.take(4, "the magic") {
        Ok(magic) => magic.try_into().expect("took four bytes"),
        Err(error) => return Err(error),
    };
    if magic != *b"GGUF" {
        return Err(start.fault(Fault::Magic(magic)));
    }
    let start = *cursor;
    let version = cursor.u32("the version")?;
    if version != 0 && version.trailing_zeros() >= 16 {
        return Err(start.fault(Fault::BigEndian));
    }
    if version != 2 && version != 3 {
        return Err(start.fault(Fault::Version(version)));
    }
    let start = *cursor;
    let n_tensors = cursor.u64("the tensor count")?;
    if n_tensors > super::info::TENSORS_MAX {
        return Err(start.fault(Fault::TensorCount(n_tensors)));
    }
    let start = *cursor;
    let n_keys = cursor.u64("the key count")?;
    if n_keys > KEYS_MAX {
        return Err(start.fault(Fault::KeyCount(n_keys)));
    }
    Ok(Header { version, n_tensors, n_keys })
}

/// Walks all entries; every length in them has been compared with the bytes left afterwards.
pub(super) fn entries(
    cursor: &mut Cursor<'_>,
    bytes: &[u8],
    n_keys: u64,
) -> Result<Vec<Entry>, GgufError> {
    let mut entries = Vec::new();
    for _ in 0..n_keys {
        let start = *cursor;
        entries.push(entry(cursor)?);
        if cursor.at() > METADATA_MAX {
            return Err(start.fault(Fault::MetadataSize));
        }
    }
    let key = |entry: &Entry| &bytes[entry.key_range()];
    let mut order: Vec<u32> = (0..entries.len() as u32).collect();
    order.sort_unstable_by_key(|&i| (key(&entries[i as usize]), i));
    for pair in order.windows(2) {
        let (first, second) = (&entries[pair[0] as usize], &entries[pair[1] as usize]);
        if key(first) == key(second) {
            return Err(GgufError {
                at: u64::from(second.key.0),
                fault: Fault::DuplicateKey(lossy(key(second))),
            });
        }
    }
    Ok(entries)
}

fn entry(cursor: &mut Cursor<'_>) -> Result<Entry, GgufError> {
    let start = *cursor;
    let len = cursor.u64("the length of a metadata key")?;
    if len == 0 || len > KEY_LEN_MAX {
        return Err(start.fault(Fault::KeyLength(len)));
    }
    let key_start = cursor.at();
    let key = cursor.take(len, "a metadata key")?;
    let key_end = cursor.at();
    let Ok(key) = std::str::from_utf8(key) else {
        return Err(start.fault(Fault::KeyEncoding));
    };
    let kind = kind(cursor, key)?;
    let (element, n) = if kind == Kind::Array { array_head(cursor, key)? } else { (kind, 1) };
    // A string's value is its content; an array of strings keeps the lengths between them.
    let mut value_start = cursor.at();
    match element.size() {
        Some(size) => {
            let values = *cursor;
            let scalars = cursor.take(size * u64::from(n), "a metadata value")?;
            if element == Kind::Bool
                && let Some(&found) = scalars.iter().find(|&&b| b > 1)
            {
                let key = key.to_owned();
                return Err(values.fault(Fault::Bool { key, found }));
            }
        }
        None => {
            for _ in 0..n {
                let content = string(cursor, key, kind == Kind::String)?;
                if kind == Kind::String {
                    value_start = content;
                }
            }
        }
    }
    let place = |start: usize, end: usize| (start as u32, end as u32);
    Ok(Entry {
        key: place(key_start, key_end),
        value: place(value_start, cursor.at()),
        n,
        kind,
        element,
    })
}

fn kind(cursor: &mut Cursor<'_>, key: &str) -> Result<Kind, GgufError> {
    let start = *cursor;
    let found = cursor.u32("a value type")?;
    Kind::from_id(found).ok_or_else(|| {
        let key = key.to_owned();
        start.fault(Fault::ValueType { key, found })
    })
}

fn array_head(cursor: &mut Cursor<'_>, key: &str) -> Result<(Kind, u32), GgufError> {
    let start = *cursor;
    let element = kind(cursor, key)?;
    if element == Kind::Array {
        return Err(start.fault(Fault::NestedArray(key.to_owned())));
    }
    let start = *cursor;
    let n = cursor.u64("an array length")?;
    // A string takes at least its length field of eight bytes.
    let fits =
        n.checked_mul(element.size().unwrap_or(8)).is_some_and(|bytes| bytes <= cursor.left());
    match u32::try_from(n) {
        Ok(n) if fits => Ok((element, n)),
        _ => {
            let key = key.to_owned();
            Err(start.fault(Fault::ArrayLength { key, n }))
        }
    }
}

/// Walks over a string and returns where its content begins. A string on its own is text; elements
/// of arrays may be any bytes, since some vocabularies hold broken characters.
fn string(cursor: &mut Cursor<'_>, key: &str, is_text: bool) -> Result<usize, GgufError> {
    let start = *cursor;
    let len = cursor.u64("the length of a string")?;
    // Vocabularies, templates and embedded tokenizers may be long; the whole is capped anyway.
    let max = if key.starts_with("tokenizer.") { METADATA_MAX as u64 } else { STRING_MAX };
    if len > max {
        let key = key.to_owned();
        return Err(start.fault(Fault::StringLength { key, len, max }));
    }
    let content = cursor.at();
    let bytes = cursor.take(len, "a string")?;
    if is_text && std::str::from_utf8(bytes).is_err() {
        return Err(start.fault(Fault::StringEncoding(key.to_owned())));
    }
    Ok(content)
}

pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
