//! The kernels port: each operation records its launch.

use crate::device::{Launch, State, WgpuKernels};
use crate::gpu::Array;
use crate::pipelines::{NONE, constants};
use echo_core::port::{Buffer, Heads, Kernels, Mat, Stage, Weight};
use echo_core::sampling::SampleView;
use echo_core::{DeviceError, TopK, Verdicts};

/// Workgroups along one axis, on any device.
const GROUPS_MAX: u32 = 65_535;
/// Lanes of the kernels that take an element each.
const LANES: usize = 64;
/// Widest head.
const DIM_MAX: usize = 256;

impl Kernels for WgpuKernels {
    fn embed(&self, stage: Stage, table: Weight, out: Mat) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, pipelines, .. } = &mut *self.state.lock();
        let (staged, table) = (memory.staged(stage), memory.weight(table));
        let into = memory.floats(out.buffer);
        assert_eq!(table.cols, out.width, "embed: columns of the table");
        check(out, staged.rows, into, "embed: out");
        for slab in &table.slabs {
            let format = slab.format;
            Launch {
                stem: "embed",
                constants: constants(&[
                    ("FORMAT", format.number),
                    ("UNIT", format.unit as u32),
                    ("UNIT_WORDS", format.words as u32),
                ]),
                bound: &[&staged.array, &slab.array, into],
                immediates: &words([
                    out.width, out.stride, out.col, slab.first, slab.rows, slab.units,
                ]),
                groups: [out.width.div_ceil(LANES) as u32, staged.rows as u32],
            }
            .record(gpu, pipelines, stream);
        }
        gpu.check()
    }

    fn rms_norm(
        &self,
        rows: usize,
        x: Mat,
        weight: Buffer,
        eps: f32,
        out: Mat,
    ) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, pipelines, .. } = &mut *self.state.lock();
        let (from, into) = (memory.floats(x.buffer), memory.floats(out.buffer));
        let weight = memory.floats(weight);
        check(x, rows, from, "rms_norm: x");
        check(out, rows, into, "rms_norm: out");
        assert_eq!(x.width, out.width, "rms_norm: widths differ");
        let size = weight.len;
        assert!(x.width.is_multiple_of(size), "rms_norm: width {} in groups of {size}", x.width);
        let in_place = x.buffer == out.buffer;
        let [stride, col] = [x.stride, x.col].map(|n| n as u32);
        let [out_stride, out_col] = [out.stride, out.col].map(|n| n as u32);
        Launch {
            stem: "rms_norm",
            constants: constants(&[("IN_PLACE", u32::from(in_place))]),
            // One buffer can't be bound twice, to be read and to be written; `x` is not looked at.
            bound: &[if in_place { weight } else { from }, weight, into],
            immediates: &[size as u32, eps.to_bits(), stride, col, out_stride, out_col],
            groups: [(x.width / size) as u32, rows as u32],
        }
        .record(gpu, pipelines, stream);
        gpu.check()
    }

    fn linear(&self, rows: usize, weight: Weight, x: Mat, out: Mat) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, pipelines, segments, .. } = &mut *self.state.lock();
        let weight = memory.weight(weight);
        let (from, into) = (memory.floats(x.buffer), memory.floats(out.buffer));
        check(x, rows, from, "linear: x");
        check(out, rows, into, "linear: out");
        assert_eq!((weight.rows, weight.cols), (out.width, x.width), "linear: shape of weight");
        assert_ne!(x.buffer, out.buffer, "linear: operands must be different buffers");
        let tile = if rows == 1 {
            1
        } else if rows <= 4 {
            4
        } else {
            8
        };
        for slab in &weight.slabs {
            Launch {
                stem: "linear",
                constants: constants(&[
                    ("FORMAT", slab.format.number),
                    ("GROUPS", (slab.format.unit / 32) as u32),
                    ("UNIT_WORDS", slab.format.words as u32),
                    ("SEGMENTS", *segments),
                    ("ROWS", tile),
                ]),
                bound: &[&slab.array, from, into],
                immediates: &words([
                    rows,
                    x.width,
                    slab.rows,
                    slab.units,
                    x.stride,
                    x.col,
                    out.stride,
                    out.col + slab.first,
                ]),
                groups: [
                    (slab.rows as u32).div_ceil(LANES as u32 / *segments),
                    (rows as u32).div_ceil(tile),
                ],
            }
            .record(gpu, pipelines, stream);
        }
        gpu.check()
    }

    fn rope_store(
        &self,
        stage: Stage,
        heads: Heads,
        rope: Buffer,
        qkv: Mat,
        keys: Buffer,
        values: Buffer,
    ) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, pipelines, .. } = &mut *self.state.lock();
        let (staged, x) = (memory.staged(stage), memory.floats(qkv.buffer));
        assert_eq!(qkv.width, heads.qkv_width(), "rope_store: columns of qkv");
        check(qkv, staged.rows, x, "rope_store: qkv");
        let lanes = (heads.n_q + 3 * heads.n_kv) * heads.dim / 2;
        Launch {
            stem: "rope_store",
            constants: NONE,
            bound: &[
                &staged.array,
                memory.floats(rope),
                x,
                memory.floats(keys),
                memory.floats(values),
            ],
            immediates: &words([heads.n_q, heads.n_kv, heads.dim, qkv.stride, qkv.col]),
            groups: [lanes.div_ceil(LANES) as u32, staged.rows as u32],
        }
        .record(gpu, pipelines, stream);
        gpu.check()
    }

    fn tree_attention(
        &self,
        stage: Stage,
        heads: Heads,
        qkv: Mat,
        keys: Buffer,
        values: Buffer,
        out: Mat,
    ) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, pipelines, .. } = &mut *self.state.lock();
        let (staged, x) = (memory.staged(stage), memory.floats(qkv.buffer));
        let into = memory.floats(out.buffer);
        assert_eq!(qkv.width, heads.qkv_width(), "tree_attention: columns of qkv");
        assert_eq!(out.width, heads.n_q * heads.dim, "tree_attention: columns of out");
        check(qkv, staged.rows, x, "tree_attention: qkv");
        check(out, staged.rows, into, "tree_attention: out");
        if heads.dim > DIM_MAX {
            let why = format!("heads of {} columns; at most {DIM_MAX} fit", heads.dim);
            return Err(DeviceError::Unsupported(why));
        }
        let scale = (heads.dim as f64).sqrt().recip() as f32;
        let [n_q, n_kv, dim] = [heads.n_q, heads.n_kv, heads.dim].map(|n| n as u32);
        let [stride, col] = [qkv.stride, qkv.col].map(|n| n as u32);
        let [out_stride, out_col] = [out.stride, out.col].map(|n| n as u32);
        Launch {
            stem: "tree_attention",
            constants: constants(&[("OWNED", dim.div_ceil(LANES as u32))]),
            bound: &[&staged.array, x, memory.floats(keys), memory.floats(values), into],
            immediates: &[n_q, n_kv, dim, stride, col, out_stride, out_col, scale.to_bits()],
            groups: [n_q, staged.rows as u32],
        }
        .record(gpu, pipelines, stream);
        gpu.check()
    }

    fn silu_mul(&self, rows: usize, gate_up: Mat, out: Mat) -> Result<(), DeviceError> {
        assert_eq!(gate_up.width, 2 * out.width, "silu_mul: gate and up columns");
        self.elements("silu_mul", rows, &[], gate_up, out)
    }

    fn add(&self, rows: usize, x: Mat, into: Mat) -> Result<(), DeviceError> {
        assert_eq!(x.width, into.width, "add: widths differ");
        self.elements("add", rows, &[], x, into)
    }

    fn gather_rows(&self, rows: usize, index: Buffer, x: Mat, out: Mat) -> Result<(), DeviceError> {
        assert_eq!(x.width, out.width, "gather_rows: widths differ");
        self.elements("gather_rows", rows, &[index], x, out)
    }

    fn sample_rows(
        &self,
        logits: Mat,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        self.state.lock().sample_rows(logits, sample, verdicts)
    }

    fn topk_logprob(
        &self,
        rows: usize,
        x: Mat,
        k: usize,
        best: &mut TopK,
    ) -> Result<(), DeviceError> {
        self.state.lock().topk_logprob(rows, x, k, best)
    }
}

impl WgpuKernels {
    /// Records an operation that takes an element of `out` a lane, with these sizes.
    fn elements(
        &self,
        stem: &'static str,
        rows: usize,
        index: &[Buffer],
        x: Mat,
        out: Mat,
    ) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, pipelines, .. } = &mut *self.state.lock();
        let (from, into) = (memory.floats(x.buffer), memory.floats(out.buffer));
        assert_ne!(x.buffer, out.buffer, "{stem}: operands must be different buffers");
        if index.is_empty() {
            check(x, rows, from, stem);
        }
        check(out, rows, into, stem);
        let mut bound: Vec<&Array> = Vec::with_capacity(3);
        bound.extend(index.iter().map(|&index| memory.numbers(index)));
        bound.extend([from, into]);
        Launch {
            stem,
            constants: NONE,
            bound: &bound,
            immediates: &words([rows, out.width, x.stride, x.col, out.stride, out.col]),
            groups: fold((rows * out.width).div_ceil(LANES)),
        }
        .record(gpu, pipelines, stream);
        gpu.check()
    }
}

/// Workgroups over x, then y.
fn fold(groups: usize) -> [u32; 2] {
    let across = (groups as u32).min(GROUPS_MAX);
    [across, (groups as u32).div_ceil(across.max(1))]
}

pub(crate) fn words<const N: usize>(sizes: [usize; N]) -> [u32; N] {
    sizes.map(|n| u32::try_from(n).expect("sizes are counted in 32 bits"))
}

/// Panics unless `rows` rows of `mat` lie inside `array`.
pub(crate) fn check(mat: Mat, rows: usize, array: &Array, what: &str) {
    let Mat { stride, col, width, .. } = mat;
    assert!(col + width <= stride, "{what}: columns {col}+{width} of a row of {stride}");
    let needed = if rows == 0 { 0 } else { (rows - 1) * stride + col + width };
    assert!(needed <= array.len, "{what}: {needed} elements needed, the buffer has {}", array.len);
}
