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

use crate::best::{greatest, reaching, winners};
use crate::families::Families;
use crate::ranking::{OUT, Ranking, cost_of, key, node, score};
use echo_core::{Budget, Frontier, Gate, Keep, Load, Plan, Solver, SuperTreeView};
use std::cell::RefCell;
use std::ops::Range;

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
    /// Places of a tree, and `ln μ`.
    n: usize,
    ln_mu: f32,
    ranking: Ranking,
    families: Families,
    /// Nodes of one level that ask for more places than there are.
    asked: Vec<u64>,
    /// The gate's.
    looking: RefCell<Families>,
}

impl Talon {
    /// Refuses a `mu` outside `0..=1`.
    pub fn new(params: TalonParams) -> Result<Self, RatioError> {
        if !(0.0..=1.0).contains(&params.mu) {
            return Err(RatioError(params.mu));
        }
        let (ranking, families, asked, looking) = Default::default();
        Ok(Talon { n: params.n, ln_mu: params.mu.ln(), ranking, families, asked, looking })
    }
}

/// The score from which on a node is in the tree, by the best of its level. The first level always
/// is.
fn bar(ln_mu: f32, depth: usize, best: f32) -> f32 {
    if depth <= 1 { f32::NEG_INFINITY } else { best + ln_mu }
}

impl Talon {
    /// Takes the nodes of one level out of the running that don't reach its bar or find no place,
    /// and returns how many stay. If `is_whole`, all of the level above are in the tree. All is
    /// told by costs, so that no loop but one looks elsewhere.
    fn thin(
        &mut self,
        tree: SuperTreeView<'_>,
        depth: usize,
        nodes: Range<usize>,
        places: usize,
        is_whole: bool,
    ) -> usize {
        let Talon { ln_mu, ranking, asked, .. } = self;
        let (above, own) = ranking.costs()[..nodes.end].split_at_mut(nodes.start);
        if places == 0 {
            own.fill(OUT);
            return 0;
        }
        if depth == 1 && own.len() <= places {
            return own.len();
        }
        if !is_whole {
            // Below what is not in the tree nothing is.
            for (cost, &parent) in own.iter_mut().zip(&tree.parent[nodes]) {
                let is_orphan = above[parent as usize] == OUT;
                *cost |= if is_orphan { OUT } else { 0 };
            }
        }
        let least = own.iter().copied().min().unwrap_or(OUT);
        let most = cost_of(bar(*ln_mu, depth, score(least)));
        let mut n = 0;
        for cost in &mut *own {
            let is_out = *cost > most;
            *cost |= if is_out { OUT } else { 0 };
            n += usize::from(!is_out);
        }
        let taken = places.min(n);
        if taken < n {
            asked.clear();
            asked.extend(own.iter().enumerate().map(|(n, &cost)| key(cost, n)));
            winners(asked, taken);
            asked[taken..].iter().for_each(|&loser| own[node(loser)] = OUT);
        }
        taken
    }
}

impl Gate for Talon {
    fn looks_at(&self, depth: usize) -> bool {
        depth > 0
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        let (tree, depth, first) = (frontier.tree, frontier.depth(), frontier.nodes().start);
        let families = &mut *self.looking.borrow_mut();
        families.clear(tree.roots());
        families.find(tree, depth);
        for root in 0..tree.roots() {
            let scores = |depth| &tree.score[families.of(depth, root)];
            let bar = |depth| bar(self.ln_mu, depth, greatest(scores(depth)));
            let size = |depth| reaching(scores(depth), bar(depth));
            let (nodes, own_bar) = (families.of(depth, root), bar(depth));
            let own = reaching(scores(depth), own_bar);
            let drafted = (1..depth).map(|depth| families.of(depth, root).len());
            let is_full = own + drafted.sum::<usize>() >= self.n
                && own + (1..depth).map(size).sum::<usize>() >= self.n;
            if is_full || own < nodes.len() {
                for n in nodes.filter(|&n| is_full || tree.score[n] < own_bar) {
                    keep.narrow(n - first, 0);
                }
            }
        }
    }
}

impl Solver for Talon {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let free = budget.rows.saturating_sub(tree.roots());
        self.ranking.read(tree);
        self.families.clear(tree.roots());
        self.families.find(tree, tree.levels() - 1);
        for root in 0..tree.roots() {
            let (mut places, mut is_whole) = (self.n.min(budget.tree_max), true);
            for depth in 1..tree.levels() {
                let nodes = self.families.of(depth, root);
                let len = nodes.len();
                let taken = self.thin(tree, depth, nodes, places, is_whole);
                (places, is_whole) = (places - taken, taken == len);
            }
        }
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
    fn whoever_has_no_place_sets_no_bar() {
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                  5 -6 *
                  6 -6.5 *
                4 -4
                  7 -4.1";
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
