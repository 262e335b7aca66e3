//! What the operations of a forward must move at least, and how fast a device moves anything.

use super::decoded::median;
use anyhow::Result;
use echo_core::port::{Data, Element, Heads, Mat, Stage, Weight};
use echo_core::{Kernels, PackedView, TensorView};
use parking_lot::Mutex;
use std::time::Instant;

/// Bytes of an element of a buffer.
const WORD: usize = 4;

/// What is known of weights and staged rows, by the numbers of their ids.
pub(super) struct Traffic {
    /// Bytes of an element of keys and values.
    kv_bytes: usize,
    /// Bytes and rows of each weight, as the file has them.
    weights: Mutex<Vec<(usize, usize)>>,
    /// Rows of each stage, and positions that its rows see, each once for its sequence.
    stages: Mutex<Vec<(usize, usize)>>,
}

impl Traffic {
    pub(super) fn new(kv_bytes: usize) -> Self {
        let (weights, stages) = Default::default();
        Traffic { kv_bytes, weights, stages }
    }

    pub(super) fn weight(&self, weight: Weight, parts: &[TensorView<'_>]) {
        let bytes = parts.iter().map(|part| part.bytes.len()).sum();
        let rows = parts.iter().map(|part| part.rows).sum();
        put(&mut self.weights.lock(), weight.0, (bytes, rows));
    }

    pub(super) fn stage(&self, stage: Stage, packed: PackedView<'_>) {
        let drafted: usize = (0..packed.n_seqs()).map(|s| packed.drafted(s).len()).sum();
        put(&mut self.stages.lock(), stage.0, (packed.rows(), packed.table.len() + drafted));
    }

    /// Rows of `stage`.
    pub(super) fn rows(&self, stage: Stage) -> usize {
        self.stages.lock().get(stage.0 as usize).map_or(0, |s| s.0)
    }

    pub(super) fn embed(&self, stage: Stage, table: Weight, out: Mat) -> usize {
        let (bytes, rows) = self.weights.lock()[table.0 as usize];
        self.rows(stage) * (bytes / rows.max(1) + WORD * out.width)
    }

    pub(super) fn linear(&self, rows: usize, weight: Weight, x: Mat, out: Mat) -> usize {
        self.weights.lock()[weight.0 as usize].0 + WORD * rows * (x.width + out.width)
    }

    /// Queries are read and turned, keys turned and stored, values stored.
    pub(super) fn rope_store(&self, stage: Stage, heads: Heads) -> usize {
        let read = WORD * (heads.n_q + 2 * heads.n_kv);
        let written = WORD * heads.n_q + self.kv_bytes * 2 * heads.n_kv;
        self.rows(stage) * heads.dim * (read + written)
    }

    pub(super) fn attention(&self, stage: Stage, heads: Heads) -> usize {
        let (rows, seen) = self.stages.lock().get(stage.0 as usize).copied().unwrap_or_default();
        heads.dim * (self.kv_bytes * 2 * seen * heads.n_kv + WORD * 2 * rows * heads.n_q)
    }
}

fn put(all: &mut Vec<(usize, usize)>, at: u32, known: (usize, usize)) {
    let at = at as usize;
    if all.len() <= at {
        all.resize(at + 1, (0, 0));
    }
    all[at] = known;
}

/// Gigabytes a second, read and written together, at which `kernels` copies the rows of a matrix of
/// 32 MB: the median of some. Many copies share a wait, which is no part of their time.
pub(super) fn copy_rate(kernels: &dyn Kernels) -> Result<f64> {
    let (rows, width) = (8192, 1024);
    let x = kernels.alloc(Element::F32, rows * width, "a matrix to copy")?;
    let out = kernels.alloc(Element::F32, rows * width, "its copy")?;
    let index = kernels.alloc(Element::U32, rows, "its rows")?;
    kernels.write(index, 0, Data::U32(&(0..rows as u32).collect::<Vec<_>>()))?;
    let copy = |times: usize| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..times {
            kernels.gather_rows(rows, index, Mat::new(x, width), Mat::new(out, width))?;
        }
        kernels.read(out, 0, &mut [0.0])?;
        Ok(start.elapsed().as_secs_f64())
    };
    copy(1)?;
    let time = || Ok((copy(9)? - copy(1)?).max(1e-9) / 8.0);
    let times = (0..5).map(|_| time()).collect::<Result<Vec<_>>>()?;
    Ok((2 * WORD * rows * width) as f64 / 1e9 / median(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_count_as_they_are_kept() {
        let heads = Heads { n_q: 9, n_kv: 3, dim: 64 };
        let attention = |kv_bytes| {
            let traffic = Traffic::new(kv_bytes);
            put(&mut traffic.stages.lock(), 0, (1, 1024));
            traffic.attention(Stage(0), heads)
        };
        let queries = 4 * 64 * 2 * 9;
        assert_eq!(attention(4) - queries, 2 * (attention(2) - queries));
        assert_eq!(attention(2) - queries, 1024 * 2 * 2 * 3 * 64);
    }
}
