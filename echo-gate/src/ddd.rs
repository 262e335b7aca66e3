//! DDD's stop: the probability that is left in the whole beam, at a few depths.
//!
//! At a depth of the list, sequence `i` drafts on unless `H < ln τ`, where
//!
//! ```text
//! H(i,d) = logsumexp over the beam of S(i,d,j)      so exp(H) is the beam's probability
//! ```
//!
//! (Dynamic Depth Decoding, arXiv 2409.00142, on EAGLE-2's drafts.) The beam are the frontier nodes
//! that may still have children. Against ECHO's [`Sparse`](crate::Sparse), whose confidence is the
//! best node's alone, a torn draft that covers the text with several nodes goes on; and there is
//! one threshold for all depths, so that depth alone lowers `H` towards it.
//!
//! The load plays no part, as in [`Fixed`](crate::Fixed): what a closed sequence leaves over goes
//! to others through the solver.

use crate::tau::{TauError, check_tau};
use echo_core::{Frontier, Gate, Keep, Load};

/// Where to look, and how much probability must be left.
#[derive(Clone, Debug, PartialEq)]
pub struct DddParams {
    /// Depths to look at, ascending; 5, 7 and 9 of up to 11 in the source.
    pub depths: Vec<usize>,
    /// Probability of the beam below which a sequence is closed, `0..=1`.
    pub tau: f32,
}

/// The probability left in the beam. See the module.
#[derive(Clone, Debug)]
pub struct Ddd {
    params: DddParams,
}

impl Ddd {
    /// Refuses a threshold outside `0..=1` and depths that don't ascend.
    pub fn new(params: DddParams) -> Result<Self, TauError> {
        check_tau(params.depths.first().copied().unwrap_or(0), params.tau)?;
        for pair in params.depths.windows(2) {
            if pair[0] >= pair[1] {
                return Err(TauError::Order { depth: pair[1] });
            }
        }
        Ok(Ddd { params })
    }
}

impl Gate for Ddd {
    fn looks_at(&self, depth: usize) -> bool {
        self.params.depths.contains(&depth)
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        if !self.looks_at(frontier.depth()) {
            return;
        }
        let first = frontier.nodes().start;
        for (_, nodes) in frontier.seqs() {
            let beam = nodes.clone().filter(|&n| keep.children(n - first) > 0);
            // A NaN says nothing and adds nothing; a score above 0, which no probability has,
            // counts as 0.
            let scores = beam.map(|n| frontier.tree.score[n]).filter(|score| !score.is_nan());
            let left: f32 = scores.map(|score| score.min(0.0).exp()).sum();
            if left < self.params.tau {
                nodes.for_each(|n| keep.narrow(n - first, 0));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_tree::Drawing;

    fn check(tau: f32, opened: &[u32], text: &str, expected: &[u32]) {
        let drawing = Drawing::parse(text).unwrap();
        let mut keep = Keep::default();
        keep.reset(expected.len());
        (0..keep.len()).for_each(|i| keep.open(i, opened[i]));
        let gate = Ddd::new(DddParams { depths: vec![1, 3], tau }).unwrap();
        gate.narrow(drawing.tree.view().frontier(), Load::default(), &mut keep);
        assert_eq!(keep.as_slice(), expected);
    }

    /// Probabilities 0.37, 0.22 and 0.14 of sequence 0, 0.5 of sequence 4.
    const TWO: &str = "
        seq 0: 7
          1 -1
          2 -1.5
          3 -2
        seq 4: 8
          1 -0.693";

    #[test]
    fn the_beam_decides_together() {
        check(0.7, &[3; 4], TWO, &[3, 3, 3, 0]);
        check(0.4, &[3; 4], TWO, &[3; 4]);
        check(0.75, &[3; 4], TWO, &[0; 4]);
        // What is closed already is not in the beam: 0.37 + 0.22 is left.
        check(0.7, &[3, 3, 0, 3], TWO, &[0; 4]);
        check(0.55, &[3, 3, 0, 3], TWO, &[3, 3, 0, 0]);
    }

    #[test]
    fn any_floats_are_taken() {
        check(0.5, &[1; 3], "seq 0: 7\n  1 NaN\n  2 -inf\n  3 -0.1", &[1; 3]);
        check(0.5, &[1; 2], "seq 0: 7\n  1 NaN\n  2 -inf", &[0; 2]);
        check(0.0, &[1; 2], "seq 0: 7\n  1 NaN\n  2 -inf", &[1; 2]);
        check(1.0, &[1], "seq 0: 7\n  1 inf", &[1]);
    }

    #[test]
    fn it_looks_where_it_says() {
        check(1.0, &[2], "seq 0: 7\n  1 -1\n    2 -9", &[2]);
        check(1.0, &[2], "seq 0: 7\n  1 -1\n    2 -9\n      3 -9", &[0]);
        let refused = |depths: &[usize], tau| Ddd::new(DddParams { depths: depths.to_vec(), tau });
        assert_eq!(refused(&[5, 5], 0.1).unwrap_err(), TauError::Order { depth: 5 });
        assert!(refused(&[5], 1.5).is_err() && refused(&[], f32::NAN).is_err());
    }
}
