//! Bad tensors are refused by name, not by a panic.

use crate::sample::{DTYPES, Random, Sample};
use echo_core::{DType, DeviceError, TensorView};
use echo_kernels_cpu::linear::{Isa, PackedWeight, Scratch};
use echo_kernels_cpu::pool::Pool;

fn refused(parts: &[TensorView<'_>], word: &str) {
    match PackedWeight::new(parts, Isa::Portable).err() {
        Some(DeviceError::Unsupported(why)) => {
            assert!(why.contains("sample") && why.contains(word), "{why}");
        }
        other => panic!("expected a refusal that says {word}, got {other:?}"),
    }
}

#[test]
fn wrong_bytes_and_columns_are_named() {
    let mut random = Random(3);
    for dtype in DTYPES {
        let sample = Sample::new(dtype, 3, 256, &mut random);
        let view = sample.view();
        assert!(PackedWeight::new(&[view], Isa::Portable).is_ok());
        refused(&[TensorView { bytes: &view.bytes[1..], ..view }], "damaged");
        refused(&[TensorView { rows: usize::MAX, ..view }], "damaged");
        refused(&[TensorView { cols: 0, ..view }], "whole blocks");
        refused(&[view, TensorView { cols: 512, ..view }], "same input");
        if dtype.block_len() > 1 {
            refused(&[TensorView { cols: 255, ..view }], "whole blocks");
        }
    }
}

#[test]
fn empty_weights_and_no_rows_do_nothing() {
    let (pool, mut scratch) = (Pool::new(2), Scratch::default());
    let empty = PackedWeight::new(&[], Isa::detect()).expect("no parts");
    empty.apply(&pool, &mut scratch, 3, &[1.0; 3], 1, 0, &mut [], 0, 0);
    let sample = Sample::new(DType::Q8_0, 2, 32, &mut Random(5));
    let weight = PackedWeight::new(&[sample.view()], Isa::detect()).expect("sound");
    weight.apply(&pool, &mut scratch, 0, &[], 32, 0, &mut [], 2, 0);
    assert_eq!((weight.rows(), weight.cols(), empty.rows()), (2, 32, 0));
}
