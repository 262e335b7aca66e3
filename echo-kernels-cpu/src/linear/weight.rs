//! A weight matrix, packed once at load and applied many times.

use super::format::{BLOCK, Format, LANES, LINE, Tile};
use super::isa::Isa;
use super::kernel::{self, Acts, Floats, Ints, ROWS_MAX, Sums};
use super::out::Out;
use super::pack;
use super::quantize::Scratch;
use crate::area::Area;
use crate::line::Line;
use crate::pages::{Arena, Piece};
use crate::pool::Pool;
use echo_core::{DeviceError, TensorView};
use parking_lot::Mutex;

/// Rows from which on quantising the activations is worth a parallel region of its own.
const ROWS_QUANTIZED_TOGETHER: usize = 12;

/// In which form activations meet quantised weights. Float weights always meet floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Activations {
    /// Rounded to 8 bits per block of 32 columns; exact integer sums within a block.
    #[default]
    Int8,
    /// As they are; weights are dequantised in the kernel.
    Float,
}

/// Some stored matrices with the same input, one below the other, packed for the kernels.
pub struct PackedWeight {
    isa: Isa,
    activations: Activations,
    rows: usize,
    cols: usize,
    parts: Vec<Part>,
}

/// One stored matrix; its tiles follow those of the part before it.
struct Part {
    format: Format,
    first_row: usize,
    rows: usize,
    first_tile: usize,
    lines: Piece<Line>,
}

impl PackedWeight {
    /// Packs `parts`, one below the other, for the kernels of `isa`.
    ///
    /// Fails, naming the tensor, if its columns differ from the first part's, are not whole blocks
    /// (of 32 or 256, by type) or do not fit its bytes; and if `isa` is not available here.
    pub fn new(parts: &[TensorView<'_>], isa: Isa) -> Result<Self, DeviceError> {
        Self::new_in(parts, isa, &Pool::new(1), &mut Arena::default())
    }

    /// The same with the threads of `pool` and in the memory of `arena`.
    pub(crate) fn new_in(
        parts: &[TensorView<'_>],
        isa: Isa,
        pool: &Pool,
        arena: &mut Arena,
    ) -> Result<Self, DeviceError> {
        if !Isa::available().contains(&isa) {
            let why = format!("kernels for {isa} on this processor; use another instruction set");
            return Err(DeviceError::Unsupported(why));
        }
        let mut weight = PackedWeight {
            isa,
            activations: Activations::Int8,
            rows: 0,
            cols: parts.first().map_or(0, |part| part.cols),
            parts: Vec::with_capacity(parts.len()),
        };
        let mut first_tile = 0;
        for part in parts {
            pack::check(part, weight.cols)?;
            let n_lines = pack::lines(part);
            let mut lines = arena.take(n_lines).ok_or_else(|| DeviceError::OutOfMemory {
                asked: n_lines * LINE,
                what: format!("tensor {}", part.name),
            })?;
            pack::pack(part, pool, &mut lines);
            weight.parts.push(Part {
                format: Format::of(part.dtype),
                first_row: weight.rows,
                rows: part.rows,
                first_tile,
                lines,
            });
            weight.rows += part.rows;
            first_tile += part.rows.div_ceil(LANES);
        }
        Ok(weight)
    }

    /// The same weight with its quantised parts meeting `activations`; [`Activations::Int8`] unless
    /// asked for.
    #[must_use]
    pub fn with_activations(self, activations: Activations) -> Self {
        PackedWeight { activations, ..self }
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of the packed form, which one application reads once.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| size_of_val(&part.lines[..])).sum()
    }

    /// Writes the `cols` weights of output feature `row` as floats.
    ///
    /// Panics if there is no such row or `out` has another length.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "a row has that many weights");
        let part = self.part_at(|part| part.first_row <= row);
        let row = row - part.first_row;
        let (tile, lane) = (part.tile(row / LANES, self.cols), row % LANES);
        for (col, out) in out.iter_mut().enumerate() {
            *out = match part.format {
                Format::Blocks(form) => tile.weight(form, col, lane),
                Format::Dense(dtype) => tile.dense(dtype, col, lane),
            };
        }
    }

    /// `out = x Wᵀ` for `rows` rows.
    ///
    /// Row `r` of `x` is `x[r * x_stride + x_col..][..cols]`; row `r` of the result is written to
    /// `out[r * out_stride + out_col..][..self.rows()]`, and nothing else is. The bits of an output
    /// depend on its row of `x` and its row of `W` alone. A row of `x` with a NaN or an infinity
    /// gives non-finite outputs.
    ///
    /// Panics if a row reaches beyond `x` or `out`, or beyond its stride.
    pub fn apply(
        &self,
        pool: &Pool,
        scratch: &mut Scratch,
        rows: usize,
        x: &[f32],
        x_stride: usize,
        x_col: usize,
        out: &mut [f32],
        out_stride: usize,
        out_col: usize,
    ) {
        if rows == 0 || self.rows == 0 {
            return;
        }
        let fits = |len: usize, stride: usize, col: usize, width: usize| {
            let area = Area { stride, col, width };
            col.saturating_add(width) <= stride && area.extent(rows) <= len
        };
        assert!(fits(x.len(), x_stride, x_col, self.cols), "x is too small");
        assert!(fits(out.len(), out_stride, out_col, self.rows), "out is too small");
        let x = &x[x_col..];
        if self.wants_ints() {
            scratch.resize(rows, self.cols);
            self.quantize(pool, scratch, rows, x, x_stride);
        }
        let scratch = &*scratch;
        let out = Out::new(&mut out[out_col..], out_stride);
        let last = &self.parts[self.parts.len() - 1];
        let tiles = last.first_tile + last.rows.div_ceil(LANES);
        let threads = pool.threads();
        pool.run(threads, &|thread| {
            if thread > 0 && self.wants_ints() {
                scratch.ask(rows.min(ROWS_MAX));
            }
            let mut sums = [[0.0; LANES]; ROWS_MAX];
            for tile in thread * tiles / threads..(thread + 1) * tiles / threads {
                let part = self.part_at(|part| part.first_tile <= tile);
                let tile = tile - part.first_tile;
                self.apply_tile(part, tile, scratch, rows, x, x_stride, &out, &mut sums);
            }
        });
    }

    fn wants_ints(&self) -> bool {
        let quantised = |part: &Part| matches!(part.format, Format::Blocks(_));
        self.activations == Activations::Int8 && self.parts.iter().any(quantised)
    }

    fn quantize(&self, pool: &Pool, scratch: &mut Scratch, rows: usize, x: &[f32], stride: usize) {
        let rows_left = Mutex::new(scratch.rows_mut().take(rows).enumerate());
        let tasks = if rows < ROWS_QUANTIZED_TOGETHER { 1 } else { pool.threads() };
        pool.run(tasks, &|_| {
            loop {
                // Bound first, so that the lock is not held while the row is filled.
                let next = rows_left.lock().next();
                let Some((row, mut place)) = next else { break };
                place.fill(self.isa, &x[row * stride..][..self.cols]);
            }
        });
    }

    /// The last part of which `starts_before` holds; empty parts are skipped by being followed.
    fn part_at(&self, starts_before: impl Fn(&Part) -> bool) -> &Part {
        let end = self.parts.partition_point(starts_before);
        &self.parts[end - 1]
    }

    fn apply_tile(
        &self,
        part: &Part,
        tile: usize,
        scratch: &Scratch,
        rows: usize,
        x: &[f32],
        x_stride: usize,
        out: &Out<'_>,
        sums: &mut [Sums; ROWS_MAX],
    ) {
        let ints =
            self.activations == Activations::Int8 && matches!(part.format, Format::Blocks(_));
        let first = tile * LANES;
        let width = LANES.min(part.rows - first);
        let view = part.tile(tile, self.cols);
        // Equal calls of whole fours: 17 rows as 12 and 5, not as 16 and 1.
        let together = rows.div_ceil(rows.div_ceil(ROWS_MAX)).next_multiple_of(4);
        for row in (0..rows).step_by(together) {
            let count = together.min(rows - row);
            let acts = if ints {
                Acts::Ints(ints_from(scratch, row))
            } else {
                let x = &x[row * x_stride..];
                Acts::Floats(Floats { x, stride: x_stride })
            };
            (row..row + count).for_each(|row| out.claim(row, part.first_row + first, width));
            kernel::run(self.isa, part.format, view, acts, &mut sums[..count]);
            for (i, sums) in sums[..count].iter().enumerate() {
                // SAFETY: a region runs each tile once, and tiles have disjoint columns.
                unsafe { out.write(row + i, part.first_row + first, &sums[..width]) };
            }
        }
    }
}

impl Part {
    fn tile(&self, tile: usize, cols: usize) -> Tile<'_> {
        let size = self.format.tile_bytes(cols);
        let bytes: &[u8] = bytemuck::cast_slice(&self.lines);
        Tile { bytes: &bytes[tile * size..][..size], cols }
    }
}

fn ints_from(scratch: &Scratch, row: usize) -> Ints<'_> {
    let (cols, blocks) = (scratch.cols, scratch.cols / BLOCK);
    Ints {
        cols,
        q: &scratch.q[row * cols..],
        q16: &scratch.q16[row * cols..],
        scale: &scratch.scale[row * blocks..],
        scaled_sum: &scratch.scaled_sum[row * blocks..],
        minus_sum: &scratch.minus_sum[row * blocks..],
        minus_half: &scratch.minus_half[row * blocks * 2..],
    }
}
