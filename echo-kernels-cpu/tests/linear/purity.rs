//! The bits of an output depend on its row of activations and its row of weights, on nothing else.

use crate::sample::{DTYPES, Random, Sample, normals};
use echo_core::DType;
use echo_kernels_cpu::linear::{Activations, Isa, PackedWeight, Scratch};
use echo_kernels_cpu::pool::Pool;

const MODES: [Activations; 2] = [Activations::Int8, Activations::Float];
const GUARD: f32 = 12345.5;

/// Applies the first `rows` rows of `x` at once, into a guarded matrix.
fn apply(weight: &PackedWeight, pool: &Pool, scratch: &mut Scratch, x: &[f32]) -> Vec<u32> {
    let (n, k) = (weight.rows(), weight.cols());
    let rows = x.len() / k;
    let stride = n + 5;
    let mut out = vec![GUARD; rows * stride];
    weight.apply(pool, scratch, rows, x, k, 0, &mut out, stride, 3);
    let mut bits = Vec::with_capacity(rows * n);
    for row in out.chunks_exact(stride) {
        assert!(row[..3].iter().chain(&row[3 + n..]).all(|&g| g == GUARD), "a guard was hit");
        bits.extend(row[3..3 + n].iter().map(|x| x.to_bits()));
    }
    bits
}

fn sizes(dtype: DType) -> [(usize, usize); 3] {
    // Output rows around a tile, and one block, three blocks, more than one K-quant block.
    let block = dtype.block_len().max(32);
    [(1, block), (16, block * 3), (37, block * 2)]
}

/// The smallest number of rows, up to 64, whose bits are not those of the rows one by one.
/// `apply` is given the number of rows and their activations.
fn first_difference(
    x: &[f32],
    k: usize,
    mut apply: impl FnMut(usize, &[f32]) -> Vec<u32>,
) -> Option<usize> {
    let alone: Vec<u32> = x.chunks_exact(k).flat_map(|x| apply(1, x)).collect();
    (1..=64).find(|&rows| {
        let together = apply(rows, &x[..rows * k]);
        together != alone[..together.len()]
    })
}

#[test]
fn any_number_of_rows_and_threads_gives_the_bits_of_one_row() {
    let pools = [Pool::new(1), Pool::new(2), Pool::new(3)];
    let mut random = Random(7);
    for dtype in DTYPES {
        for (n, k) in sizes(dtype) {
            let sample = Sample::new(dtype, n, k, &mut random);
            let x = normals(64 * k, &mut random);
            for &isa in Isa::available() {
                for mode in MODES {
                    let weight = PackedWeight::new(&[sample.view()], isa).expect("sound");
                    let weight = weight.with_activations(mode);
                    let mut scratch = Scratch::default();
                    let differs = first_difference(&x, k, |rows, x| {
                        apply(&weight, &pools[rows % 3], &mut scratch, x)
                    });
                    assert_eq!(differs, None, "{isa} {mode:?} {dtype} {n}x{k}");
                }
            }
        }
    }
}

/// What a split of K by the number of rows does, and what unused rows left in a buffer would do:
/// the comparison of the test above must see both.
#[test]
fn a_product_that_looks_at_the_number_of_rows_is_caught() {
    let pool = Pool::new(2);
    let mut random = Random(17);
    let (n, k) = (5, 256);
    let halves = [0, 1].map(|_| Sample::new(DType::Q8_0, n, k / 2, &mut random));
    let x = normals(64 * k, &mut random);
    let half = |side: usize, x: &[f32]| {
        let weight = PackedWeight::new(&[halves[side].view()], Isa::detect()).expect("sound");
        let (rows, mut out) = (x.len() / k, vec![0.0; x.len() / k * n]);
        let mut scratch = Scratch::default();
        weight.apply(&pool, &mut scratch, rows, x, k, side * k / 2, &mut out, n, 0);
        out
    };
    let split = |x: &[f32], order: [usize; 2], bias: f32| -> Vec<u32> {
        let sides = order.map(|side| half(side, x));
        sides[0].iter().zip(&sides[1]).map(|(a, b)| (bias + a + b).to_bits()).collect()
    };
    assert_eq!(first_difference(&x, k, |_, x| split(x, [0, 1], 0.1)), None);
    let reordered = |rows: usize, x: &[f32]| {
        let order = if rows < 9 { [0, 1] } else { [1, 0] };
        split(x, order, 0.1)
    };
    assert_eq!(first_difference(&x, k, reordered), Some(9));
}

/// Where `ECHO_REQUIRE` names an instruction set, the tests of this folder have met it.
#[test]
fn a_required_instruction_set_is_there() {
    let required = std::env::var("ECHO_REQUIRE").unwrap_or_default();
    if required.split(',').any(|name| name == "neon-dot") {
        let names: Vec<String> = Isa::available().iter().map(ToString::to_string).collect();
        assert!(names.iter().any(|name| name == "neon-dot"), "only {names:?}");
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let pool = Pool::new(2);
    let mut random = Random(11);
    for dtype in DTYPES {
        for (n, k) in sizes(dtype) {
            let sample = Sample::new(dtype, n, k, &mut random);
            let x = normals(9 * k, &mut random);
            for mode in MODES {
                let bits: Vec<_> = Isa::available()
                    .iter()
                    .map(|&isa| {
                        let weight = PackedWeight::new(&[sample.view()], isa).expect("sound");
                        let weight = weight.with_activations(mode);
                        apply(&weight, &pool, &mut Scratch::default(), &x)
                    })
                    .collect();
                let ints = mode == Activations::Int8 && dtype.block_len() > 1;
                // Portable floats are not fused, so only the vector instruction sets agree there.
                let first = usize::from(!ints);
                for pair in bits[first.min(bits.len() - 1)..].windows(2) {
                    assert!(pair[0] == pair[1], "{mode:?} {dtype} {n}x{k}: bits differ");
                }
            }
        }
    }
}

#[test]
fn fused_parts_give_the_bits_of_the_parts() {
    let pool = Pool::new(2);
    let mut random = Random(13);
    let k = 256;
    let parts = [(DType::Q4K, 21), (DType::Q6K, 0), (DType::F16, 3), (DType::Q6K, 17)]
        .map(|(dtype, rows)| Sample::new(dtype, rows, k, &mut random));
    let views: Vec<_> = parts.iter().map(Sample::view).collect();
    let x = normals(5 * k, &mut random);
    for &isa in Isa::available() {
        let fused = PackedWeight::new(&views, isa).expect("sound");
        let bits = apply(&fused, &pool, &mut Scratch::default(), &x);
        let mut first = 0;
        for view in &views {
            let part = PackedWeight::new(&[*view], isa).expect("sound");
            let alone = apply(&part, &pool, &mut Scratch::default(), &x);
            for (row, alone) in alone.chunks_exact(view.rows.max(1)).enumerate() {
                assert!(*alone == bits[row * fused.rows() + first..][..view.rows], "{isa}");
            }
            first += view.rows;
        }
        assert_eq!((first, fused.rows()), (41, 41));
    }
}
