//! The fast form of [`rope_store`](crate::reference::rope_store()): whole heads in vectors.
//!
//! A rotation is two products and a sum, each rounded, in every lane and every tail alike.

use super::Fast;
use super::kv_element::KvElement;
use super::rows::Rows;
use super::simd::{LANES, Simd, versions};
use crate::area::Area;
use echo_core::PackedView;
use echo_core::port::Heads;

impl Fast {
    #[allow(private_bounds, reason = "keys and values of the two types there are")]
    pub(crate) fn rope_store<T: KvElement>(
        &self,
        packed: PackedView<'_>,
        heads: Heads,
        rope: &[f32],
        qkv: &mut [f32],
        area: Area,
        keys: &mut [T],
        values: &mut [T],
    ) {
        let rows = packed.rows();
        let stored = Area::whole(heads.n_kv * heads.dim);
        let n_slots = keys.len().min(values.len()) / stored.width;
        let qkv = Rows::new(qkv, area, rows);
        let (keys, values) = (Rows::new(keys, stored, n_slots), Rows::new(values, stored, n_slots));
        self.each_row(rows, area.width, &|row| {
            // SAFETY: each row is worked on once.
            let qkv = unsafe { qkv.row_mut(row) };
            let angles = &rope[packed.position[row] as usize * heads.dim..][..heads.dim];
            let (rotated, v) = qkv.split_at_mut((heads.n_q + heads.n_kv) * heads.dim);
            for head in rotated.chunks_exact_mut(heads.dim) {
                rotate(head, angles);
            }
            let slot = packed.slot[row] as usize;
            // SAFETY: no two rows share a slot, by the contract of `PackedView`.
            let (k_place, v_place) = unsafe { (keys.row_mut(slot), values.row_mut(slot)) };
            let k = &rotated[heads.n_q * heads.dim..];
            assert_eq!((k.len(), v.len()), (k_place.len(), v_place.len()), "keys and values");
            // SAFETY: `isa` is available on the fast path; a slot has places for all of a row.
            unsafe {
                keep_on(self.isa, k, k_place);
                keep_on(self.isa, v, v_place);
            }
        });
    }
}

fn rotate(head: &mut [f32], angles: &[f32]) {
    let (low, high) = head.split_at_mut(head.len() / 2);
    for ((low, high), angle) in low.iter_mut().zip(high).zip(angles.chunks_exact(2)) {
        let (a, b, cos, sin) = (*low, *high, angle[0], angle[1]);
        *low = a * cos - b * sin;
        *high = b * cos + a * sin;
    }
}

versions!(keep_on<T: KvElement> = keep(x: &[f32], places: &mut [T]));

/// Keeps `x` in as many places.
///
/// Safety: the lengths are equal; the instruction set of `S`.
#[inline(always)]
unsafe fn keep<S: Simd, T: KvElement>(x: &[f32], places: &mut [T]) {
    let (whole, rest) = x.as_chunks::<LANES>();
    let (places, last) = places.split_at_mut(whole.len() * LANES);
    // SAFETY: there are as many places as numbers, and whole vectors of both but in `rest`, which
    // goes through arrays of a whole vector.
    unsafe {
        for (x, place) in whole.iter().zip(places.chunks_exact_mut(LANES)) {
            T::store::<S>(place.as_mut_ptr(), S::load(x.as_ptr()));
        }
        let (mut lanes, mut kept) = ([0.0; LANES], [T::zeroed(); LANES]);
        lanes[..rest.len()].copy_from_slice(rest);
        T::store::<S>(kept.as_mut_ptr(), S::load(lanes.as_ptr()));
        last.copy_from_slice(&kept[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::to_half;
    use crate::linear::Isa;
    use half::f16;

    #[test]
    fn every_instruction_set_keeps_the_same_halves() {
        let mut x = vec![0.0, -0.0, 65_504.0, 65_519.9, 65_520.0, 1e30, f32::INFINITY, f32::NAN];
        // Ties between neighbours, subnormal ones too, and both sides of them.
        let ties = [1.0 + f32::EPSILON * 4096.0, 3.0 / 16_777_216.0 / 2.0, 2.5 / 16_777_216.0];
        x.extend(ties.iter().flat_map(|&tie| [tie.next_down(), tie, tie.next_up(), -tie]));
        x.extend((0..25).map(|i| (i as f32 - 12.0) * 0.137));
        let kept = |x: f16| (!x.is_nan()).then_some(x.to_bits());
        let expected: Vec<_> = x.iter().map(|&x| kept(to_half(x))).collect();
        assert_eq!(expected[5..8], [kept(f16::MAX), kept(f16::MAX), None]);
        for &isa in Isa::available() {
            let mut places = vec![f16::ZERO; x.len()];
            // SAFETY: `isa` is available, and there are as many places as numbers.
            unsafe { keep_on(isa, &x, &mut places) };
            let found: Vec<_> = places.into_iter().map(kept).collect();
            assert_eq!(found, expected, "{isa}");
        }
    }
}
