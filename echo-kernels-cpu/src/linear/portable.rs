//! The kernels in plain Rust: what the others must equal, and what runs where nothing better does.

use super::format::{BLOCK, Blocks, Format, LANES, Tile};
use super::kernel::{Floats, Ints, Sums};

/// One tile on 8-bit activations; see [`super::kernel`] for the order of operations.
pub(super) fn ints(form: Blocks, tile: Tile<'_>, x: Ints<'_>, sums: &mut [Sums]) {
    for (row, sums) in sums.iter_mut().enumerate() {
        *sums = [0.0; LANES];
        for block in 0..tile.cols / BLOCK {
            let at = row * (x.cols / BLOCK) + block;
            let q = &x.q[row * x.cols + block * BLOCK..][..BLOCK];
            let dots = dots(form, tile, block, q);
            for lane in 0..LANES {
                let mut sum = sums[lane];
                let halves = [dots[0][lane], dots[1][lane]];
                let (parts, minus): (&[i32], &[i32]) = if form.halves {
                    (&halves, &x.minus_half[at * 2..])
                } else {
                    (&[halves[0] + halves[1]], &x.minus_sum[at..])
                };
                for (half, (dot, minus)) in parts.iter().zip(minus).enumerate() {
                    let scale = tile.term(form, block, half, lane) * x.scale[at];
                    sum = ((dot + form.zero() * minus) as f32).mul_add(scale, sum);
                }
                if form.min {
                    sum = tile.term(form, block, 1, lane).mul_add(x.scaled_sum[at], sum);
                }
                sums[lane] = sum;
            }
        }
    }
}

/// The exact sums of stored weight times activation over each half of a block.
fn dots(form: Blocks, tile: Tile<'_>, block: usize, q: &[i8]) -> [[i32; LANES]; 2] {
    let weights = &tile.bytes[form.weights_at(block)..];
    let mut dots = [[0; LANES]; 2];
    for group in 0..BLOCK / 4 {
        let (line, shift, mask) = match (form.nibbles, group < 4) {
            (false, _) => (group, 0, 255),
            (true, true) => (group, 0, 15),
            (true, false) => (group - 4, 4, 15),
        };
        let x = &q[group * 4..group * 4 + 4];
        let line = &weights[line * 4 * LANES..][..4 * LANES];
        for (dot, w) in dots[group / 4].iter_mut().zip(line.chunks_exact(4)) {
            for (w, x) in w.iter().zip(x) {
                *dot += i32::from((w >> shift) & mask) * i32::from(*x);
            }
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
