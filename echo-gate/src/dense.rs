//! One threshold per depth, looked at everywhere.
//!
//! Drafting goes on for sequence `i` at depth `d ≥ 1` while `c(i,d) > τ_d`. This is the ablation
//! "dense gate" of the ECHO paper: depth-aware like [`Sparse`](crate::Sparse), but it also acts
//! where the confidence tells good from bad no better than a coin, and makes the host wait for the
//! draft's scores at each level. The paper measures 5 % less throughput than sparse at 256
//! requests.
//!
//! The load plays no part, as in [`Fixed`](crate::Fixed).

use crate::confidence::close_up_to;
use crate::tau::{TauError, check_tau};
use echo_core::{Frontier, Gate, Keep, Load};

/// The thresholds.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseParams {
    /// Confidence up to which a sequence is closed at depth 1, 2, …, each in `0..=1`. Deeper levels
    /// are held to the last one; with none at all the gate never looks.
    pub tau: Vec<f32>,
}

/// One threshold per depth. See the module.
#[derive(Clone, Debug)]
pub struct Dense {
    params: DenseParams,
}

impl Dense {
    /// Refuses thresholds outside `0..=1`.
    pub fn new(params: DenseParams) -> Result<Self, TauError> {
        for (i, &tau) in params.tau.iter().enumerate() {
            check_tau(i + 1, tau)?;
        }
        Ok(Dense { params })
    }

    fn tau(&self, depth: usize) -> Option<f32> {
        let tau = &self.params.tau;
        tau.get(depth.checked_sub(1)?).or(tau.last()).copied()
    }
}

impl Gate for Dense {
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

    fn check(tau: &[f32], text: &str, expected: &[u32]) {
        let drawing = Drawing::parse(text).unwrap();
        let mut keep = Keep::default();
        keep.reset(expected.len());
        (0..keep.len()).for_each(|i| keep.open(i, 3));
        let gate = Dense::new(DenseParams { tau: tau.to_vec() }).unwrap();
        gate.narrow(drawing.tree.view().frontier(), Load::default(), &mut keep);
        assert_eq!(keep.as_slice(), expected);
    }

    #[test]
    fn each_depth_has_its_own_threshold() {
        // exp(−1) = 0.37 at depth 1, exp(−1.5) = 0.22 at depth 2.
        let shallow = "seq 0: 7\n  1 -1";
        let deep = "seq 0: 7\n  1 -1\n    2 -1.5";
        check(&[0.5, 0.1], shallow, &[0]);
        check(&[0.5, 0.1], deep, &[3]);
        check(&[0.1, 0.5], shallow, &[3]);
        check(&[0.1, 0.5], deep, &[0]);
        // Below the list the last one holds; without a list nothing is looked at.
        check(&[0.3], deep, &[0]);
        check(&[], deep, &[3]);
    }

    #[test]
    fn roots_are_never_looked_at() {
        check(&[1.0], "seq 0: 7", &[3]);
        assert!(!Dense::new(DenseParams { tau: vec![1.0] }).unwrap().looks_at(0));
        let refused = Dense::new(DenseParams { tau: vec![0.5, f32::NAN] });
        assert!(matches!(refused, Err(TauError::Range { depth: 2, .. })));
    }
}
