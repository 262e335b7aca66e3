//! No gate: every sequence drafts as deep as the shape allows.
//!
//! The baseline that EAGLE-2 and EAGLE-3 draft by. At zero load this is what one wants if the draft
//! passes are cheap; at overload it drafts for hopeless sequences too, and leaves all saving to the
//! solver.

use echo_core::{Frontier, Gate, Keep, Load};

/// Never looks, never closes.
#[derive(Clone, Copy, Debug)]
pub struct Always;

impl Gate for Always {
    fn looks_at(&self, _depth: usize) -> bool {
        false
    }

    fn narrow(&self, _frontier: Frontier<'_>, _load: Load, _keep: &mut Keep) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_tree::Drawing;

    #[test]
    fn nothing_is_ever_closed() {
        let drawing = Drawing::parse("seq 0: 1\n  2 NaN\n  3 -inf").unwrap();
        let mut keep = Keep::default();
        keep.reset(2);
        keep.open(0, 2);
        keep.open(1, 1);
        let before = keep.as_slice().to_vec();
        Always.narrow(drawing.tree.view().frontier(), Load::default(), &mut keep);
        assert_eq!(keep.as_slice(), before);
        assert!((0..9).all(|depth| !Always.looks_at(depth)));
    }
}
