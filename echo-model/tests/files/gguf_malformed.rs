//! Files broken by hand, one kind at a time: each gives its own error, at the right place.

use echo_model::gguf::{Fault, Gguf, GgufError};

use crate::gguf_writer::{GgufWriter, array, flag, string, strings, tiny_llama, u32};

struct Case {
    kind: &'static str,
    bytes: Vec<u8>,
    expected: fn(&Fault) -> bool,
}

fn case(kind: &'static str, file: &GgufWriter, expected: fn(&Fault) -> bool) -> Case {
    Case { kind, bytes: file.bytes(), expected }
}

fn cut(kind: &'static str, len: usize, expected: fn(&Fault) -> bool) -> Case {
    Case { kind, bytes: tiny_llama().bytes()[..len].to_vec(), expected }
}

fn header_cases() -> Vec<Case> {
    let file = tiny_llama;
    let is_truncated = |fault: &Fault| matches!(fault, Fault::Truncated { .. });
    vec![
        cut("empty file", 0, is_truncated),
        cut("half a magic", 2, is_truncated),
        cut("no counts", 12, is_truncated),
        case("another magic", &file().with(|f| f.magic = *b"GGML"), |f| {
            *f == Fault::Magic(*b"GGML")
        }),
        case("version 1", &file().with(|f| f.version = 1), |f| *f == Fault::Version(1)),
        case("version 0", &file().with(|f| f.version = 0), |f| *f == Fault::Version(0)),
        case("version 4", &file().with(|f| f.version = 4), |f| *f == Fault::Version(4)),
        case("big-endian", &file().with(|f| f.version = 3 << 24), |f| *f == Fault::BigEndian),
        case("a billion keys", &file().with(|f| f.n_keys = Some(1 << 30)), |f| {
            *f == Fault::KeyCount(1 << 30)
        }),
        case("all tensors there can be", &file().with(|f| f.n_tensors = Some(u64::MAX)), |f| {
            *f == Fault::TensorCount(u64::MAX)
        }),
        case("more keys than there are", &GgufWriter::new().with(|f| f.n_keys = Some(1)), |f| {
            matches!(f, Fault::Truncated { what: "the length of a metadata key", .. })
        }),
        case(
            "more tensors than there are",
            &GgufWriter::new().with(|f| f.n_tensors = Some(1)),
            |f| matches!(f, Fault::Truncated { what: "the length of a tensor name", .. }),
        ),
    ]
}

fn key_cases() -> Vec<Case> {
    let file = tiny_llama;
    vec![
        case("nameless key", &file().key("", u32(1)), |f| *f == Fault::KeyLength(0)),
        case("endless key", &file().key(vec![b'k'; 70_000], u32(1)), |f| {
            *f == Fault::KeyLength(70_000)
        }),
        case("key of broken text", &file().key([0xff, 0xfe], u32(1)), |f| *f == Fault::KeyEncoding),
        case("key twice", &file().key("llama.block_count", u32(2)), |f| {
            *f == Fault::DuplicateKey("llama.block_count".into())
        }),
        case("unknown value type", &file().key("k", (13, vec![0; 8])), |f| {
            *f == Fault::ValueType { key: "k".into(), found: 13 }
        }),
        case("unknown element type", &file().key("k", array(99, 1, &[0; 8])), |f| {
            *f == Fault::ValueType { key: "k".into(), found: 99 }
        }),
        case("array of arrays", &file().key("k", array(9, 1, &[0; 16])), |f| {
            *f == Fault::NestedArray("k".into())
        }),
        case(
            "array longer than the file",
            &file().key("k", array(4, 1 << 20, &[])),
            |f| matches!(f, Fault::ArrayLength { n, .. } if *n == 1 << 20),
        ),
        case(
            "array whose size wraps around",
            &file().key("k", array(10, 1 << 61, &[])),
            |f| matches!(f, Fault::ArrayLength { n, .. } if *n == 1 << 61),
        ),
        case(
            "as many strings as there are bytes",
            &file().key("k", array(8, 3000, &[0; 99])),
            |f| matches!(f, Fault::ArrayLength { n: 3000, .. }),
        ),
        case(
            "string beyond the limit",
            &file().key("k", (8, (1u64 << 40).to_le_bytes().into())),
            |f| matches!(f, Fault::StringLength { len, .. } if *len == 1 << 40),
        ),
        case(
            "string beyond the file",
            &file().key("k", (8, 60_000u64.to_le_bytes().into())),
            |f| matches!(f, Fault::Truncated { what: "a string", needed: 60_000, .. }),
        ),
        case("string of broken text", &file().key("k", string(&[b'a', 0xc3])), |f| {
            *f == Fault::StringEncoding("k".into())
        }),
        case("boolean 2", &file().key("k", flag(2)), |f| {
            *f == Fault::Bool { key: "k".into(), found: 2 }
        }),
        case("boolean 7 in an array", &file().key("k", array(7, 3, &[0, 1, 7])), |f| {
            *f == Fault::Bool { key: "k".into(), found: 7 }
        }),
        case("alignment of another type", &file().key("general.alignment", string(b"32")), |f| {
            *f == Fault::AlignmentType
        }),
        case("alignment 0", &file().key("general.alignment", u32(0)), |f| {
            *f == Fault::Alignment(0)
        }),
        case("alignment 24", &file().key("general.alignment", u32(24)), |f| {
            *f == Fault::Alignment(24)
        }),
        case("alignment 4 GiB", &file().key("general.alignment", u32(1 << 31)), |f| {
            *f == Fault::Alignment(1 << 31)
        }),
        case("metadata above 64 MiB", &large_metadata(), |f| *f == Fault::MetadataSize),
    ]
}

fn large_metadata() -> GgufWriter {
    let half = vec![0; 33 << 20];
    let file = GgufWriter::new();
    file.key("a", array(0, half.len() as u64, &half)).key("b", array(0, half.len() as u64, &half))
}

fn tensor_cases() -> Vec<Case> {
    let file = || tiny_llama().raw("t", &[32, 2], 3, vec![0; 40]);
    vec![
        case("nameless tensor", &file().last(|t| t.name.clear()), |f| *f == Fault::NameLength(0)),
        case("endless tensor name", &file().last(|t| t.name = vec![b't'; 300]), |f| {
            *f == Fault::NameLength(300)
        }),
        case("tensor name of broken text", &file().last(|t| t.name = vec![0xff]), |f| {
            *f == Fault::NameEncoding
        }),
        case("tensor twice", &file().last(|t| t.name = b"output_norm.weight".into()), |f| {
            *f == Fault::DuplicateTensor("output_norm.weight".into())
        }),
        case("no dimensions", &file().last(|t| t.dims.clear()), |f| {
            matches!(f, Fault::Dimensions { n: 0, .. })
        }),
        case("five dimensions", &file().last(|t| t.dims = vec![32, 1, 1, 1, 1]), |f| {
            matches!(f, Fault::Dimensions { n: 5, .. })
        }),
        case("a dimension of 0", &file().last(|t| t.dims = vec![32, 0]), |f| {
            *f == Fault::ZeroDimension("t".into())
        }),
        case("a size that wraps around", &file().last(|t| t.dims = vec![1 << 40, 1 << 40]), |f| {
            *f == Fault::SizeOverflow("t".into())
        }),
        case(
            "a size that wraps to a small one",
            &file().last(|t| t.dims = vec![32, 1 << 63, 2]),
            |f| *f == Fault::SizeOverflow("t".into()),
        ),
        case(
            "an element type without kernel",
            &file().last(|t| t.kind = 13),
            |f| matches!(f, Fault::ElementType { found, .. } if found == "Q5_K"),
        ),
        case(
            "an unknown element type",
            &file().last(|t| t.kind = 4_000),
            |f| matches!(f, Fault::ElementType { found, .. } if found == "number 4000"),
        ),
        case("half a block", &file().last(|t| t.dims = vec![48]), |f| {
            matches!(f, Fault::PartialBlock { cols: 48, block: 32, .. })
        }),
        case("a misaligned offset", &file().last(|t| t.offset = Some(33)), |f| {
            matches!(f, Fault::Misaligned { offset: 33, .. })
        }),
        case(
            "an offset beyond the file",
            &file().last(|t| t.offset = Some(1 << 40)),
            |f| matches!(f, Fault::BeyondEnd { offset, .. } if *offset == 1 << 40),
        ),
        case(
            "an offset that wraps around",
            &file().last(|t| t.offset = Some(u64::MAX - 31)),
            |f| matches!(f, Fault::BeyondEnd { .. }),
        ),
        case("data cut short", &file().last(|t| t.bytes.truncate(39)), |f| {
            matches!(f, Fault::BeyondEnd { bytes: 40, .. })
        }),
        case("two tensors in one place", &file().last(|t| t.offset = Some(0)), |f| {
            *f == Fault::Overlap("token_embd.weight".into(), "t".into())
        }),
        case(
            "a logical giant on a small file",
            &file().last(|t| t.dims = vec![1 << 30, 1 << 20]),
            |f| matches!(f, Fault::BeyondEnd { .. }),
        ),
    ]
}

#[test]
fn each_kind_of_malformation_has_its_error() {
    let mut kinds = std::collections::HashSet::new();
    let cases: Vec<Case> =
        [header_cases(), key_cases(), tensor_cases()].into_iter().flatten().collect();
    assert!(cases.len() >= 45, "{}", cases.len());
    for Case { kind, bytes, expected } in cases {
        let len = bytes.len() as u64;
        let error: GgufError = match Gguf::from_bytes(bytes) {
            Ok(_) => panic!("{kind}: accepted"),
            Err(error) => error,
        };
        assert!(expected(&error.fault), "{kind}: {error}");
        assert!(error.at <= len, "{kind}: byte {} of {len}", error.at);
        kinds.insert(std::mem::discriminant(&error.fault));
    }
    assert!(kinds.len() >= 25, "{} different errors", kinds.len());
    // The same checks on a whole file find nothing.
    assert!(Gguf::from_bytes(tiny_llama().bytes()).is_ok());
}

#[test]
fn an_error_points_at_its_bytes() {
    let file = GgufWriter::new().key("a.key", strings(&["x"])).key("second", (77, vec![]));
    let error = Gguf::from_bytes(file.bytes()).unwrap_err();
    // 24 of the header; the first entry has 8 + 5, 4, 4 + 8 and 8 + 1; then 8 + 6 of the name.
    assert_eq!(error.at, 24 + 13 + 4 + 12 + 9 + 14);
    assert_eq!(
        error.to_string(),
        "byte 76: `second` has value type 77, which GGUF does not define"
    );
}
