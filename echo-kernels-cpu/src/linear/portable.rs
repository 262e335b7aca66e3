//! The kernels in plain Rust: what the others must equal, and what runs where nothing better does.

use super::format::{BLOCK, Blocks, Format, LANES, Tile};
use super::kernel::{Floats, Ints, Sums};

/// One tile on 8-bit activations; see [`super::kernel`] for the order of operations.
pub(super) fn ints(form: Blocks, tile: Tile<'_>, x: Ints<'_>, sums: &mut [Sums]) {
    let halves = 1 + usize::from(form.halves);
    sums.fill([0.0; LANES]);
    for block in 0..tile.cols / BLOCK {
        let term = |term: usize| std::array::from_fn(|lane| tile.term(form, block, term, lane));
        let terms: [[f32; LANES]; 2] = [term(0), term(form.terms() - 1)];
        let columns = unpack(form, tile, block);
        for (row, sums) in sums.iter_mut().enumerate() {
            let at = row * (x.cols / BLOCK) + block;
            let q = &x.q[row * x.cols + block * BLOCK..][..BLOCK];
            let mut dots = dots(&columns, q);
            if !form.halves {
                dots[0] = std::array::from_fn(|lane| dots[0][lane] + dots[1][lane]);
            }
            for half in 0..halves {
                let minus = if form.halves { x.minus_half[at * 2 + half] } else { x.minus_sum[at] };
                for (sum, (dot, scale)) in sums.iter_mut().zip(dots[half].iter().zip(terms[half])) {
                    let dot = (dot + form.zero() * minus) as f32;
                    *sum = dot.mul_add(scale * x.scale[at], *sum);
                }
            }
            if form.min {
                for (sum, min) in sums.iter_mut().zip(terms[1]) {
                    *sum = min.mul_add(x.scaled_sum[at], *sum);
                }
            }
        }
    }
}

/// Stored weights of a block, column by column.
type Columns = [[i16; LANES]; BLOCK];

fn unpack(form: Blocks, tile: Tile<'_>, block: usize) -> Columns {
    let weights = tile.bytes[form.weights_at(block)..].as_chunks::<4>().0;
    let mut columns = [[0; LANES]; BLOCK];
    for (col, column) in columns.iter_mut().enumerate() {
        let group = col / 4;
        let (line, shift, mask) = match (form.nibbles, group < 4) {
            (false, _) => (group, 0, 255),
            (true, true) => (group, 0, 15),
            (true, false) => (group - 4, 4, 15),
        };
        for (weight, four) in column.iter_mut().zip(&weights[line * LANES..]) {
            *weight = i16::from((four[col % 4] >> shift) & mask);
        }
    }
    columns
}

/// The exact sums of stored weight times activation over each half of a block.
fn dots(columns: &Columns, q: &[i8]) -> [[i32; LANES]; 2] {
    let mut dots = [[0; LANES]; 2];
    for (col, (column, q)) in columns.iter().zip(q).enumerate() {
        for (dot, weight) in dots[col / (BLOCK / 2)].iter_mut().zip(column) {
            *dot += i32::from(*weight) * i32::from(*q);
        }
    }
    dots
}

/// One tile on float activations: two chains per output, even and odd columns.
pub(super) fn floats(format: Format, tile: Tile<'_>, x: Floats<'_>, sums: &mut [Sums]) {
    let mut chains = [[[0.0; LANES]; 2]; super::kernel::ROWS_MAX];
    for col in 0..tile.cols {
        let mut weights = [0.0; LANES];
        for (lane, weight) in weights.iter_mut().enumerate() {
            *weight = match format {
                Format::Blocks(form) => tile.weight(form, col, lane),
                Format::Dense(dtype) => tile.dense(dtype, col, lane),
            };
        }
        for (row, chains) in chains[..sums.len()].iter_mut().enumerate() {
            let x = x.x[row * x.stride + col];
            for (chain, weight) in chains[col % 2].iter_mut().zip(&weights) {
                *chain += weight * x;
            }
        }
    }
    for (sums, [even, odd]) in sums.iter_mut().zip(&chains) {
        for (sum, (even, odd)) in sums.iter_mut().zip(even.iter().zip(odd)) {
            *sum = even + odd;
        }
    }
}
