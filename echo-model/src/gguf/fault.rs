//! What can be wrong with a GGUF file, one variant per kind.

/// A GGUF file that breaks its format, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {fault}")]
pub struct GgufError {
    /// Offset in the file of the thing at fault.
    pub at: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The kinds of malformation.
#[allow(missing_docs, reason = "each variant's message says what it means")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("not a GGUF file: it begins with {0:02x?}")]
    Magic([u8; 4]),
    #[error("GGUF version {0} is not supported; supported are 2 and 3")]
    Version(u32),
    #[error("a big-endian GGUF file; only little-endian ones are supported")]
    BigEndian,
    #[error("the file ends within {what}: {needed} bytes needed, {left} left")]
    Truncated { what: &'static str, needed: u64, left: u64 },
    #[error("{0} metadata keys declared; at most 65536 are accepted")]
    KeyCount(u64),
    #[error("{0} tensors declared; at most 65536 are accepted")]
    TensorCount(u64),
    #[error("the metadata is larger than 64 MiB")]
    MetadataSize,
    #[error("a metadata key of {0} bytes; keys have 1 to 65535")]
    KeyLength(u64),
    #[error("a metadata key is not UTF-8")]
    KeyEncoding,
    #[error("metadata key `{0}` occurs twice")]
    DuplicateKey(String),
    #[error("`{key}` has value type {found}, which GGUF does not define")]
    ValueType { key: String, found: u32 },
    #[error("`{0}` is an array of arrays; only flat arrays are accepted")]
    NestedArray(String),
    #[error("`{key}` declares {n} elements, more than the file has room for")]
    ArrayLength { key: String, n: u64 },
    #[error("`{key}` is a string of {len} bytes; the limit there is {max}")]
    StringLength { key: String, len: u64, max: u64 },
    #[error("`{0}` holds a string that is not UTF-8")]
    StringEncoding(String),
    #[error("`{key}` holds a boolean {found}; only 0 and 1 are booleans")]
    Bool { key: String, found: u8 },
    #[error("`general.alignment` is not a u32")]
    AlignmentType,
    #[error("`general.alignment` is {0}; it must be a power of two from 8 to 65536")]
    Alignment(u32),
    #[error("a tensor name of {0} bytes; names have 1 to 255")]
    NameLength(u64),
    #[error("a tensor name is not UTF-8")]
    NameEncoding,
    #[error("tensor `{0}` occurs twice")]
    DuplicateTensor(String),
    #[error("tensor `{tensor}` has {n} dimensions; 1 to 4 are accepted")]
    Dimensions { tensor: String, n: u32 },
    #[error("tensor `{0}` has a dimension of 0")]
    ZeroDimension(String),
    #[error("the size of tensor `{0}` overflows 64 bits")]
    SizeOverflow(String),
    #[error(
        "tensor `{tensor}` has element type {found}, which is not supported; supported \
         are F32, F16, BF16, Q4_0, Q4_1, Q8_0, Q4_K and Q6_K"
    )]
    ElementType { tensor: String, found: String },
    #[error("tensor `{tensor}`: rows of {cols} weights are not whole blocks of {block}")]
    PartialBlock { tensor: String, cols: u64, block: u64 },
    #[error("tensor `{tensor}` begins at {offset}, which is not a multiple of {alignment}")]
    Misaligned { tensor: String, offset: u64, alignment: u32 },
    #[error(
        "tensor `{tensor}` of {bytes} bytes at offset {offset} ends beyond the data section of \
         {data}"
    )]
    BeyondEnd { tensor: String, offset: u64, bytes: u64, data: u64 },
    #[error("tensors `{0}` and `{1}` overlap")]
    Overlap(String, String),
    #[error("`{key}` is {found}, not {wanted}")]
    Kind { key: String, found: &'static str, wanted: &'static str },
    #[error("`{0}` is missing")]
    MissingKey(String),
}
