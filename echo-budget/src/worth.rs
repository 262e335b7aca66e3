//! A gate that buys a draft pass only if it pays.
//!
//! One more level costs a draft pass for the whole batch and rows in the target's forward; it
//! brings, for a sequence whose best path has survived to depth `d`, the chance that it survives
//! one level more: `p(S_max) · reach(d + 1) / reach(d)`, with `reach(d)` the share of rounds that
//! accepted `d` tokens. The level is drafted while it brings more tokens per microsecond than plain
//! decoding at this load, and for those sequences alone whose own row pays.
//!
//! The paper (ECHO, arXiv 2604.09603) takes draft passes for free: a single confident request can
//! buy one for everybody. Here it can't.

use crate::cost::CostTable;
use crate::survival::Survival;
use echo_core::{Frontier, Gate, Keep, Load};

/// What the choice rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct WorthParams {
    /// Measured times.
    pub cost: CostTable,
    /// How often paths of a given draft probability are accepted.
    pub survival: Survival,
    /// Share of rounds that accepted at least 1, 2, … tokens; each in `0..=1`. Deeper levels go on
    /// as the last two do.
    pub reach: Vec<f32>,
}

/// Closes what doesn't pay. See the module.
#[derive(Clone, Debug)]
pub struct Worth {
    params: WorthParams,
}

/// Rates of acceptance that are none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("reach is {0} at some depth; shares lie between 0 and 1, and there must be one")]
pub struct ReachError(pub f32);

impl Worth {
    /// Refuses shares out of range.
    pub fn new(params: WorthParams) -> Result<Self, ReachError> {
        if params.reach.is_empty() {
            return Err(ReachError(f32::NAN));
        }
        match params.reach.iter().find(|share| !(0.0..=1.0).contains(*share)) {
            Some(&share) => Err(ReachError(share)),
            None => Ok(Worth { params }),
        }
    }

    /// Chance that a path which was accepted down to `depth` is accepted one token further.
    fn step(&self, depth: usize) -> f64 {
        let reach = &self.params.reach;
        let depth = depth.min(reach.len() - 1);
        let before = depth.checked_sub(1).map_or(1.0, |d| reach[d]);
        if before > 0.0 { f64::from(reach[depth] / before).min(1.0) } else { 0.0 }
    }
}

impl Gate for Worth {
    fn looks_at(&self, _depth: usize) -> bool {
        true
    }

    fn narrow(&self, frontier: Frontier<'_>, load: Load, keep: &mut Keep) {
        let WorthParams { cost, survival, .. } = &self.params;
        let (tree, depth, first) = (frontier.tree, frontier.depth(), frontier.nodes().start);
        let step = self.step(depth);
        let base = load.context_rows + load.n_seqs;
        let plain_us = cost.host_us() + cost.verify_us(base, load.kv_len);
        let rate = load.n_seqs as f64 / plain_us;
        let seqs = || frontier.seqs();
        // Rows that a level adds: one for each sequence that goes on.
        let n = seqs().filter(|(_, own)| own.clone().any(|i| keep.children(i - first) > 0)).count();
        let rows = base + depth * n;
        let rows_us = cost.verify_us(rows + n, load.kv_len) - cost.verify_us(rows, load.kv_len);
        let (mut gain, mut going, mut nodes) = (0.0, 0, 0);
        for (_, own) in seqs() {
            let open = own.clone().filter(|&i| keep.children(i - first) > 0);
            let (count, best) = open.fold((0, f32::NEG_INFINITY), |(count, best), i| {
                (count + 1, best.max(tree.score[i]))
            });
            if count == 0 {
                continue;
            }
            let own_gain = f64::from(survival.at(best.min(0.0))) * step;
            let own_gain = if depth == 0 { step } else { own_gain };
            if own_gain * n as f64 <= rate * rows_us {
                own.for_each(|i| keep.narrow(i - first, 0));
            } else {
                gain += own_gain;
                going += 1;
                nodes += count;
            }
        }
        let pass_us = cost.draft_us(nodes) + rows_us * going as f64 / n.max(1) as f64;
        if going == 0 || gain <= rate * pass_us {
            frontier.nodes().for_each(|i| keep.narrow(i - first, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Between, Sample};
    use echo_tree::Drawing;

    fn worth(draft_us: f64, row_us: f64) -> Worth {
        let sample = |rows, us| Sample { rows, kv_len: 0, us };
        let verify = [sample(1, 1000.0), sample(101, 1000.0 + 100.0 * row_us)];
        let draft = [sample(1, draft_us), sample(100, draft_us)];
        let cost = CostTable::from_samples(&verify, &draft, 0.0, Between::Linear);
        let (cost, survival) = (cost.expect("times"), Survival::identity());
        Worth::new(WorthParams { cost, survival, reach: vec![0.5, 0.25] }).expect("shares")
    }

    /// Children left to the nodes of the last level, each of which had two.
    fn left(gate: &Worth, n_seqs: usize, text: &str) -> Vec<u32> {
        let drawing = Drawing::parse(text).expect("a tree");
        let frontier = drawing.tree.view().frontier();
        let mut keep = Keep::default();
        keep.reset(frontier.nodes().len());
        (0..keep.len()).for_each(|i| keep.open(i, 2));
        gate.narrow(frontier, Load { n_seqs, ..Load::default() }, &mut keep);
        keep.as_slice().to_vec()
    }

    #[test]
    fn a_level_is_bought_while_it_brings_more_than_its_time() {
        // Half a token for 400 of 1000 us pays, for 600 it doesn't.
        assert_eq!(left(&worth(400.0, 1.0), 1, "seq 0: 1"), [2]);
        assert_eq!(left(&worth(600.0, 1.0), 1, "seq 0: 1"), [0]);
        // The rows count too.
        assert_eq!(left(&worth(400.0, 200.0), 1, "seq 0: 1"), [0]);
    }

    #[test]
    fn one_confident_request_does_not_buy_a_pass_for_all() {
        let two = "seq 0: 1\n  2 -0.01\nseq 1: 1\n  3 -6";
        assert_eq!(left(&worth(100.0, 1.0), 2, two), [2, 0]);
        // Of 100 sequences 99 are not drafted for; the pass costs 60 of their tokens.
        assert_eq!(left(&worth(600.0, 1.0), 100, two), [0, 0]);
    }

    #[test]
    fn shares_are_shares() {
        let with = |reach| {
            let params = WorthParams { reach, ..worth(1.0, 1.0).params };
            Worth::new(params).err()
        };
        assert!(with(vec![]).is_some() && with(vec![0.5, 1.5]).is_some());
        assert!(with(vec![0.5, f32::NAN]).is_some());
    }
}
