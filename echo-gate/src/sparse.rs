//! Thresholds at a few depths; elsewhere the drafter runs ahead unasked. The gate of ECHO.
//!
//! At depth `d` of the chosen set `D_sig`, sequence `i` drafts on if `c(i,d) > τ_d`, where
//! `c(i,d) = exp(max_j S(i,d,j))` and `S` is the cumulative draft log-probability (ECHO eq. 5–7,
//! arXiv 2604.09603). `D_sig` holds the depths at which `c` is known to tell drafts that go on from
//! drafts that end, by the area under its ROC curve; calibration finds both the set and each `τ_d`.
//!
//! Looking seldom has two reasons: elsewhere the confidence decides no better than a coin, and a
//! look makes a device draft wait for the host. The load plays no part: what a closed sequence
//! leaves over goes to others through the solver. At zero load that means width where depth ended;
//! at overload, depth for whoever is confident.

use crate::confidence::close_up_to;
use crate::tau::{TauError, check_tau};
use echo_core::{Frontier, Gate, Keep, Load};

/// One depth to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Depth in `D_sig`; 1 is the first drafted level.
    pub depth: usize,
    /// `τ_d`: confidence up to which a sequence is closed there, `0..=1`.
    pub tau: f32,
}

/// The depths to look at and their thresholds.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseParams {
    /// `D_sig` with its `τ_d`, ascending by depth. Depth 0 is allowed, but a root's confidence is
    /// 1.
    pub thresholds: Vec<Threshold>,
}

/// Thresholds at a few depths. See the module.
#[derive(Clone, Debug)]
pub struct Sparse {
    params: SparseParams,
}

impl Sparse {
    /// Refuses thresholds outside `0..=1` and depths that don't ascend.
    pub fn new(params: SparseParams) -> Result<Self, TauError> {
        for &Threshold { depth, tau } in &params.thresholds {
            check_tau(depth, tau)?;
        }
        for pair in params.thresholds.windows(2) {
            if pair[0].depth >= pair[1].depth {
                return Err(TauError::Order { depth: pair[1].depth });
            }
        }
        Ok(Sparse { params })
    }

    fn tau(&self, depth: usize) -> Option<f32> {
        self.params.thresholds.iter().find(|t| t.depth == depth).map(|t| t.tau)
    }
}

impl Gate for Sparse {
    fn looks_at(&self, depth: usize) -> bool {
        self.tau(depth).is_some()
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        if let Some(tau) = self.tau(frontier.depth()) {
            close_up_to(tau, frontier, keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_tree::Drawing;

    fn sparse(thresholds: &[(usize, f32)]) -> Result<Sparse, TauError> {
        let thresholds = thresholds.iter().map(|&(depth, tau)| Threshold { depth, tau }).collect();
        Sparse::new(SparseParams { thresholds })
    }

    fn check(thresholds: &[(usize, f32)], text: &str, expected: &[u32]) {
        let drawing = Drawing::parse(text).unwrap();
        let mut keep = Keep::default();
        keep.reset(expected.len());
        (0..keep.len()).for_each(|i| keep.open(i, 3));
        let gate = sparse(thresholds).unwrap();
        gate.narrow(drawing.tree.view().frontier(), Load::default(), &mut keep);
        assert_eq!(keep.as_slice(), expected);
    }

    #[test]
    fn it_acts_at_the_chosen_depths_only() {
        let text = "
            seq 0: 7
              1 -3
                2 -3.5
            seq 3: 8
              1 -0.25
                2 -0.5
                3 -8";
        check(&[(2, 0.25)], text, &[0, 3, 3]);
        check(&[(1, 0.25), (3, 0.25)], text, &[3, 3, 3]);
        check(&[], text, &[3, 3, 3]);
    }

    #[test]
    fn it_says_in_advance_where_it_looks() {
        let gate = sparse(&[(1, 0.3), (5, 0.1)]).unwrap();
        let looks: Vec<usize> = (0..9).filter(|&depth| gate.looks_at(depth)).collect();
        assert_eq!(looks, [1, 5]);
    }

    #[test]
    fn nonsense_is_refused_by_depth() {
        assert_eq!(sparse(&[(2, 0.1), (2, 0.2)]).unwrap_err(), TauError::Order { depth: 2 });
        let refused = sparse(&[(1, 0.1), (4, 1.5)]).unwrap_err();
        assert_eq!(refused, TauError::Range { depth: 4, tau: 1.5 });
        let text = "tau at depth 4 is 1.5; it must lie between 0 and 1";
        assert_eq!(refused.to_string(), text);
    }
}
