//! A metadata value, borrowed from the file.

use super::cursor::Cursor;

/// The value types GGUF defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    pub(super) fn from_id(id: u32) -> Option<Self> {
        use Kind::{Array, Bool, F32, F64, I8, I16, I32, I64, String, U8, U16, U32, U64};
        let kinds = [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        kinds.get(id as usize).copied()
    }

    /// Bytes of one value; `None` where the value itself says.
    pub(super) fn size(self) -> Option<u64> {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => Some(1),
            Kind::U16 | Kind::I16 => Some(2),
            Kind::U32 | Kind::I32 | Kind::F32 => Some(4),
            Kind::U64 | Kind::I64 | Kind::F64 => Some(8),
            Kind::String | Kind::Array => None,
        }
    }
}

/// One value. Integers of all widths are widened; `-1` keeps its sign in [`Value::Int`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Any integer type; every GGUF integer fits.
    Int(i128),
    /// F32 or F64.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    String(&'a str),
    /// A flat array.
    Array(Array<'a>),
}

impl Value<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Value::Int(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Bool(_) => "a boolean",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
        }
    }
}

/// A flat array as it lies in the file: nothing is copied, elements are read on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array<'a> {
    pub(super) kind: Kind,
    pub(super) n: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Array<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The elements as byte strings; `None` if this is not an array of strings.
    pub fn strings(&self) -> Option<impl ExactSizeIterator<Item = &'a [u8]> + use<'a>> {
        let mut cursor = Cursor::new(self.bytes, 0);
        (self.kind == Kind::String).then(|| {
            // The parser has walked these lengths; the empty string is never reached.
            (0..self.n).map(move |_| {
                let len = cursor.u64("a string").unwrap_or(0);
                cursor.take(len, "a string").unwrap_or_default()
            })
        })
    }

    /// The elements as integers; `None` if this is not an array of integers.
    pub fn ints(&self) -> Option<impl ExactSizeIterator<Item = i128> + use<'a>> {
        let array = *self;
        let size = self.kind.size()? as usize;
        let is_int = !matches!(self.kind, Kind::F32 | Kind::F64 | Kind::Bool);
        is_int.then(|| {
            (0..array.n).map(move |i| {
                match scalar(array.kind, &array.bytes[i * size..(i + 1) * size]) {
                    Value::Int(int) => int,
                    _ => unreachable!("integer kinds decode to integers"),
                }
            })
        })
    }
}

/// Decodes a scalar of `kind`; `bytes` has exactly its size.
pub(super) fn scalar(kind: Kind, bytes: &[u8]) -> Value<'_> {
    let mut wide = [0u8; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let n = u64::from_le_bytes(wide);
    match kind {
        Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => Value::Int(i128::from(n)),
        Kind::I8 => Value::Int(i128::from(n as u8 as i8)),
        Kind::I16 => Value::Int(i128::from(n as u16 as i16)),
        Kind::I32 => Value::Int(i128::from(n as u32 as i32)),
        Kind::I64 => Value::Int(i128::from(n as i64)),
        Kind::F32 => Value::Float(f64::from(f32::from_bits(n as u32))),
        Kind::F64 => Value::Float(f64::from_bits(n)),
        Kind::Bool => Value::Bool(n == 1),
        Kind::String | Kind::Array => unreachable!("not a scalar"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_survive_widening() {
        assert_eq!(scalar(Kind::I8, &[0xff]), Value::Int(-1));
        assert_eq!(scalar(Kind::U8, &[0xff]), Value::Int(255));
        assert_eq!(scalar(Kind::I32, &(-7i32).to_le_bytes()), Value::Int(-7));
        assert_eq!(scalar(Kind::U64, &[0xff; 8]), Value::Int(u64::MAX.into()));
        assert_eq!(scalar(Kind::F32, &1.5f32.to_le_bytes()), Value::Float(1.5));
    }

    #[test]
    fn ids_are_those_of_the_format() {
        assert_eq!(Kind::from_id(8), Some(Kind::String));
        assert_eq!(Kind::from_id(9), Some(Kind::Array));
        assert_eq!(Kind::from_id(12), Some(Kind::F64));
        assert_eq!(Kind::from_id(13), None);
    }
}
