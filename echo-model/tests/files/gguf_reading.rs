//! What a whole GGUF file says is what comes out.

use echo_core::DType;
use echo_model::gguf::{Gguf, Value};

use crate::gguf_writer::{GgufWriter, array, flag, ints, string, strings, u32};

#[test]
fn values_and_tensors_come_back() {
    for version in [2, 3] {
        let file = GgufWriter::new()
            .key("a", u32(7))
            .key("b", (1, vec![0xfe]))
            .key("c", string("é".as_bytes()))
            .key("d", flag(1))
            .key("e", strings(&["x", "", "yz"]))
            .key("f", ints(&[-1, 2]))
            .key("g", (12, 0.5f64.to_le_bytes().to_vec()))
            .key("h", array(10, 1, &u64::MAX.to_le_bytes()))
            .floats("one", &[2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
            .raw("two", &[32], 8, (0..34).collect())
            .with(|f| f.version = version);
        let gguf = Gguf::from_bytes(file.bytes()).unwrap();
        assert_eq!(gguf.version(), version);
        assert_eq!(gguf.count("a"), Ok(Some(7)));
        assert_eq!(gguf.value("b"), Some(Value::Int(-2)));
        assert_eq!(gguf.string("c"), Ok(Some("é")));
        assert_eq!(gguf.flag("d"), Ok(Some(true)));
        let strings = gguf.array("e").unwrap().unwrap();
        assert_eq!(strings.strings().unwrap().collect::<Vec<_>>(), [&b"x"[..], b"", b"yz"]);
        assert!(strings.ints().is_none());
        let ints = gguf.array("f").unwrap().unwrap();
        assert_eq!(ints.ints().unwrap().collect::<Vec<_>>(), [-1, 2]);
        assert_eq!(gguf.number("g"), Ok(Some(0.5)));
        assert_eq!(gguf.array("h").unwrap().unwrap().ints().unwrap().next(), Some(u64::MAX.into()));

        assert_eq!(gguf.string("nowhere"), Ok(None));
        let error = gguf.count("b").unwrap_err().to_string();
        assert!(error.contains("`b` is an integer, not a non-negative integer"), "{error}");
        assert!(gguf.flag("a").is_err() && gguf.array("a").is_err() && gguf.number("c").is_err());

        let one = gguf.tensor("one").unwrap();
        assert_eq!((one.dtype, one.dims, one.bytes.len()), (DType::F32, &[2, 3][..], 24));
        assert_eq!(one.bytes[4..8], 1f32.to_le_bytes());
        let two = gguf.tensor("two").unwrap();
        assert_eq!((two.dtype, two.bytes), (DType::Q8_0, &(0..34).collect::<Vec<u8>>()[..]));
        assert!(gguf.tensor("three").is_none());
        assert_eq!(gguf.tensors().map(|t| t.name).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(gguf.metadata().count(), 8);
    }
}

#[test]
fn a_file_may_say_its_alignment() {
    let file = GgufWriter::new()
        .key("general.alignment", u32(128))
        .floats("one", &[1], &[1.0])
        .floats("two", &[1], &[2.0])
        .with(|f| f.alignment = 128);
    let gguf = Gguf::from_bytes(file.bytes()).unwrap();
    assert_eq!(gguf.tensor("two").unwrap().bytes, 2f32.to_le_bytes());
    // Written with another alignment than it says, the same file is refused.
    assert!(Gguf::from_bytes(file.with(|f| f.alignment = 32).bytes()).is_err());
}
