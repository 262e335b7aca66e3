//! The fast form of [`rms_norm`](crate::reference::rms_norm()): two passes over a group in cache.
//!
//! Squares are summed in two vectors of sixteen lanes, vectors in turn, then as a tree: the order
//! depends on the size of a group alone.

use super::Fast;
use super::rows::Rows;
use super::simd::{LANES, Simd, load_part, store_part, sum, versions};
use crate::area::Area;

impl Fast {
    pub(crate) fn rms_norm(
        &self,
        rows: usize,
        x: &mut [f32],
        x_area: Area,
        weight: &[f32],
        eps: f32,
        out: &mut [f32],
        out_area: Area,
    ) {
        let [x, out] = [Rows::new(x, x_area, rows), Rows::new(out, out_area, rows)];
        self.normalise(rows, x, x_area, weight, eps, out, out_area);
    }

    /// As above where input and output are in one buffer, the same columns or apart.
    pub(crate) fn rms_norm_within(
        &self,
        rows: usize,
        buffer: &mut [f32],
        x_area: Area,
        weight: &[f32],
        eps: f32,
        out_area: Area,
    ) {
        let [x, out] = Rows::two_of(buffer, [x_area, out_area], rows);
        self.normalise(rows, x, x_area, weight, eps, out, out_area);
    }

    fn normalise(
        &self,
        rows: usize,
        x: Rows<'_>,
        x_area: Area,
        weight: &[f32],
        eps: f32,
        out: Rows<'_>,
        out_area: Area,
    ) {
        let width = x_area.width;
        assert_eq!(width, out_area.width, "rms_norm: widths differ");
        assert!(
            width.is_multiple_of(weight.len()),
            "rms_norm: width {width} is no multiple of {}",
            weight.len()
        );
        self.each_row(rows, width, &|row| {
            for first in (0..width).step_by(weight.len()) {
                // SAFETY: `Rows` has checked `width` floats behind both pointers, a group that
                // begins before `width` ends there too, and each row is worked on once. Input and
                // output are equal or apart, and the kernel reads an element before it writes it.
                unsafe {
                    let (x, out) = (x.pointer(row).add(first), out.pointer(row).add(first));
                    group_on(self.isa, x, weight, eps, out);
                }
            }
        });
    }
}

versions!(group_on = group(x: *const f32, weight: &[f32], eps: f32, out: *mut f32));

/// Normalises `weight.len()` floats.
///
/// Safety: that many floats at `x` and at `out`, equal or apart; the instruction set of `S`.
#[inline(always)]
unsafe fn group<S: Simd>(x: *const f32, weight: &[f32], eps: f32, out: *mut f32) {
    let (n, tail) = (weight.len() / LANES * LANES, weight.len() % LANES);
    // SAFETY: all offsets are below `weight.len()`; parts are `tail < 16` floats.
    unsafe {
        let mut squares = [S::splat(0.0); 2];
        for (turn, i) in (0..n).step_by(LANES).enumerate() {
            let v = S::load(x.add(i));
            squares[turn % 2] = S::fma(v, v, squares[turn % 2]);
        }
        if tail > 0 {
            let v = load_part::<S>(x.add(n), tail);
            squares[0] = S::fma(v, v, squares[0]);
        }
        let mean = sum::<S>(S::add(squares[0], squares[1])) / weight.len() as f32;
        let scale = S::splat(1.0 / (mean + eps).sqrt());
        for i in (0..n).step_by(LANES) {
            let scaled = S::mul(S::load(x.add(i)), scale);
            S::store(out.add(i), S::mul(scaled, S::load(weight.as_ptr().add(i))));
        }
        if tail > 0 {
            let scaled = S::mul(load_part::<S>(x.add(n), tail), scale);
            let w = load_part::<S>(weight.as_ptr().add(n), tail);
            store_part::<S>(out.add(n), S::mul(scaled, w), tail);
        }
    }
}
