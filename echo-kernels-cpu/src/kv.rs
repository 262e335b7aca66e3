//! How keys and values are kept: as they are, or in half precision.
//!
//! Half precision is half of what a long text reads at each step. Numbers go to the nearest, ties
//! to even, and those beyond its range to the end of it, so that one large key makes no row NaN.

use half::f16;

/// The largest number of half precision.
pub(crate) const HALF_MAX: f32 = 65_504.0;

/// Keys and values, to be read and written.
pub(crate) enum Kv<'a> {
    F32 { keys: &'a mut [f32], values: &'a mut [f32] },
    F16 { keys: &'a mut [f16], values: &'a mut [f16] },
}

/// What is kept of `x` in half precision; NaN stays NaN.
pub(crate) fn to_half(x: f32) -> f16 {
    f16::from_f32(x.clamp(-HALF_MAX, HALF_MAX))
}
