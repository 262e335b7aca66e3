//! Any solver, made fair: weights, caps, and a bound on how long a sequence goes without drafts.
//!
//! A solver that maximises throughput may starve a hard request for ever. This wrapper shows it
//! another tree and another budget, by what [`Budget::shares`] says, and adds what is owed:
//!
//! - *Weights.* Scores become `S + ln(w / w_max)` over the sequences of the step, so that nodes are
//!   ranked by weight times path probability. [`Goodput`](crate::Goodput) with the identity
//!   survival then maximises weighted tokens per second.
//! - *Caps.* Of a capped sequence only its best `nodes_max` nodes are shown; 0 is plain decoding.
//!   So rows that it may not have go to others.
//! - *Ageing.* A sequence that had nodes and got no row in `within - 1` steps is owed one. Owed
//!   sequences, longest waiting first, each get a row for their best child before anybody else.
//!
//! The bound: with `R` sequences and at least `F > 0` rows beyond the roots, a sequence that drafts
//! in every step has a drafted row verified within any `within + ⌈R / F⌉ - 1` steps. For becoming
//! owed takes `within - 1` steps, and at most `R - 1` others are served before it, `F` per step.
//! The price is at most `R / within` rows per step that the solver would have used better.
//!
//! It stands around the solver, not in the engine or in each solver, since that is one place, and
//! still a pure function of what it is shown. Where all shares are even and nobody is owed, the
//! solver is asked as if this were not there.

use crate::best::winners;
use crate::ranking::{Ranking, node};
use echo_core::{Budget, Plan, Share, Solver, SuperTreeView, Token};

/// How long a sequence may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FairParams {
    /// `m`: a drafted row at least every so many steps while rows suffice; 0 never.
    pub within: usize,
}

/// Any solver, made fair. See the module.
#[derive(Debug)]
pub struct Fair<S> {
    inner: S,
    params: FairParams,
    ranking: Ranking,
    shown: Shown,
    /// Steps waited and root of the sequences that are owed a row, longest first.
    owed: Vec<(usize, usize)>,
    /// The plan for the shown tree.
    chosen: Plan,
    /// Which sequences have a drafted node in the plan, by root.
    served: Vec<bool>,
    family: Vec<u64>,
}

/// The tree that the solver sees.
#[derive(Debug, Default)]
struct Shown {
    parent: Vec<u32>,
    token: Vec<Token>,
    seq: Vec<u32>,
    score: Vec<f32>,
    level_start: Vec<u32>,
    passes: Vec<u32>,
    /// Node of the real tree.
    origin: Vec<u32>,
    /// Place of each node of the real tree; [`HIDDEN`] if it is not shown.
    place: Vec<u32>,
}

const HIDDEN: u32 = u32::MAX;

impl<S: Solver> Fair<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, params: FairParams) -> Self {
        Fair {
            inner,
            params,
            ranking: Ranking::default(),
            shown: Shown::default(),
            owed: Vec::new(),
            chosen: Plan::default(),
            served: Vec::new(),
            family: Vec::new(),
        }
    }

    /// Notes who is owed a row, longest waiting first, as many as rows are free.
    fn find_owed(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, free: usize) {
        self.owed.clear();
        if tree.levels() < 2 || self.params.within == 0 {
            return;
        }
        for (seq, nodes) in tree.families(1) {
            let Share { waited, nodes_max, .. } = budget.share(seq);
            if waited + 1 >= self.params.within && nodes_max > 0 {
                self.owed.push((waited, tree.parent[nodes.start] as usize));
            }
        }
        self.owed.sort_unstable_by_key(|&(waited, root)| (std::cmp::Reverse(waited), root));
        self.owed.truncate(free);
    }

    /// Hides what caps forbid: beyond its best `nodes_max` a sequence shows nothing.
    fn hide(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>) {
        self.shown.place.clear();
        self.shown.place.resize(tree.len(), 0);
        for root in tree.level(0) {
            let (seq, most) = (tree.seq[root], budget.share(tree.seq[root]).nodes_max);
            if most >= budget.tree_max {
                continue;
            }
            self.family.clear();
            for depth in 1..tree.levels() {
                let nodes = tree.family(depth, seq);
                self.family.extend(nodes.map(|n| self.ranking.key(n)));
            }
            let kept = winners(&mut self.family, most).len();
            for &key in &self.family[kept..] {
                self.shown.place[node(key)] = HIDDEN;
            }
        }
    }

    /// Gives everybody who is owed a row and has none their best child.
    fn pay(&mut self, tree: SuperTreeView<'_>, plan: &mut Plan) {
        self.served.clear();
        self.served.resize(tree.roots(), false);
        for n in plan.iter().skip_while(|&n| n < tree.roots()) {
            self.served[self.ranking.root_of(tree.seq[n])] = true;
        }
        for &(_, root) in self.owed.iter().filter(|&&(_, root)| !self.served[root]) {
            let children = tree.family(1, tree.seq[root]);
            plan.keep(children.min_by_key(|&n| self.ranking.key(n)).expect("it has children"));
        }
    }
}

impl<S: Solver> Solver for Fair<S> {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let roots = tree.roots();
        let free = budget.rows.saturating_sub(roots).min(budget.tree_max.saturating_mul(roots));
        self.find_owed(tree, budget, free);
        let share = |root: usize| budget.share(tree.seq[root]);
        let capped = tree.level(0).any(|root| share(root).nodes_max < budget.tree_max);
        let heaviest = tree.level(0).map(|root| share(root).weight).fold(0.0, f32::max);
        let weighted = tree.level(0).any(|root| share(root).weight != heaviest);
        let rest = Budget { rows: budget.rows - self.owed.len(), ..budget };
        if capped || weighted || !self.owed.is_empty() {
            self.ranking.read(tree);
        }
        if capped || weighted {
            self.hide(tree, budget);
            self.shown.copy(tree, |seq| (budget.share(seq).weight / heaviest).ln());
            self.chosen.reset(self.shown.parent.len(), tree.roots());
            self.inner.choose(self.shown.view(), rest, &mut self.chosen);
            self.chosen.iter().for_each(|n| plan.keep(self.shown.origin[n] as usize));
        } else {
            self.inner.choose(tree, rest, plan);
        }
        if !self.owed.is_empty() {
            self.pay(tree, plan);
        }
    }
}

impl Shown {
    /// Copies the nodes that aren't hidden, with `bonus(seq)` on their scores.
    fn copy(&mut self, tree: SuperTreeView<'_>, bonus: impl Fn(u32) -> f32) {
        for list in [&mut self.parent, &mut self.seq, &mut self.level_start, &mut self.origin] {
            list.clear();
        }
        self.token.clear();
        self.score.clear();
        self.passes.clear();
        self.passes.extend_from_slice(tree.passes);
        self.level_start.push(0);
        for depth in 0..tree.levels() {
            for (seq, nodes) in tree.families(depth) {
                let bonus = if depth == 0 { 0.0 } else { bonus(seq) };
                for n in nodes {
                    if self.place[n] == HIDDEN {
                        continue;
                    }
                    self.place[n] = self.parent.len() as u32;
                    // A root's place is its own; a parent comes before its children.
                    self.parent.push(self.place[tree.parent[n] as usize]);
                    self.token.push(tree.token[n]);
                    self.seq.push(seq);
                    self.score.push(tree.score[n] + bonus);
                    self.origin.push(n as u32);
                }
            }
            let n = self.parent.len() as u32;
            if depth == 0 || self.level_start[depth] < n {
                self.level_start.push(n);
            } else {
                // Caps hid the whole level, and so all below it.
                break;
            }
        }
    }

    fn view(&self) -> SuperTreeView<'_> {
        SuperTreeView {
            parent: &self.parent,
            token: &self.token,
            seq: &self.seq,
            score: &self.score,
            level_start: &self.level_start,
            passes: &self.passes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topn::{TopN, TopNParams};
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    fn check(within: usize, rows: usize, shares: &[Share], text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows, tree_max: 9, load: Load::default(), shares };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        let mut solver = Fair::new(TopN::new(TopNParams { n: 9 }), FairParams { within });
        solver.choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    const TWO: &str = "
        seq 0: 1 *
          2 -0.25 A
            3 -0.5 A
              4 -0.75 B
        seq 1: 5 *
          6 -2 C
            7 -4 D
          8 -2.5 E";

    fn marked(marks: &str) -> String {
        let mut text = TWO.to_owned();
        for mark in ["A", "B", "C", "D", "E"] {
            text = text.replace(mark, if marks.contains(mark) { "*" } else { "" });
        }
        text
    }

    fn second(share: Share) -> [Share; 2] {
        [Share::EVEN, share]
    }

    #[test]
    fn weights_shift_rows() {
        check(0, 4, &[], &marked("A"));
        // Ten times as much is worth 2.3 on the scale of scores, so node 6 ranks second.
        let heavy = second(Share { weight: 10.0, ..Share::EVEN });
        check(0, 5, &heavy, &marked("ACE").replace("3 -0.5 *", "3 -0.5"));
        let even = [Share { weight: 10.0, ..Share::EVEN }; 2];
        check(0, 4, &even, &marked("A"));
    }

    #[test]
    fn caps_leave_their_rows_to_others() {
        let cap = |nodes_max| [Share { nodes_max, ..Share::EVEN }, Share::EVEN];
        check(0, 5, &cap(9), &marked("AB"));
        check(0, 5, &cap(2), &marked("AC"));
        check(0, 5, &cap(0), &marked("CDE"));
        // What is left to a capped sequence are its best nodes, not its first.
        let deep = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
              4 -1";
        check(0, 9, &cap(2), deep);
    }

    #[test]
    fn who_waited_long_enough_gets_a_row_first() {
        let waited = |waited| second(Share { waited, ..Share::EVEN });
        check(4, 4, &waited(2), &marked("A"));
        check(4, 4, &waited(3), &marked("AC").replace("3 -0.5 *", "3 -0.5"));
        check(0, 4, &waited(99), &marked("A"));
        // One row, both owed: the longest waiting has it. Off is off, however long it waited.
        let both = [Share { waited: 7, ..Share::EVEN }, Share { waited: 8, ..Share::EVEN }];
        check(4, 3, &both, &marked("C"));
        let off = second(Share { waited: 99, nodes_max: 0, ..Share::EVEN });
        check(4, 4, &off, &marked("A"));
    }
}
