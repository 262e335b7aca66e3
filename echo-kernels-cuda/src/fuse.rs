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
        // A norm of several groups has a block for each, of which `add_rms_norm` knows nothing.
        let is_whole = group == width && norm.geometry.grid[1] == 1;
        let is_stream = (from, from_stride) == (into, into_stride) && is_whole;
        if !is_stream || (out, out_stride) != (x, x_stride) {
            return None;
        }
        let args = [live, x, x_stride, into, into_stride, weight, width, eps];
        let entry = Entry { stem: "rms_norm", name: "add_rms_norm" };
        Some(Op::Rows(Launch { entry, geometry: norm.geometry, args: args.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::Arg;

    const WIDTH: usize = 64;

    fn add() -> Op {
        let entry = Entry { stem: "add", name: "add" };
        let args = [1u64, 2, 64, 3, 128, WIDTH as u64].map(Arg::from);
        Op::rows(entry, 1, 256, 0, args)
    }

    /// The norm of rows of so many groups.
    fn norm(groups: usize) -> Op {
        let entry = Entry { stem: "rms_norm", name: "rms_norm" };
        let args = [1u64, 3, 128, 4, WIDTH as u64, 0, 2, 64].map(Arg::from);
        Op::rows(entry, groups, 32, 4, args)
    }

    #[test]
    fn an_addition_takes_the_norm_behind_it() {
        let Some(Op::Rows(both)) = add().joined(&norm(1)) else { panic!("they are apart") };
        assert_eq!(both.entry.name, "add_rms_norm");
        assert_eq!(norm(1).joined(&add()), None);
    }

    #[test]
    fn a_norm_of_several_groups_stays_apart() {
        assert_eq!(add().joined(&norm(2)), None);
    }
}
