//! The fast form of [`rope_store`](crate::reference::rope_store()): whole heads in vectors.
//!
//! A rotation is two products and a sum, each rounded, in every lane and every tail alike.

use super::Fast;
use super::rows::Rows;
use crate::area::Area;
use echo_core::PackedView;
use echo_core::port::Heads;

impl Fast {
    pub(crate) fn rope_store(
        &self,
        packed: PackedView<'_>,
        heads: Heads,
        rope: &[f32],
        qkv: &mut [f32],
        area: Area,
        keys: &mut [f32],
        values: &mut [f32],
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
            k_place.copy_from_slice(&rotated[heads.n_q * heads.dim..]);
            v_place.copy_from_slice(v);
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
