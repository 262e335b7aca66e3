//! One threshold for every depth.
//!
//! Drafting goes on for sequence `i` at depth `d ≥ 1` while `c(i,d) > τ`. This is the ablation
//! "fixed τ" of the ECHO paper, and the one scalar of its authors' engine patch. Since `c` falls
//! with depth by nature, a τ that is right near the root cuts deep drafts too early, and one that
//! is right deep down cuts nothing near the root; hence [`Dense`](crate::Dense) and
//! [`Sparse`](crate::Sparse).
//!
//! It looks at every depth, so a device draft waits for the host at each level. The load plays no
//! part: at zero load it stops where the draft is unsure, though more rows would be free; at
//! overload it drafts no less, and the solver has to cut.

use crate::confidence::close_up_to;
use crate::tau::{TauError, check_tau};
use echo_core::{Frontier, Gate, Keep, Load};

/// The threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedParams {
    /// Confidence up to which a sequence is closed, `0..=1`; 0.2 is the example of that patch.
    pub tau: f32,
}

/// One threshold for every depth. See the module.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    params: FixedParams,
}

impl Fixed {
    /// Refuses a threshold outside `0..=1`.
    pub fn new(params: FixedParams) -> Result<Self, TauError> {
        check_tau(1, params.tau)?;
        Ok(Fixed { params })
    }
}

impl Gate for Fixed {
    fn looks_at(&self, depth: usize) -> bool {
        depth > 0
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        if self.looks_at(frontier.depth()) {
            close_up_to(self.params.tau, frontier, keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_tree::Drawing;

    fn check(tau: f32, text: &str, expected: &[u32]) {
        let drawing = Drawing::parse(text).unwrap();
        let mut keep = Keep::default();
        keep.reset(expected.len());
        (0..keep.len()).for_each(|i| keep.open(i, 3));
        let gate = Fixed::new(FixedParams { tau }).unwrap();
        gate.narrow(drawing.tree.view().frontier(), Load::default(), &mut keep);
        assert_eq!(keep.as_slice(), expected);
    }

    #[test]
    fn the_best_node_of_a_sequence_decides_for_all_of_it() {
        let text = "
            seq 0: 7
              1 -0.1
              2 -9
            seq 1: 8
              1 -2
              2 -3";
        check(0.2, text, &[3, 3, 0, 0]);
        check(0.0, text, &[3; 4]);
        check(0.95, text, &[0; 4]);
    }

    #[test]
    fn a_threshold_just_reached_closes() {
        check(1.0, "seq 0: 7\n  1 0", &[0]);
        check(0.0, "seq 0: 7\n  1 -inf", &[0]);
    }

    #[test]
    fn a_threshold_outside_its_range_is_refused() {
        for tau in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
            assert!(Fixed::new(FixedParams { tau }).is_err(), "{tau}");
        }
    }
}
