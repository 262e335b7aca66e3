//! From stored tensors to tiles.

use super::format::{BLOCK, Blocks, Format, LANES, LINE};
use crate::line::Line;
use crate::pool::Pool;
use echo_core::{DType, DeviceError, TensorView};
use half::f16;
use parking_lot::Mutex;

/// Scales, minimum and stored weights of one block of one row, as the kernels want them.
struct Block {
    terms: [f32; 2],
    q: [u8; BLOCK],
}

/// Refuses a tensor whose shape or bytes can't be packed, naming it.
pub(super) fn check(part: &TensorView<'_>, cols: usize) -> Result<(), DeviceError> {
    let refuse = |why: String| {
        let TensorView { name, dtype, .. } = part;
        Err(DeviceError::Unsupported(format!("tensor {name} ({dtype}): {why}")))
    };
    if part.cols != cols {
        return refuse(format!(
            "has {} columns where the parts before it have {cols}; fuse only tensors that read the \
             same input",
            part.cols
        ));
    }
    let Some(row_bytes) = part.dtype.row_bytes(cols).filter(|&bytes| bytes > 0) else {
        return refuse(format!(
            "{cols} columns are not a positive number of whole blocks of {}; store it in another \
             type",
            part.dtype.block_len()
        ));
    };
    match part.rows.checked_mul(row_bytes) {
        Some(bytes) if bytes == part.bytes.len() => Ok(()),
        _ => refuse(format!(
            "{} rows of {row_bytes} bytes do not make the {} bytes it has; the file is damaged",
            part.rows,
            part.bytes.len()
        )),
    }
}

/// Lines that the tiles of a checked tensor take.
pub(super) fn lines(part: &TensorView<'_>) -> usize {
    part.rows.div_ceil(LANES) * Format::of(part.dtype).tile_bytes(part.cols) / LINE
}

/// Fills `lines`, all zero, with the tiles of a checked tensor; rows that fill up the last tile
/// stay zero. Threads take a tile at a time.
pub(super) fn pack(part: &TensorView<'_>, pool: &Pool, lines: &mut [Line]) {
    let tile_bytes = Format::of(part.dtype).tile_bytes(part.cols);
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(lines);
    let tiles = Mutex::new(bytes.chunks_exact_mut(tile_bytes).enumerate());
    pool.run(pool.threads(), &|_| {
        loop {
            // Bound first, so that the lock is not held while the tile is filled.
            let next = tiles.lock().next();
            let Some((tile, bytes)) = next else { break };
            pack_tile(part, tile, bytes);
        }
    });
}

fn pack_tile(part: &TensorView<'_>, tile: usize, bytes: &mut [u8]) {
    let row_bytes = part.bytes.len() / part.rows;
    let rows = part.bytes.chunks_exact(row_bytes).skip(tile * LANES).take(LANES);
    for (lane, stored) in rows.enumerate() {
        match Format::of(part.dtype) {
            Format::Dense(dtype) => pack_dense(dtype, stored, lane, bytes),
            Format::Blocks(form) => {
                for block in 0..part.cols / BLOCK {
                    let unpacked = read_block(part.dtype, stored, block);
                    put_terms(form, unpacked.terms, lane, &mut bytes[form.terms_at(block)..]);
                    put_weights(form, &unpacked.q, lane, &mut bytes[form.weights_at(block)..]);
                }
            }
        }
    }
}

fn pack_dense(dtype: DType, row: &[u8], lane: usize, tile: &mut [u8]) {
    let size = dtype.block_bytes();
    for (col, value) in row.chunks_exact(size).enumerate() {
        tile[(col * LANES + lane) * size..][..size].copy_from_slice(value);
    }
}

fn put_terms(form: Blocks, terms: [f32; 2], lane: usize, scales: &mut [u8]) {
    for (term, &value) in terms[..form.terms()].iter().enumerate() {
        let at = (term * LANES + lane) * form.scale_bytes();
        if form.wide {
            scales[at..at + 4].copy_from_slice(&value.to_le_bytes());
        } else {
            // The value came from an f16, so nothing is lost.
            scales[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
        }
    }
}

fn put_weights(form: Blocks, q: &[u8; BLOCK], lane: usize, weights: &mut [u8]) {
    for (k, &q) in q.iter().enumerate() {
        let (group, byte) = (k / 4, lane * 4 + k % 4);
        if !form.nibbles {
            weights[group * LINE + byte] = q;
        } else if group < 4 {
            weights[group * LINE + byte] |= q;
        } else {
            weights[(group - 4) * LINE + byte] |= q << 4;
        }
    }
}

fn float16(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Reads 32 columns of a stored row.
fn read_block(dtype: DType, row: &[u8], block: usize) -> Block {
    let size = dtype.block_bytes();
    let start = block * BLOCK / dtype.block_len() * size;
    let stored = &row[start..start + size];
    let nibble = |bytes: &[u8], k: usize| (bytes[k % 16] >> (k / 16 * 4)) & 15;
    let mut q = [0; BLOCK];
    let mut terms = [float16(stored), 0.0];
    match dtype {
        DType::Q4_0 => fill(&mut q, |k| nibble(&stored[2..], k)),
        DType::Q4_1 => {
            terms[1] = float16(&stored[2..]);
            fill(&mut q, |k| nibble(&stored[4..], k));
        }
        DType::Q8_0 => fill(&mut q, |k| stored[2 + k] ^ 0x80),
        DType::Q4K => {
            let group = block % 8;
            let (scale, min) = group_of_q4k(&stored[4..16], group);
            terms = [terms[0] * f32::from(scale), -float16(&stored[2..]) * f32::from(min)];
            let nibbles = &stored[16 + group / 2 * 32..];
            fill(&mut q, |k| (nibbles[k] >> (group % 2 * 4)) & 15);
        }
        DType::Q6K => {
            // Two runs of 128 weights, each four groups of 32 that share 64 bytes of low nibbles
            // and 32 bytes of high bit pairs.
            let (run, group) = (block % 8 / 4, block % 4);
            let low = &stored[run * 64 + group % 2 * 32..];
            let high = &stored[128 + run * 32..];
            fill(&mut q, |k| {
                let low = (low[k] >> (group / 2 * 4)) & 15;
                low | ((high[k] >> (group * 2)) & 3) << 4
            });
            let d = float16(&stored[208..]);
            let scale = |half: usize| d * f32::from(stored[192 + block % 8 * 2 + half] as i8);
            terms = [scale(0), scale(1)];
        }
        DType::F32 | DType::F16 | DType::BF16 => unreachable!("floats are not blocks"),
    }
    Block { terms, q }
}

fn fill(q: &mut [u8; BLOCK], weight: impl Fn(usize) -> u8) {
    for (k, q) in q.iter_mut().enumerate() {
        *q = weight(k);
    }
}

/// The 6-bit scale and minimum of a group of a `Q4_K` block: groups 0..4 keep theirs in the low six
/// bits of bytes 0..4 and 4..8, groups 4..8 have four bits in bytes 8..12 and two in the high bits
/// of those.
fn group_of_q4k(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let low = packed[group + 4];
        let scale = (low & 15) | (packed[group - 4] >> 6) << 4;
        let min = (low >> 4) | (packed[group] >> 6) << 4;
        (scale, min)
    }
}
