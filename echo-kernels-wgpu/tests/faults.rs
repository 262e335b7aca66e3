//! Devices that are not there, too small, full, or gone: each says so in the port's words, and no
//! call panics.

mod support;

use echo_core::port::{Buffer, Data, Device, Element, Kernels, Mat};
use echo_core::{DType, DeviceError, TensorView};
use echo_kernels_wgpu::{Choice, WgpuKernels, WgpuOptions};

fn options() -> WgpuOptions {
    WgpuOptions::default()
}

#[test]
fn a_device_nobody_has_is_not_there() {
    let choice = Choice::Named("no such device".into());
    let Err(error) = WgpuKernels::open(&WgpuOptions { choice, ..options() }) else {
        panic!("a device that nobody has was opened");
    };
    assert!(matches!(error, DeviceError::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("no such device"), "{error}");
}

#[test]
fn what_is_too_large_for_a_binding_is_refused_by_name() {
    let Some(kernels) = support::open("what_is_too_large_for_a_binding") else { return };
    for len in [usize::MAX / 8, usize::MAX] {
        let error = kernels.alloc(Element::F32, len, "the moon").expect_err("nobody has that");
        assert!(matches!(error, DeviceError::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains("the moon") && error.to_string().contains("lower"));
    }
}

#[test]
fn a_full_device_says_what_there_was_no_room_for() {
    let Some(_) = support::open("a_full_device") else { return };
    let kernels = support::device(&WgpuOptions { memory_max: Some(1000), ..options() });
    kernels.alloc(Element::F32, 200, "the first").expect("there is room");
    let error = kernels.alloc(Element::F32, 200, "keys").expect_err("there is no more room");
    assert_eq!(error, DeviceError::OutOfMemory { asked: 800, what: "keys".into() });
    kernels.alloc(Element::F32, 40, "the last").expect("what fits is still given");
}

/// `x` times `weight`, and the embeddings of all its rows, as bits.
fn product(kernels: &WgpuKernels, parts: &[TensorView<'_>], x: &[f32]) -> Vec<u32> {
    let cols = parts[0].cols;
    let width: usize = parts.iter().map(|part| part.rows).sum();
    let rows = x.len() / cols;
    let weight = kernels.weight(parts).expect("a sound weight");
    let from = kernels.alloc(Element::F32, x.len(), "x").expect("room");
    let into = kernels.alloc(Element::F32, rows * width, "out").expect("room");
    kernels.write(from, 0, Data::F32(x)).expect("it is there");
    let (x, out) = (Mat::new(from, cols), Mat::new(into, width));
    kernels.linear(rows, weight, x, out).expect("it runs");
    bits(kernels, into, rows * width)
}

fn bits(kernels: &WgpuKernels, buffer: Buffer, len: usize) -> Vec<u32> {
    let mut out = vec![0.0f32; len];
    kernels.read(buffer, 0, &mut out).expect("it is there");
    out.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_weight_above_the_limit_is_split_and_gives_the_same_bits() {
    let Some(whole) = support::open("a_weight_above_the_limit") else { return };
    // 300 rows of 64 columns: in slabs of 64 rows each under a limit that 65 rows would break.
    let limit = 64 * 64 * 4;
    let split = support::device(&WgpuOptions { buffer_max: Some(limit), ..options() });
    let values: Vec<f32> =
        (0..300 * 64).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let part = |from: usize, rows: usize| TensorView {
        name: "test",
        dtype: DType::F32,
        rows,
        cols: 64,
        bytes: &bytes[from * 256..(from + rows) * 256],
    };
    let x = &values[1000..1000 + 3 * 64];
    let expected = product(&whole, &[part(0, 300)], x);
    assert_eq!(product(&split, &[part(0, 300)], x), expected);
    assert_eq!(product(&split, &[part(0, 0), part(0, 70), part(70, 230)], x), expected);
    let small = support::device(&WgpuOptions { buffer_max: Some(8000), ..options() });
    let error = small.weight(&[part(0, 300)]).expect_err("32 rows do not fit");
    assert!(error.to_string().contains("tensor test"), "{error}");
}

#[test]
fn a_damaged_weight_is_refused_by_name() {
    let Some(kernels) = support::open("a_damaged_weight") else { return };
    for (cols, len) in [(33, 34), (32, 33)] {
        let bytes = &vec![0; len];
        let part = TensorView { name: "blk.0.weight", dtype: DType::Q8_0, rows: 1, cols, bytes };
        let error = kernels.weight(&[part]).expect_err("it is damaged");
        assert!(error.to_string().contains("blk.0.weight"), "{error}");
    }
}

#[test]
fn a_lost_device_says_so_at_every_call() {
    let Some(_) = support::open("a_lost_device") else { return };
    let kernels = support::device(&WgpuOptions { lose_after: Some(2), ..options() });
    let a = kernels.alloc(Element::F32, 64, "a").expect("room");
    let b = kernels.alloc(Element::F32, 64, "b").expect("room");
    let add = || kernels.add(1, Mat::new(a, 64), Mat::new(b, 64));
    add().expect("it is still there");
    add().expect("it is still there");
    let gone = |result: Result<(), DeviceError>| {
        let error = result.expect_err("it is gone");
        assert!(matches!(error, DeviceError::Lost(_)), "{error}");
    };
    gone(add().and_then(|()| kernels.read(b, 0, &mut [0.0])));
    gone(add());
    gone(kernels.write(a, 0, Data::F32(&[1.0])));
    gone(kernels.read(b, 0, &mut [0.0; 64]));
    gone(kernels.alloc(Element::F32, 1, "more").map(|_| ()));
    let part = TensorView { name: "w", dtype: DType::F32, rows: 1, cols: 1, bytes: &[0; 4] };
    gone(kernels.weight(&[part]).map(|_| ()));
}
