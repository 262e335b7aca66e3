//! The kernels port: each operation takes its operands from memory and hands them to the
//! reference or to the fast form.

use crate::area::Area;
use crate::cpu::{CpuKernels, State};
use crate::kv::Kv;
use crate::memory::Stored;
use crate::reference;
use echo_core::port::{Buffer, Heads, Kernels, Mat, Stage, Weight};
use echo_core::sampling::SampleView;
use echo_core::{DeviceError, TopK, Verdicts};

impl Kernels for CpuKernels {
    fn embed(&self, stage: Stage, table: Weight, out: Mat) -> Result<(), DeviceError> {
        let State { memory, fast, .. } = &mut *self.state.lock();
        let (stored, staged, into) = memory.weight_stage_out(table, stage, out.buffer);
        let (token, area) = (staged.view().token, Area::from(out));
        area.check(token.len(), into.len(), "embed: out");
        match (stored, fast) {
            (Stored::Packed(weight), Some(fast)) => fast.embed(token, weight, into, area),
            (Stored::Plain { values, cols }, _) => {
                assert_eq!(*cols, area.width, "embed: columns of the table");
                reference::embed(token, values, into, area);
            }
            (Stored::Packed(_), None) => unreachable!("weights are packed on the fast path only"),
        }
        Ok(())
    }

    fn rms_norm(
        &self,
        rows: usize,
        x: Mat,
        weight: Buffer,
        eps: f32,
        out: Mat,
    ) -> Result<(), DeviceError> {
        let State { memory, fast, slow } = &mut *self.state.lock();
        let (x_area, out_area) = (Area::from(x), Area::from(out));
        x_area.check(rows, memory.floats(x.buffer).len(), "rms_norm: x");
        out_area.check(rows, memory.floats(out.buffer).len(), "rms_norm: out");
        let in_place = x.buffer == out.buffer;
        assert!(
            !in_place || x_area == out_area || x_area.is_apart_from(&out_area),
            "rms_norm: out overlaps x but is not x"
        );
        match fast {
            Some(fast) if in_place => {
                let [weight, out] = memory.floats_mut([weight, out.buffer]);
                fast.rms_norm_within(rows, out, x_area, weight, eps, out_area);
            }
            Some(fast) => {
                let [x, weight, out] = memory.floats_mut([x.buffer, weight, out.buffer]);
                fast.rms_norm(rows, x, x_area, weight, eps, out, out_area);
            }
            None => {
                slow.operand.clear();
                slow.operand.extend_from_slice(memory.floats(x.buffer));
                let [weight, out] = memory.floats_mut([weight, out.buffer]);
                reference::rms_norm(rows, &slow.operand, x_area, weight, eps, out, out_area);
            }
        }
        Ok(())
    }

    fn linear(&self, rows: usize, weight: Weight, x: Mat, out: Mat) -> Result<(), DeviceError> {
        let State { memory, fast, .. } = &mut *self.state.lock();
        let (stored, [from, into]) = memory.weight_and_floats(weight, [x.buffer, out.buffer]);
        let (x_area, out_area) = (Area::from(x), Area::from(out));
        x_area.check(rows, from.len(), "linear: x");
        out_area.check(rows, into.len(), "linear: out");
        match (stored, fast) {
            (Stored::Packed(weight), Some(fast)) => {
                fast.linear(rows, weight, from, x_area, into, out_area);
            }
            (Stored::Plain { values, .. }, _) => {
                reference::linear(rows, values, from, x_area, into, out_area);
            }
            (Stored::Packed(_), None) => unreachable!("weights are packed on the fast path only"),
        }
        Ok(())
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
        let State { memory, fast, .. } = &mut *self.state.lock();
        let (staged, kv, [rope, x]) =
            memory.staged_and_kv(stage, [keys, values], [rope, qkv.buffer]);
        let (packed, area) = (staged.view(), Area::from(qkv));
        assert_eq!(area.width, heads.qkv_width(), "rope_store: columns of qkv");
        area.check(packed.rows(), x.len(), "rope_store: qkv");
        match (fast, kv) {
            (Some(fast), Kv::F16 { keys, values }) => {
                fast.rope_store(packed, heads, rope, x, area, keys, values);
            }
            (Some(fast), Kv::F32 { keys, values }) => {
                fast.rope_store(packed, heads, rope, x, area, keys, values);
            }
            (None, Kv::F32 { keys, values }) => {
                reference::rope_store(packed, heads, rope, x, area, keys, values);
            }
            (None, Kv::F16 { .. }) => unreachable!("halves are kept on the fast path only"),
        }
        Ok(())
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
        let State { memory, fast, .. } = &mut *self.state.lock();
        let (staged, kv, [x, into]) =
            memory.staged_and_kv(stage, [keys, values], [qkv.buffer, out.buffer]);
        let packed = staged.view();
        let (x_area, out_area) = (Area::from(qkv), Area::from(out));
        assert_eq!(x_area.width, heads.qkv_width(), "tree_attention: columns of qkv");
        assert_eq!(out_area.width, heads.n_q * heads.dim, "tree_attention: columns of out");
        x_area.check(packed.rows(), x.len(), "tree_attention: qkv");
        out_area.check(packed.rows(), into.len(), "tree_attention: out");
        let longest = staged.context_max();
        match (fast, kv) {
            (Some(fast), Kv::F16 { keys, values }) => {
                fast.tree_attention(
                    packed, longest, heads, x, x_area, keys, values, into, out_area,
                );
            }
            (Some(fast), Kv::F32 { keys, values }) => {
                fast.tree_attention(
                    packed, longest, heads, x, x_area, keys, values, into, out_area,
                );
            }
            (None, Kv::F32 { keys, values }) => {
                reference::tree_attention(packed, heads, x, x_area, keys, values, into, out_area);
            }
            (None, Kv::F16 { .. }) => unreachable!("halves are kept on the fast path only"),
        }
        Ok(())
    }

    fn silu_mul(&self, rows: usize, gate_up: Mat, out: Mat) -> Result<(), DeviceError> {
        let State { memory, fast, .. } = &mut *self.state.lock();
        let [x, into] = memory.floats_mut([gate_up.buffer, out.buffer]);
        let (x_area, out_area) = (Area::from(gate_up), Area::from(out));
        x_area.check(rows, x.len(), "silu_mul: gate_up");
        out_area.check(rows, into.len(), "silu_mul: out");
        match fast {
            Some(fast) => fast.silu_mul(rows, x, x_area, into, out_area),
            None => reference::silu_mul(rows, x, x_area, into, out_area),
        }
        Ok(())
    }

    fn add(&self, rows: usize, x: Mat, into: Mat) -> Result<(), DeviceError> {
        let State { memory, fast, .. } = &mut *self.state.lock();
        let [from, to] = memory.floats_mut([x.buffer, into.buffer]);
        let (x_area, into_area) = (Area::from(x), Area::from(into));
        x_area.check(rows, from.len(), "add: x");
        into_area.check(rows, to.len(), "add: into");
        match fast {
            Some(fast) => fast.add(rows, from, x_area, to, into_area),
            None => reference::add(rows, from, x_area, to, into_area),
        }
        Ok(())
    }

    fn gather_rows(&self, rows: usize, index: Buffer, x: Mat, out: Mat) -> Result<(), DeviceError> {
        let State { memory, fast, .. } = &mut *self.state.lock();
        let (index, from, into) = memory.indexed(index, x.buffer, out.buffer);
        let (x_area, out_area) = (Area::from(x), Area::from(out));
        out_area.check(rows, into.len(), "gather_rows: out");
        match fast {
            Some(fast) => fast.gather_rows(rows, index, from, x_area, into, out_area),
            None => reference::gather_rows(rows, index, from, x_area, into, out_area),
        }
        Ok(())
    }

    fn sample_rows(
        &self,
        logits: Mat,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let State { memory, fast, slow } = &mut *self.state.lock();
        let (x, area) = (memory.floats(logits.buffer), Area::from(logits));
        area.check(sample.specs.len(), x.len(), "sample_rows: logits");
        match fast {
            Some(fast) => fast.sample_rows(x, area, sample, verdicts),
            None => reference::sample_rows(x, area, sample, &mut slow.sampling, verdicts),
        }
        Ok(())
    }

    fn topk_logprob(
        &self,
        rows: usize,
        x: Mat,
        k: usize,
        best: &mut TopK,
    ) -> Result<(), DeviceError> {
        let State { memory, fast, .. } = &mut *self.state.lock();
        let (values, area) = (memory.floats(x.buffer), Area::from(x));
        area.check(rows, values.len(), "topk_logprob: x");
        match fast {
            Some(fast) => fast.topk_logprob(rows, values, area, k, best),
            None => reference::topk_logprob(rows, values, area, k, best),
        }
        Ok(())
    }
}
