//! The fast form of [`silu_mul`](crate::reference::silu_mul()): the exponential in sixteen lanes.

use super::Fast;
use super::rows::Rows;
use super::simd::{LANES, Simd, exp, load_part, store_part, versions};
use crate::area::Area;

impl Fast {
    pub(crate) fn silu_mul(
        &self,
        rows: usize,
        gate_up: &[f32],
        in_area: Area,
        out: &mut [f32],
        out_area: Area,
    ) {
        let width = out_area.width;
        assert_eq!(in_area.width, 2 * width, "silu_mul: gate and up columns");
        in_area.check(rows, gate_up.len(), "silu_mul: gate_up");
        let out = Rows::new(out, out_area, rows);
        self.each_row(rows, in_area.width, &|row| {
            let (gate, up) = gate_up[in_area.at(row, 0)..][..2 * width].split_at(width);
            // SAFETY: each row is worked on once, and all three slices are `width` long.
            unsafe { gated_on(self.isa, gate, up, out.row_mut(row)) };
        });
    }
}

versions!(gated_on = gated(gate: &[f32], up: &[f32], out: &mut [f32]));

/// Safety: the slices are equally long; the instruction set of `S`.
#[inline(always)]
unsafe fn gated<S: Simd>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    let (n, tail) = (out.len() / LANES * LANES, out.len() % LANES);
    // SAFETY: all offsets are below the slices' length; parts are `tail < 16` floats.
    unsafe {
        for i in (0..n).step_by(LANES) {
            let (gate, up) = (S::load(gate.as_ptr().add(i)), S::load(up.as_ptr().add(i)));
            S::store(out.as_mut_ptr().add(i), gated_lanes::<S>(gate, up));
        }
        if tail > 0 {
            let gate = load_part::<S>(gate.as_ptr().add(n), tail);
            let up = load_part::<S>(up.as_ptr().add(n), tail);
            store_part::<S>(out.as_mut_ptr().add(n), gated_lanes::<S>(gate, up), tail);
        }
    }
}

/// Safety: the instruction set of `S`.
#[inline(always)]
unsafe fn gated_lanes<S: Simd>(gate: S::V, up: S::V) -> S::V {
    // SAFETY: handed on to the caller.
    unsafe {
        let e = exp::<S>(S::sub(S::splat(0.0), gate));
        S::mul(S::div(gate, S::add(S::splat(1.0), e)), up)
    }
}
