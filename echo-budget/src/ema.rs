//! One depth for the batch, from the moving average of what drafts gained.
//!
//! After `SGLang`'s adaptive steps. The batch size picks a ladder of depths; on it the depth climbs
//! from rung to rung while the average of accepted drafts is above what the rung can give:
//!
//! ```text
//! accepted = 0.8 * accepted + 0.2 * (mean accepted drafts of the step)     (Load::accepted)
//! depth    = the first rung with accepted <= rung - 0.5, else the last
//! ```
//!
//! Nodes down to that depth are verified, the batch's surest first where rows are short. There,
//! chains are drafted (width 1) and the rung is remembered with a hysteresis of a quarter; here the
//! depth is a function of what the engine tells, so the average itself is the only memory. Before
//! the first observation the ladder's last rung is tried. A rung 0 is taken only if it is all the
//! ladder has: from plain decoding nothing could be learnt.
//!
//! As a gate it closes the levels beyond that depth, whose passes the source doesn't run either.
//!
//! Every sequence gets the same depth however sure its draft is. At zero load it is deep where the
//! text is easy; at overload the ladder, made by hand, is what backs off.

use crate::ranking::{Ranking, node};
use echo_core::{Budget, Frontier, Gate, Keep, Load, Plan, Solver, SuperTreeView};

/// The ladders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmaParams {
    /// Batch size from which on a ladder holds, and its depths; both ascend.
    pub ladders: Vec<(usize, Vec<usize>)>,
}

impl EmaParams {
    /// The ladders that `SGLang` ships.
    pub fn usual() -> Self {
        let ladders: [(usize, &[usize]); 4] =
            [(1, &[1, 3, 5, 7]), (8, &[0, 1, 3]), (32, &[0, 1]), (64, &[0])];
        EmaParams { ladders: ladders.map(|(seqs, rungs)| (seqs, rungs.to_vec())).to_vec() }
    }
}

/// Ladders without a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LadderError {
    /// Nothing to climb.
    #[error("ladder {0} of ema has no rung; give it at least one depth")]
    Empty(usize),
    /// Batch sizes or rungs out of order.
    #[error("ladder {0} of ema is out of order; batch sizes and depths must ascend")]
    Order(usize),
}

/// One depth for the batch. See the module.
#[derive(Clone, Debug)]
pub struct Ema {
    params: EmaParams,
    ranking: Ranking,
}

impl Ema {
    /// Refuses empty ladders and whatever doesn't ascend.
    pub fn new(params: EmaParams) -> Result<Self, LadderError> {
        for (i, (seqs, rungs)) in params.ladders.iter().enumerate() {
            if rungs.is_empty() {
                return Err(LadderError::Empty(i));
            }
            let follows = i == 0 || params.ladders[i - 1].0 < *seqs;
            if !(follows && rungs.is_sorted_by(|a, b| a < b)) {
                return Err(LadderError::Order(i));
            }
        }
        Ok(Ema { params, ranking: Ranking::default() })
    }

    /// The depth of this step's trees; without a ladder for so small a batch, no limit.
    fn depth(&self, load: Load) -> usize {
        let ladder = self.params.ladders.iter().rfind(|(seqs, _)| *seqs <= load.n_seqs);
        let Some((_, rungs)) = ladder else { return usize::MAX };
        let accepted = load.accepted.unwrap_or(f32::INFINITY);
        let enough = rungs.iter().find(|&&rung| accepted <= rung as f32 - 0.5);
        *enough.unwrap_or(&rungs[rungs.len() - 1])
    }
}

impl Gate for Ema {
    fn looks_at(&self, _depth: usize) -> bool {
        true
    }

    fn narrow(&self, frontier: Frontier<'_>, load: Load, keep: &mut Keep) {
        if frontier.depth() >= self.depth(load) {
            (0..keep.len()).for_each(|i| keep.narrow(i, 0));
        }
    }
}

impl Solver for Ema {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let depth = self.depth(budget.load).min(tree.levels() - 1);
        let tree = tree.up_to(depth);
        let free = budget.rows.saturating_sub(tree.roots());
        self.ranking.read(tree);
        for &key in &*self.ranking.best_within(tree, free, |_| budget.tree_max) {
            plan.keep(node(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_tree::{Drawing, draw};

    fn depth(n_seqs: usize, accepted: Option<f32>) -> usize {
        let ema = Ema::new(EmaParams::usual()).unwrap();
        ema.depth(Load { n_seqs, accepted, ..Load::default() })
    }

    #[test]
    fn the_depth_climbs_with_what_drafts_gain() {
        let gains = [0.0, 0.5, 0.51, 2.5, 2.6, 4.5, 4.6, 9.0];
        assert_eq!(gains.map(|a| depth(1, Some(a))), [1, 1, 3, 3, 5, 5, 7, 7]);
        assert_eq!(gains.map(|a| depth(8, Some(a))), [1, 1, 3, 3, 3, 3, 3, 3]);
        assert_eq!([7, 8, 31, 32, 63, 64, 999].map(|n| depth(n, None)), [7, 3, 3, 1, 1, 0, 0]);
        assert_eq!(depth(1, Some(f32::NAN)), 7);
        assert_eq!(depth(0, None), usize::MAX);
    }

    #[test]
    fn all_sequences_are_cut_at_one_depth() {
        let text = "
            seq 0: 1 *
              2 -9 *
                3 -9.5
            seq 1: 5 *
              6 -0.25 *
                7 -0.5";
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let load = Load { n_seqs: 2, accepted: Some(0.25), ..Load::default() };
        let budget = Budget { rows: 9, tree_max: 9, load, shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        Ema::new(EmaParams::usual()).unwrap().choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    #[test]
    fn levels_that_would_be_cut_are_not_drafted() {
        let drawing = Drawing::parse("seq 0: 1\n  2 -9").unwrap();
        let open = |accepted| {
            let mut keep = Keep::default();
            keep.reset(1);
            keep.open(0, 3);
            let load = Load { n_seqs: 1, accepted: Some(accepted), ..Load::default() };
            Ema::new(EmaParams::usual()).unwrap().narrow(
                drawing.tree.view().frontier(),
                load,
                &mut keep,
            );
            keep.children(0)
        };
        assert_eq!((open(0.5), open(0.51)), (0, 3));
    }

    #[test]
    fn ladders_out_of_order_are_refused() {
        let new = |ladders: &[(usize, &[usize])]| {
            let ladders = ladders.iter().map(|&(seqs, rungs)| (seqs, rungs.to_vec())).collect();
            Ema::new(EmaParams { ladders }).err()
        };
        assert_eq!(new(&[(1, &[])]), Some(LadderError::Empty(0)));
        assert_eq!(new(&[(1, &[2, 1])]), Some(LadderError::Order(0)));
        assert_eq!(new(&[(4, &[1]), (4, &[0])]), Some(LadderError::Order(1)));
        assert_eq!(new(&[]), None);
    }
}
