//! The fast forms: vectors of sixteen lanes, a pool of threads, no allocation after warm-up.
//!
//! Threads divide rows (attention: rows and key heads), never a sum, so no result depends on their
//! number; tails are padded to whole vectors, so none depends on where a row lies.
//!
//! Reading order: `simd` (the vectors), `rows` (how threads share a matrix),
//! `kv_element` (how keys and values are kept), one file per
//! operation, of which `tree_attention` is the one with a design.

// Kernels are inlined into a function per instruction set, or they would not be compiled for it;
// index loops over lanes are what the vectoriser reads best; intrinsics have names of their own.
#![allow(clippy::inline_always, clippy::needless_range_loop, clippy::wildcard_imports)]

mod add;
mod candidates;
mod embed;
mod gather_rows;
mod kv_element;
mod mass;
mod rms_norm;
mod rope_store;
mod rows;
mod sample_rows;
mod silu_mul;
mod simd;
mod topk_logprob;
mod tree_attention;

use crate::area::Area;
use crate::linear::{Activations, Isa, PackedWeight, Scratch};
use crate::pages::Arena;
use crate::pool::Pool;
use echo_core::{DeviceError, TensorView};

/// Elements below which a second thread costs more than it saves.
const ELEMENTS_SHARED_MIN: usize = 1 << 14;

/// The fast path: an instruction set, threads, and buffers kept between calls.
pub(crate) struct Fast {
    isa: Isa,
    activations: Activations,
    pool: Pool,
    arena: Arena,
    linear: Scratch,
    attention: tree_attention::Scratch,
    sampling: sample_rows::Scratch,
}

impl Fast {
    /// Panics if `isa` is not available on this processor.
    pub(crate) fn new(threads: usize, isa: Isa, activations: Activations) -> Self {
        assert!(
            Isa::available().contains(&isa),
            "this processor has no {isa}; choose one of {:?}",
            Isa::available()
        );
        let pool = Pool::new(threads);
        Fast {
            isa,
            activations,
            arena: Arena::default(),
            linear: Scratch::default(),
            attention: tree_attention::Scratch::new(pool.threads()),
            sampling: sample_rows::Scratch::new(pool.threads()),
            pool,
        }
    }

    /// Repacks a weight for the linear layer of this path.
    pub(crate) fn pack(&mut self, parts: &[TensorView<'_>]) -> Result<PackedWeight, DeviceError> {
        let weight = PackedWeight::new_in(parts, self.isa, &self.pool, &mut self.arena)?;
        Ok(weight.with_activations(self.activations))
    }

    pub(crate) fn linear(
        &mut self,
        rows: usize,
        weight: &PackedWeight,
        x: &[f32],
        x_area: Area,
        out: &mut [f32],
        out_area: Area,
    ) {
        assert_eq!(weight.cols(), x_area.width, "linear: columns of x");
        assert_eq!(weight.rows(), out_area.width, "linear: columns of out");
        weight.apply(
            &self.pool,
            &mut self.linear,
            rows,
            x,
            x_area.stride,
            x_area.col,
            out,
            out_area.stride,
            out_area.col,
        );
    }

    /// Calls `f` for each row, on several threads if there is enough to do.
    fn each_row(&self, rows: usize, width: usize, f: &(dyn Fn(usize) + Sync)) {
        if rows * width < ELEMENTS_SHARED_MIN {
            (0..rows).for_each(f);
        } else {
            self.pool.run(rows, f);
        }
    }
}
