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
                    let alone: Vec<u32> = x
                        .chunks_exact(k)
                        .flat_map(|x| apply(&weight, &pools[0], &mut scratch, x))
                        .collect();
                    for rows in 1..=64 {
                        let pool = &pools[rows % 3];
                        let together = apply(&weight, pool, &mut scratch, &x[..rows * k]);
                        assert!(
                            together == alone[..rows * n],
                            "{isa} {mode:?} {dtype} {n}x{k}: {rows} rows differ from one"
                        );
                    }
                }
            }
        }
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
                for (bits, isa) in bits.iter().zip(Isa::available()).skip(first) {
                    assert!(*bits == bits[..], "{isa}");
                }
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

/// What a kernel does that splits K by the number of rows: the comparison above must see it.
#[test]
fn a_sum_cut_by_the_number_of_rows_is_told_apart() {
    let mut random = Random(17);
    let (w, x) = (normals(96, &mut random), normals(96, &mut random));
    let product = |cuts: usize| -> u32 {
        let parts = w.chunks(96 / cuts).zip(x.chunks(96 / cuts));
        let sums =
            parts.map(|(w, x)| w.iter().zip(x).fold(0.0f32, |sum, (w, x)| w.mul_add(*x, sum)));
        sums.sum::<f32>().to_bits()
    };
    assert_eq!(product(1), product(1));
    assert_ne!(product(1), product(3));
}
