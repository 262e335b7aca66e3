//! The suite's guard words: a backend that goes beyond the columns it was given must be caught,
//! also where poison in makes poison out.

use echo_core::port::{Buffer, Data, Element, Heads, Mat, Stage, Weight};
use echo_core::{
    Device, DeviceError, Kernels, Limits, PackedView, SampleView, TensorView, TopK, Verdicts,
};
use echo_kernels_cpu::conformance::{boxed, run_stem};
use echo_kernels_cpu::{CpuKernels, CpuOptions, Path};

type Done = Result<(), DeviceError>;

/// Sound kernels that then do the first column after those of the first row, too.
struct Beyond(CpuKernels);

/// The columns after those of `mat`.
fn after(mat: Mat, width: usize) -> Mat {
    Mat { col: mat.col + mat.width, width, ..mat }
}

impl Device for Beyond {
    fn alloc(&self, element: Element, len: usize, what: &str) -> Result<Buffer, DeviceError> {
        self.0.alloc(element, len, what)
    }
    fn open_stage(&self, limits: &Limits) -> Result<Stage, DeviceError> {
        self.0.open_stage(limits)
    }
    fn stage(&self, stage: Stage, packed: PackedView<'_>) -> Done {
        self.0.stage(stage, packed)
    }

    fn weight(&self, parts: &[TensorView<'_>]) -> Result<Weight, DeviceError> {
        self.0.weight(parts)
    }
    fn write(&self, buffer: Buffer, start: usize, data: Data<'_>) -> Done {
        self.0.write(buffer, start, data)
    }
    fn read(&self, buffer: Buffer, start: usize, out: &mut [f32]) -> Done {
        self.0.read(buffer, start, out)
    }
}

impl Kernels for Beyond {
    fn embed(&self, stage: Stage, table: Weight, out: Mat) -> Done {
        self.0.embed(stage, table, out)
    }
    fn rms_norm(&self, rows: usize, x: Mat, weight: Buffer, eps: f32, out: Mat) -> Done {
        self.0.rms_norm(rows, x, weight, eps, out)
    }
    fn linear(&self, rows: usize, weight: Weight, x: Mat, out: Mat) -> Done {
        self.0.linear(rows, weight, x, out)
    }
    fn rope_store(
        &self,
        stage: Stage,
        heads: Heads,
        rope: Buffer,
        qkv: Mat,
        keys: Buffer,
        values: Buffer,
    ) -> Done {
        self.0.rope_store(stage, heads, rope, qkv, keys, values)
    }
    fn tree_attention(
        &self,
        stage: Stage,
        heads: Heads,
        qkv: Mat,
        keys: Buffer,
        values: Buffer,
        out: Mat,
    ) -> Done {
        self.0.tree_attention(stage, heads, qkv, keys, values, out)
    }
    fn silu_mul(&self, rows: usize, gate_up: Mat, out: Mat) -> Done {
        self.0.silu_mul(rows, gate_up, out)?;
        self.0.silu_mul(rows.min(1), after(gate_up, 2), after(out, 1))
    }
    fn add(&self, rows: usize, x: Mat, into: Mat) -> Done {
        self.0.add(rows, x, into)?;
        self.0.add(rows.min(1), after(x, 1), after(into, 1))
    }
    fn gather_rows(&self, rows: usize, index: Buffer, x: Mat, out: Mat) -> Done {
        self.0.gather_rows(rows, index, x, out)?;
        self.0.gather_rows(rows.min(1), index, after(x, 1), after(out, 1))
    }
    fn sample_rows(&self, logits: Mat, sample: SampleView<'_>, verdicts: &mut Verdicts) -> Done {
        self.0.sample_rows(logits, sample, verdicts)
    }
    fn topk_logprob(&self, rows: usize, x: Mat, k: usize, best: &mut TopK) -> Done {
        self.0.topk_logprob(rows, x, k, best)
    }
}

#[test]
fn a_column_too_many_is_caught() {
    let options = CpuOptions { threads: 1, path: Path::Reference, ..CpuOptions::default() };
    let open = || boxed(Beyond(CpuKernels::new(options)));
    for stem in ["add", "silu_mul", "gather_rows"] {
        let report = run_stem(stem, &[&open]);
        let seen = report.failures.iter().filter(|failure| failure.contains("guard")).count();
        // All sizes but that of no rows.
        assert_eq!(seen, 4, "{stem}: {report}");
    }
}
