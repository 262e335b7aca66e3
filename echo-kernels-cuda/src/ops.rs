//! The kernels port: each operation checks its operands and queues what it has to do.

use crate::attention::Attention;
use crate::driver::{Arg, Entry, Geometry, Launch};
use crate::kernels::CudaKernels;
use crate::linear;
use crate::memory::Rows;
use crate::op::Op;
use crate::staged::Field;
use echo_core::port::{Buffer, Element, Heads, Kernels, Mat, Stage, Weight};
use echo_core::sampling::SampleView;
use echo_core::{DeviceError, TopK, Verdicts};

/// Columns that a block of the simple kernels covers.
const COLS: usize = 1024;
/// Most columns that `topk_logprob` and `sample_rows` list.
const LISTED_MAX: usize = 1024;

impl Kernels for CudaKernels {
    fn embed(&self, stage: Stage, table: Weight, out: Mat) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let memory = &state.memory;
        let (staged, matrix) = (memory.stage(stage), memory.matrix(table));
        let to = memory.rows(out, staged.n_rows, "embed: out");
        assert_eq!(matrix.cols, to.width, "embed: columns of the table");
        let [part] = &matrix.parts[..] else {
            let why = "an embedding whose parts have different types".to_owned();
            return Err(DeviceError::Unsupported(why));
        };
        let args = [
            state.queue.live(&*self.driver)?,
            staged.address(Field::Token),
            part.address.into(),
            part.rows.into(),
            to.address.into(),
            to.stride.into(),
            to.width.into(),
        ];
        let entry = Entry { stem: "embed", name: linear::embed_name(part.dtype) };
        let op = Op::rows(entry, to.width.div_ceil(COLS), 128, 0, args);
        state.queue.push(&*self.driver, staged.n_rows, None, op)
    }

    fn rms_norm(
        &self,
        rows: usize,
        x: Mat,
        weight: Buffer,
        eps: f32,
        out: Mat,
    ) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let memory = &state.memory;
        let (from, to) =
            (memory.rows(x, rows, "rms_norm: x"), memory.rows(out, rows, "rms_norm: out"));
        let (weight, group) = memory.floats(weight);
        assert_eq!(from.width, to.width, "rms_norm: widths differ");
        let width = from.width;
        assert!(width.is_multiple_of(group), "rms_norm: width {width} is no multiple of {group}");
        assert!(
            x.buffer != out.buffer || x == out || apart(x, out),
            "rms_norm: out overlaps x but is not x"
        );
        // A thread for each four columns, by the group alone: the order of its sum follows.
        let threads = (group.div_ceil(4).next_multiple_of(32) as u32).min(1024);
        let args = [
            state.queue.live(&*self.driver)?,
            from.address.into(),
            from.stride.into(),
            weight.into(),
            group.into(),
            eps.into(),
            to.address.into(),
            to.stride.into(),
        ];
        let entry = Entry { stem: "rms_norm", name: "rms_norm" };
        let op = Op::rows(entry, width / group, threads, threads / 32 * 4, args);
        state.queue.push(&*self.driver, rows, None, op)
    }

    fn linear(&self, rows: usize, weight: Weight, x: Mat, out: Mat) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let from = state.memory.rows(x, rows, "linear: x");
        let to = state.memory.rows(out, rows, "linear: out");
        different([x.buffer, out.buffer]);
        let matrix = state.memory.matrix(weight);
        assert_eq!(matrix.cols, from.width, "linear: columns of the weight");
        assert_eq!(matrix.rows(), to.width, "linear: rows of the weight");
        let (queue, slices) = (&mut state.queue, &mut state.slices);
        linear::push(&*self.driver, queue, slices, rows, matrix, [from, to])
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
        let state = &mut *self.state.lock();
        let memory = &state.memory;
        let staged = memory.stage(stage);
        let x = memory.rows(qkv, staged.n_rows, "rope_store: qkv");
        assert_eq!(x.width, heads.qkv_width(), "rope_store: columns of qkv");
        different([rope, qkv.buffer, keys, values]);
        let args = [
            state.queue.live(&*self.driver)?,
            staged.address(Field::Position),
            staged.address(Field::Slot),
            memory.floats(rope).0.into(),
            x.address.into(),
            x.stride.into(),
            memory.floats(keys).0.into(),
            memory.floats(values).0.into(),
            heads.n_q.into(),
            heads.n_kv.into(),
            heads.dim.into(),
        ];
        // A thread for each four columns of half a head.
        let threads = (heads.n_q + 2 * heads.n_kv) * (heads.dim / 2).div_ceil(4);
        let entry = Entry { stem: "rope_store", name: "rope_store" };
        let op = Op::rows(entry, threads.div_ceil(128), 128, 0, args);
        state.queue.push(&*self.driver, staged.n_rows, None, op)
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
        let state = &mut *self.state.lock();
        let live = state.queue.live(&*self.driver)?;
        let splits = state.splits(&*self.driver, stage, heads)?;
        let memory = &state.memory;
        let staged = memory.stage(stage);
        let x = memory.rows(qkv, staged.n_rows, "tree_attention: qkv");
        let to = memory.rows(out, staged.n_rows, "tree_attention: out");
        assert_eq!(x.width, heads.qkv_width(), "tree_attention: columns of qkv");
        assert_eq!(to.width, heads.n_q * heads.dim, "tree_attention: columns of out");
        different([qkv.buffer, keys, values, out.buffer]);
        let cache = [memory.floats(keys).0, memory.floats(values).0];
        let attention = Attention::new(live, splits, staged, heads, x, cache, to);
        let (rows, reach) = (staged.n_rows, attention.reach(staged));
        state.queue.push(&*self.driver, rows, Some(reach), Op::Attention(attention))
    }

    fn silu_mul(&self, rows: usize, gate_up: Mat, out: Mat) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let memory = &state.memory;
        let from = memory.rows(gate_up, rows, "silu_mul: gate_up");
        let to = memory.rows(out, rows, "silu_mul: out");
        assert_eq!(from.width, 2 * to.width, "silu_mul: gate and up columns");
        different([gate_up.buffer, out.buffer]);
        let entry = Entry { stem: "silu_mul", name: "silu_mul" };
        let args = pair(state.queue.live(&*self.driver)?, from, to);
        let op = Op::rows(entry, to.width.div_ceil(COLS), 256, 0, args);
        state.queue.push(&*self.driver, rows, None, op)
    }

    fn add(&self, rows: usize, x: Mat, into: Mat) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let memory = &state.memory;
        let (from, to) = (memory.rows(x, rows, "add: x"), memory.rows(into, rows, "add: into"));
        assert_eq!(from.width, to.width, "add: widths differ");
        different([x.buffer, into.buffer]);
        let entry = Entry { stem: "add", name: "add" };
        let args = pair(state.queue.live(&*self.driver)?, from, to);
        let op = Op::rows(entry, to.width.div_ceil(COLS), 256, 0, args);
        state.queue.push(&*self.driver, rows, None, op)
    }

    fn gather_rows(&self, rows: usize, index: Buffer, x: Mat, out: Mat) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let memory = &state.memory;
        let index_address = memory.range(index, Element::U32, 0, rows);
        let to = memory.rows(out, rows, "gather_rows: out");
        let from = memory.rows(x, 1, "gather_rows: x");
        assert_eq!(from.width, to.width, "gather_rows: widths differ");
        different([index, x.buffer, out.buffer]);
        // Whole rows that lie in the buffer.
        let x_rows = (memory.floats(x.buffer).1 - x.col - x.width) / x.stride + 1;
        let args = [
            state.queue.live(&*self.driver)?,
            index_address.into(),
            from.address.into(),
            from.stride.into(),
            x_rows.into(),
            to.address.into(),
            to.stride.into(),
            to.width.into(),
        ];
        let entry = Entry { stem: "gather_rows", name: "gather_rows" };
        let op = Op::rows(entry, to.width.div_ceil(4 * COLS), 256, 0, args);
        state.queue.push(&*self.driver, rows, None, op)
    }

    fn sample_rows(
        &self,
        logits: Mat,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let x = state.memory.rows(logits, sample.specs.len(), "sample_rows: logits");
        listed(verdicts.top_stride, "alternatives")?;
        state.queue.flush(&*self.driver)?;
        state.sampler.sample(&*self.driver, x, sample, verdicts)
    }

    fn topk_logprob(
        &self,
        rows: usize,
        x: Mat,
        k: usize,
        best: &mut TopK,
    ) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let from = state.memory.rows(x, rows, "topk_logprob: x");
        assert!((1..=from.width).contains(&k), "topk_logprob: k is {k} of {} columns", from.width);
        listed(k, "columns")?;
        best.reset(rows, k);
        state.queue.flush(&*self.driver)?;
        if rows == 0 {
            return Ok(());
        }
        let answers = state.best.reserve(&*self.driver, 8 * rows * k, "best columns")?;
        // Scratch, the histogram, and the keys.
        let shared_bytes = (40 * 8 + 2048 * 4 + 2 * k * 8) as u32;
        let geometry = Geometry { grid: [rows as u32, 1, 1], threads: 1024, shared_bytes };
        let args =
            [from.address.into(), from.stride.into(), from.width.into(), k.into(), answers.into()];
        let entry = Entry { stem: "topk_logprob", name: "topk_logprob" };
        self.driver.launch(&Launch { entry, geometry, args: args.into() })?;
        state.best_host.resize(2 * rows * k, 0);
        self.driver.read(answers, bytemuck::cast_slice_mut(&mut state.best_host))?;
        for (i, answer) in state.best_host.chunks_exact(2).enumerate() {
            best.column[i] = answer[0];
            best.log_prob[i] = f32::from_bits(answer[1]);
        }
        Ok(())
    }
}

fn pair(live: Arg, from: Rows, to: Rows) -> [Arg; 6] {
    let (x, out) =
        ([from.address.into(), from.stride.into()], [to.address.into(), to.stride.into()]);
    [live, x[0], x[1], out[0], out[1], to.width.into()]
}

/// Whether two operands in one buffer share no element, row for row.
fn apart(a: Mat, b: Mat) -> bool {
    a.stride == b.stride && (a.col + a.width <= b.col || b.col + b.width <= a.col)
}

fn different<const N: usize>(buffers: [Buffer; N]) {
    for i in 1..N {
        assert!(
            !buffers[..i].contains(&buffers[i]),
            "operands must be different buffers: {buffers:?}"
        );
    }
}

fn listed(n: usize, what: &str) -> Result<(), DeviceError> {
    if n <= LISTED_MAX {
        return Ok(());
    }
    Err(DeviceError::Unsupported(format!("{n} {what} listed per row; at most {LISTED_MAX}")))
}
