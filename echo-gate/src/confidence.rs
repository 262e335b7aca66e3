//! How much a sequence's draft is trusted at one depth.
//!
//! `c(i,d) = exp(max_j S(i,d,j))`, the draft's own probability of its best path to depth `d` (ECHO
//! eq. 6). It never rises with depth, and is 1 at a root.

use echo_core::{Frontier, Keep};

/// The confidence of a sequence whose frontier nodes have these scores, in `0..=1`.
///
/// A NaN says nothing and is passed over; a score above 0, which no probability has, counts as 0.
/// Without any number left the confidence is 0.
pub fn confidence(scores: &[f32]) -> f32 {
    // `f32::max` returns its other operand where one is NaN.
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    best.min(0.0).exp()
}

/// Closes every sequence whose confidence isn't above `tau` (ECHO eq. 7: `g = 1` if `c > τ`).
pub(crate) fn close_up_to(tau: f32, frontier: Frontier<'_>, keep: &mut Keep) {
    let first = frontier.nodes().start;
    for (_, nodes) in frontier.seqs() {
        if confidence(&frontier.tree.score[nodes.clone()]) > tau {
            continue;
        }
        for n in nodes {
            keep.narrow(n - first, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_floats_give_a_probability() {
        assert_eq!(confidence(&[]), 0.0);
        assert_eq!(confidence(&[f32::NAN]), 0.0);
        assert_eq!(confidence(&[f32::NEG_INFINITY, f32::NAN]), 0.0);
        assert_eq!(confidence(&[f32::NAN, -1.0, -2.0]), (-1.0_f32).exp());
        assert_eq!(confidence(&[f32::INFINITY, -1.0]), 1.0);
    }
}
