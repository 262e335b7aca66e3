//! Neighbouring operations that one launch does.
//!
//! A small model's step waits longer for launches to follow each other than for what they do. What
//! is joined here gives the same bits as apart, as they are without graphs and above the largest
//! tier.

use crate::driver::{Entry, Launch};
use crate::op::Op;

impl Op {
    /// The operation that does this one and then `next`, if there is one: a block's answer added to
    /// the residual stream, and the stream's norm left in the place of the answer.
    pub(crate) fn joined(&self, next: &Op) -> Option<Op> {
        let (Op::Rows(add), Op::Rows(norm)) = (self, next) else { return None };
        if (add.entry.name, norm.entry.name) != ("add", "rms_norm") {
            return None;
        }
        let &[live, x, x_stride, into, into_stride, width] = &*add.args else { return None };
        let &[_, from, from_stride, weight, group, eps, out, out_stride] = &*norm.args else {
            return None;
        };
        let is_stream = (from, from_stride) == (into, into_stride) && group == width;
        if !is_stream || (out, out_stride) != (x, x_stride) {
            return None;
        }
        let args = [live, x, x_stride, into, into_stride, weight, width, eps];
        let entry = Entry { stem: "rms_norm", name: "add_rms_norm" };
        Some(Op::Rows(Launch { entry, geometry: norm.geometry, args: args.into() }))
    }
}
