//! Sixteen positions of one key head, copied together: keys transposed, values padded.

use crate::fast::simd::LANES;
use echo_core::Slot;

/// Positions in a block.
pub(super) const LEN: usize = LANES;

/// A copy of up to sixteen keys and values.
#[derive(Default)]
pub(super) struct Block {
    /// `[dim, 16]`: a lane is a position. Lanes beyond `len` are zero.
    keys: Vec<f32>,
    /// `[16, padded]`; rows beyond `len` are stale and not to be read.
    values: Vec<f32>,
    dim: usize,
    padded: usize,
    len: usize,
}

impl Block {
    /// Takes the keys and values of `slots`, at most sixteen, as `places` finds them.
    pub(super) fn fill<'a>(
        &mut self,
        dim: usize,
        slots: &[Slot],
        places: impl Fn(Slot) -> (&'a [f32], &'a [f32]),
    ) {
        assert!(slots.len() <= LEN, "a block has at most {LEN} positions");
        self.dim = dim;
        self.padded = dim.next_multiple_of(LANES);
        self.len = slots.len();
        self.keys.resize(dim * LEN, 0.0);
        self.values.resize(LEN * self.padded, 0.0);
        if slots.len() < LEN {
            self.keys.fill(0.0);
        }
        for (j, &slot) in slots.iter().enumerate() {
            let values = &mut self.values[j * self.padded..(j + 1) * self.padded];
            values[..dim].copy_from_slice(places(slot).1);
            values[dim..].fill(0.0);
        }
        let fours = slots.len() / 4 * 4;
        for first in (0..fours).step_by(4) {
            let four = [0, 1, 2, 3].map(|j| places(slots[first + j]).0);
            transpose(four, &mut self.keys[first..]);
        }
        for (j, &slot) in slots.iter().enumerate().skip(fours) {
            for (d, &key) in places(slot).0.iter().enumerate() {
                self.keys[d * LEN + j] = key;
            }
        }
    }

    pub(super) fn keys(&self) -> &[f32] {
        &self.keys[..self.dim * LEN]
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values[..self.len * self.padded]
    }

    /// Positions it holds.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// Writes element `d` of the four keys to `out[d * 16..][..4]`.
#[cfg(target_arch = "x86_64")]
fn transpose(keys: [&[f32]; 4], out: &mut [f32]) {
    use core::arch::x86_64::{
        _mm_loadu_ps, _mm_movehl_ps, _mm_movelh_ps, _mm_storeu_ps, _mm_unpackhi_ps, _mm_unpacklo_ps,
    };
    let dim = keys[0].len();
    let fours = dim / 4 * 4;
    for d in (0..fours).step_by(4) {
        let keys = keys.map(|key| &key[d..d + 4]);
        let out = &mut out[d * LEN..d * LEN + 3 * LEN + 4];
        // SAFETY: SSE is part of x86-64; each key has four floats, `out` reaches three lines and
        // four floats.
        unsafe {
            let [a, b, c, e] = keys.map(|key| _mm_loadu_ps(key.as_ptr()));
            let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let (ce_low, ce_high) = (_mm_unpacklo_ps(c, e), _mm_unpackhi_ps(c, e));
            let out = out.as_mut_ptr();
            _mm_storeu_ps(out, _mm_movelh_ps(ab_low, ce_low));
            _mm_storeu_ps(out.add(LEN), _mm_movehl_ps(ce_low, ab_low));
            _mm_storeu_ps(out.add(2 * LEN), _mm_movelh_ps(ab_high, ce_high));
            _mm_storeu_ps(out.add(3 * LEN), _mm_movehl_ps(ce_high, ab_high));
        }
    }
    for d in fours..dim {
        for (j, key) in keys.iter().enumerate() {
            out[d * LEN + j] = key[d];
        }
    }
}

/// Writes element `d` of the four keys to `out[d * 16..][..4]`.
#[cfg(not(target_arch = "x86_64"))]
fn transpose(keys: [&[f32]; 4], out: &mut [f32]) {
    for (j, key) in keys.iter().enumerate() {
        for (d, &key) in key.iter().enumerate() {
            out[d * LEN + j] = key;
        }
    }
}
