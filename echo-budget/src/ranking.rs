//! All nodes of a super-tree in one order: best first, parents before children, no two alike.
//!
//! A node's *cost* is the bits of its score without the sign, after NaN became −∞, anything above 0
//! became 0 and no child was left better than its parent. Bits of non-negative floats order like
//! the floats, so integers are compared and any floats give a total order. A *key* is the cost
//! above the node's index. The least `k` keys, of one sequence or of the batch, are closed under
//! parent.

use echo_core::SuperTreeView;
use std::ops::Range;

/// The cost of a node that is out of the running.
const OUT: u32 = u32::MAX;
/// Costs are selected by their upper bits first: the exponent and three bits of the mantissa.
const BIN_SHIFT: u32 = 20;
const BINS: usize = 1 << (32 - BIN_SHIFT);
/// Choices over the batch before all sequences are looked at one by one.
const ATTEMPTS: usize = 3;
/// Up to so many winners are found by insertion.
const FEW: usize = 8;

/// Scratch of the solvers, refilled for each tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranking {
    cost: Vec<u32>,
    chosen: Vec<u64>,
    boundary: Vec<u64>,
    /// Nodes in the running by the upper bits of their cost.
    bins: Vec<u32>,
    /// Keys grouped by sequence, and the bounds of the groups.
    family: Vec<u64>,
    family_start: Vec<u32>,
    /// How many chosen keys each sequence owns, by root.
    owned: Vec<u32>,
    /// Which root a place in the batch has.
    root_of: Vec<u32>,
}

/// The node of a key.
pub(crate) fn node(key: u64) -> usize {
    key as u32 as usize
}

/// The score a cost stands for.
pub(crate) fn score(cost: u32) -> f32 {
    0.0 - f32::from_bits(cost)
}

/// The cost of a score by itself.
fn cost_of(score: f32) -> u32 {
    let number = if score.is_nan() { f32::NEG_INFINITY } else { score };
    number.min(0.0).abs().to_bits()
}

fn key(cost: u32, node: usize) -> u64 {
    u64::from(cost) << 32 | node as u64
}

impl Ranking {
    /// Takes the costs of `tree`; everything but the roots is in the running.
    pub(crate) fn read(&mut self, tree: SuperTreeView<'_>) {
        let roots = tree.roots();
        self.cost.clear();
        self.cost.resize(tree.len(), 0);
        self.bins.clear();
        self.bins.resize(BINS, 0);
        for depth in 1..tree.levels() {
            let level = tree.level(depth);
            let (above, below) = self.cost.split_at_mut(level.start);
            let nodes = tree.parent[level.clone()].iter().zip(&tree.score[level]);
            for (cost, (&parent, &score)) in below.iter_mut().zip(nodes) {
                *cost = cost_of(score).max(above[parent as usize]);
                self.bins[(*cost >> BIN_SHIFT) as usize] += 1;
            }
        }
        self.cost[..roots].fill(OUT);
        self.root_of.clear();
        self.root_of.resize(tree.seq[..roots].last().map_or(0, |&seq| seq as usize + 1), 0);
        for (root, &seq) in tree.seq[..roots].iter().enumerate() {
            self.root_of[seq as usize] = root as u32;
        }
    }

    /// Gives each node the cost of its parent, so that no token's own score decides over it.
    pub(crate) fn shift(&mut self, tree: SuperTreeView<'_>) {
        self.bins.fill(0);
        for n in (tree.roots()..tree.len()).rev() {
            let parent = tree.parent[n] as usize;
            self.cost[n] = if parent < tree.roots() { 0 } else { self.cost[parent] };
            self.bins[(self.cost[n] >> BIN_SHIFT) as usize] += 1;
        }
    }

    /// The key of `node`, which must be in the running.
    pub(crate) fn key(&self, node: usize) -> u64 {
        key(self.cost[node], node)
    }

    /// Which root the sequence at place `seq` has.
    pub(crate) fn root_of(&self, seq: u32) -> usize {
        self.root_of[seq as usize] as usize
    }

    /// Takes `node`, which must be in the running, out of it.
    pub(crate) fn take_out(&mut self, node: usize) {
        self.bins[(self.cost[node] >> BIN_SHIFT) as usize] -= 1;
        self.cost[node] = OUT;
    }

    /// The best `k` keys in the running of which each sequence owns at most `most(root)`, in no
    /// order; fewer if there are fewer.
    pub(crate) fn best_within(
        &mut self,
        tree: SuperTreeView<'_>,
        k: usize,
        most: impl Fn(usize) -> usize,
    ) -> &mut [u64] {
        // A choice that crowds nobody out is the one asked for: what it holds of a sequence is the
        // sequence's best. Where a few are crowded, their worse nodes leave the running; where many
        // are, it is cheaper to look at all sequences one by one.
        for _ in 0..ATTEMPTS {
            self.choose_best(k);
            self.count_chosen(tree);
            let owned = self.owned.iter().enumerate();
            let crowded = owned.filter(|&(root, &n)| n as usize > most(root)).count();
            if crowded == 0 {
                return &mut self.chosen;
            }
            if crowded > tree.roots().div_ceil(8) {
                break;
            }
            self.cut_crowded(tree, &most);
        }
        self.best_of_each(tree, most);
        let n = winners(&mut self.chosen, k).len();
        self.chosen.truncate(n);
        &mut self.chosen
    }

    /// Takes out of the running whatever the sequences with too many chosen nodes can't keep.
    fn cut_crowded(&mut self, tree: SuperTreeView<'_>, most: impl Fn(usize) -> usize) {
        let owned = std::mem::take(&mut self.owned);
        let is_crowded = |root: usize| owned[root] as usize > most(root);
        self.group(tree, is_crowded);
        let mut family = std::mem::take(&mut self.family);
        let mut start = 0;
        for root in 0..tree.roots() {
            let end = self.family_start[root] as usize;
            let n = winners(&mut family[start..end], most(root)).len();
            for &loser in &family[start + n..end] {
                if (loser >> 32) as u32 != OUT {
                    self.take_out(node(loser));
                }
            }
            start = end;
        }
        self.family = family;
        self.owned = owned;
    }

    /// The best keys in the running of each sequence, as many as `most(root)` says, in no order.
    pub(crate) fn best_of_each(
        &mut self,
        tree: SuperTreeView<'_>,
        most: impl Fn(usize) -> usize,
    ) -> &mut [u64] {
        self.group(tree, |_| true);
        self.chosen.clear();
        let mut start = 0;
        for (root, &end) in self.family_start[..tree.roots()].iter().enumerate() {
            let best = winners(&mut self.family[start..end as usize], most(root));
            // What is out of the running ranks last, but may be all there is.
            self.chosen.extend(best.iter().filter(|&&key| (key >> 32) as u32 != OUT));
            start = end as usize;
        }
        &mut self.chosen
    }

    /// Copies the keys of the `wanted` sequences into `family`, one sequence after another, those
    /// out of the running included; leaves the end of each group in `family_start`.
    fn group(&mut self, tree: SuperTreeView<'_>, wanted: impl Fn(usize) -> bool) {
        let roots = tree.roots();
        self.family_start.clear();
        self.family_start.resize(roots + 1, 0);
        let root_of = |run: &Range<usize>| self.root_of[tree.seq[roots + run.start] as usize];
        for run in runs(&tree.seq[roots..]) {
            let root = root_of(&run) as usize;
            let n = if wanted(root) { run.len() as u32 } else { 0 };
            self.family_start[root + 1] += n;
        }
        for root in 0..roots {
            self.family_start[root + 1] += self.family_start[root];
        }
        self.family.clear();
        self.family.resize(self.family_start[roots] as usize, 0);
        for run in runs(&tree.seq[roots..]) {
            let root = root_of(&run) as usize;
            if !wanted(root) {
                continue;
            }
            let at = &mut self.family_start[root];
            let family = &mut self.family[*at as usize..][..run.len()];
            *at += run.len() as u32;
            let run = roots + run.start..roots + run.end;
            for ((to, &cost), n) in family.iter_mut().zip(&self.cost[run.clone()]).zip(run) {
                *to = key(cost, n);
            }
        }
    }

    /// Leaves in `owned` how many of the chosen keys each sequence owns, by root.
    fn count_chosen(&mut self, tree: SuperTreeView<'_>) {
        self.owned.clear();
        self.owned.resize(tree.roots(), 0);
        for &key in &self.chosen {
            self.owned[self.root_of[tree.seq[node(key)] as usize] as usize] += 1;
        }
    }

    /// Leaves in `chosen` the best `k` keys in the running.
    fn choose_best(&mut self, k: usize) {
        self.chosen.clear();
        self.boundary.clear();
        // The last bin is that of nodes out of the running.
        let (mut edge, mut below) = (0, 0);
        while edge < BINS - 1 && below + self.bins[edge] as usize <= k {
            below += self.bins[edge] as usize;
            edge += 1;
        }
        let edge_cost = (edge as u32) << BIN_SHIFT;
        for (n, &cost) in self.cost.iter().enumerate() {
            if cost < edge_cost {
                self.chosen.push(key(cost, n));
            } else if (cost >> BIN_SHIFT) as usize == edge && edge < BINS - 1 {
                self.boundary.push(key(cost, n));
            }
        }
        self.chosen.extend_from_slice(winners(&mut self.boundary, k - self.chosen.len()));
    }
}

/// The runs of equal places: within a level the nodes of a sequence stand together.
fn runs(seq: &[u32]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        let &owner = seq.get(start)?;
        let mut end = start + 1;
        // In strides of eight where the run is long.
        while seq.get(end + 7) == Some(&owner) && seq[end..end + 7].iter().all(|&s| s == owner) {
            end += 8;
        }
        while seq.get(end) == Some(&owner) {
            end += 1;
        }
        let run = start..end;
        start = end;
        Some(run)
    })
}

/// The least `k` of `keys`, in no order.
pub(crate) fn winners(keys: &mut [u64], k: usize) -> &[u64] {
    let k = k.min(keys.len());
    if 0 < k && k < keys.len() {
        if k <= FEW {
            select_few(keys, k);
        } else {
            keys.select_nth_unstable(k - 1);
        }
    }
    &keys[..k]
}

/// Brings the least `k > 0` keys to the front. Levels come best first, so that most keys are
/// dismissed by one comparison.
fn select_few(keys: &mut [u64], k: usize) {
    keys[..k].sort_unstable();
    for i in k..keys.len() {
        if keys[i] < keys[k - 1] {
            keys.swap(i, k - 1);
            let mut at = k - 1;
            while at > 0 && keys[at] < keys[at - 1] {
                keys.swap(at, at - 1);
                at -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_floats_have_a_place() {
        let best_first = [f32::INFINITY, -1e-30, -1.0, -2.0, f32::MIN, f32::NEG_INFINITY];
        assert!(best_first.is_sorted_by(|&a, &b| cost_of(a) < cost_of(b)));
        assert_eq!(cost_of(0.5), cost_of(-0.0));
        assert_eq!(cost_of(f32::NAN), cost_of(f32::NEG_INFINITY));
        assert_eq!(cost_of(-f32::NAN), cost_of(f32::NEG_INFINITY));
        assert!(cost_of(f32::NAN) >> BIN_SHIFT < OUT >> BIN_SHIFT);
        assert_eq!(score(cost_of(-1.5)), -1.5);
    }
}
