//! TALON: level by level, whatever is nearly as likely as the level's best.
//!
//! Per sequence, with path probabilities `P = exp(S)` (arXiv 2601.07353):
//!
//! ```text
//! T = children of the root, the best N of them      always, against a root that is too sure
//! each next level: of the children of T, keep those with P >= mu * (greatest P among them),
//!                  the best N - |T| of them
//! ```
//!
//! A sure draft becomes a deep chain and a torn one a wide tree, of the same size `N`. The source
//! knows one sequence. Here its trees compete for a shared budget as in [`TopN`](crate::TopN):
//! where they don't fit together, the surest paths of the batch win, and since a tree is closed
//! under parent, so are its best nodes.
//!
//! As a gate it gives children to the nodes of the growing tree alone, and ends a tree of `N`.
//!
//! At zero load each sequence gets its tree; at overload the batch's best paths share what is left.

use crate::ranking::{Level, OUT, Ranking, node};
use crate::width::Width;
use echo_core::{Budget, Frontier, Gate, Keep, Load, Plan, Solver, SuperTreeView};

/// Size of a tree, and how much less likely a node may be than its level's best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TalonParams {
    /// Drafted nodes of one sequence at most; 60 in the source.
    pub n: usize,
    /// Share of the level's best path probability that a node must reach, `0..=1`; 0.03 in the
    /// source.
    pub mu: f32,
}

/// A ratio that is no share.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("mu of talon is {0}; it must lie between 0 and 1")]
pub struct RatioError(pub f32);

/// Whatever is nearly as likely as the level's best. See the module.
#[derive(Clone, Debug)]
pub struct Talon {
    params: TalonParams,
    ranking: Ranking,
    /// Nodes that each sequence's tree may still take, by root.
    room: Vec<usize>,
    /// Whether it took all there were so far, by root.
    is_whole: Vec<bool>,
    /// Candidates of one sequence at one depth.
    asked: Vec<u64>,
}

impl Talon {
    /// Refuses a `mu` outside `0..=1`.
    pub fn new(params: TalonParams) -> Result<Self, RatioError> {
        if !(0.0..=1.0).contains(&params.mu) {
            return Err(RatioError(params.mu));
        }
        Ok(Talon {
            params,
            ranking: Ranking::default(),
            room: Vec::new(),
            is_whole: Vec::new(),
            asked: Vec::new(),
        })
    }
}

/// Sequences that the gate looks at in one walk.
const AT_ONCE: usize = 64;

impl Talon {
    /// The score from which on a node is in the tree, by the scores of its level. The first level
    /// always is.
    fn bar(&self, depth: usize, scores: &[f32]) -> f32 {
        let best = || scores.iter().fold(f32::NEG_INFINITY, |best, &score| best.max(score));
        if depth <= 1 { f32::NEG_INFINITY } else { best() + self.params.mu.ln() }
    }
}

impl Gate for Talon {
    fn looks_at(&self, depth: usize) -> bool {
        depth > 0
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        let (tree, first) = (frontier.tree, frontier.nodes().start);
        for from in (0..tree.roots()).step_by(AT_ONCE) {
            let roots = from..tree.roots().min(from + AT_ONCE);
            let mut sizes = [0; AT_ONCE];
            for depth in 1..=frontier.depth() {
                for (size, nodes) in sizes.iter_mut().zip(tree.families_of(depth, roots.clone())) {
                    let bar = self.bar(depth, &tree.score[nodes.clone()]);
                    *size += tree.score[nodes].iter().filter(|&&score| score >= bar).count();
                }
            }
            let families = tree.families_of(frontier.depth(), roots);
            for (size, nodes) in sizes.into_iter().zip(families) {
                let bar = self.bar(frontier.depth(), &tree.score[nodes.clone()]);
                for n in nodes {
                    if size >= self.params.n || tree.score[n] < bar {
                        keep.narrow(n - first, 0);
                    }
                }
            }
        }
    }
}

impl Solver for Talon {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let TalonParams { n, mu } = self.params;
        let roots = tree.roots();
        let free = budget.rows.saturating_sub(roots);
        self.ranking.read(tree);
        self.room.clear();
        self.room.resize(roots, n.min(budget.tree_max));
        self.is_whole.clear();
        self.is_whole.resize(roots, true);
        let (rooms, is_whole, asked) = (&mut self.room, &mut self.is_whole, &mut self.asked);
        self.ranking.thin_out(tree, |Level { ranking, depth, root, nodes }| {
            let (costs, room, is_whole) = (ranking.costs(), &mut rooms[root], &mut is_whole[root]);
            if *room == 0 {
                return costs[nodes].fill(OUT);
            }
            // Below what is not in the tree nothing is.
            if !*is_whole {
                for n in nodes.clone() {
                    if costs[tree.parent[n] as usize] == OUT {
                        costs[n] = OUT;
                    }
                }
            }
            let most = *room;
            let width = if depth == 1 { Width::Most(most) } else { Width::Ratio { mu, most } };
            let taken = width.thin(costs, nodes.clone(), asked);
            *room -= taken;
            *is_whole &= taken == nodes.len();
        });
        for &key in &*self.ranking.best_within(tree, free, |_| usize::MAX) {
            plan.keep(node(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    fn check(n: usize, mu: f32, rows: usize, text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows, tree_max: 9, load: Load::default(), shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        Talon::new(TalonParams { n, mu }).unwrap().choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    #[test]
    fn sure_levels_are_narrow_and_torn_ones_wide() {
        // The first level is taken whole; below it a node needs half of its level's best.
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                4 -4
              5 -6 *
            seq 1: 6 *
              7 -1 *
                8 -1.5 *
                9 -1.75 *";
        check(9, 0.5, 99, text);
    }

    #[test]
    fn a_tree_ends_at_its_size() {
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                4 -0.75
                  5 -0.8";
        check(2, 0.03, 99, text);
    }

    #[test]
    fn trees_compete_for_the_budget() {
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
            seq 1: 6 *
              7 -1
                8 -1.5";
        check(9, 0.5, 4, text);
    }

    #[test]
    fn nodes_outside_the_tree_get_no_children() {
        let text = "
            seq 0: 1
              2 -0.25
                3 -0.5
                4 -4
              5 -6
            seq 1: 6
              7 -1
                8 -1.5";
        let drawing = Drawing::parse(text).unwrap();
        let open = |n| {
            let mut keep = Keep::default();
            keep.reset(3);
            (0..3).for_each(|i| keep.open(i, 2));
            let talon = Talon::new(TalonParams { n, mu: 0.5 }).unwrap();
            talon.narrow(drawing.tree.view().frontier(), Load::default(), &mut keep);
            keep.as_slice().to_vec()
        };
        assert_eq!(open(9), [2, 0, 2]);
        // The first sequence has its three nodes, the second has two.
        assert_eq!(open(3), [0, 0, 2]);
    }

    #[test]
    fn a_ratio_that_is_no_share_is_refused() {
        for mu in [-0.1, 1.1, f32::NAN] {
            assert!(Talon::new(TalonParams { n: 1, mu }).is_err(), "{mu}");
        }
    }
}
