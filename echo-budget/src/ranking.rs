//! All nodes of a super-tree in one order: best first, parents before children, no two alike.
//!
//! A node's *cost* is the bits of its score without the sign, after NaN became −∞, anything above 0
//! became 0 and no child was left better than its parent. Bits of non-negative floats order like the
//! floats, so integers are compared and any floats give a total order. A *key* is the cost above the
//! node's index. The least `k` keys, of one sequence or of the batch, are closed under parent.

use echo_core::SuperTreeView;

/// The cost of a node that is out of the running.
const OUT: u32 = u32::MAX;
/// Costs are selected by their upper bits first: the exponent and three bits of the mantissa.
const BIN_SHIFT: u32 = 20;
const BINS: usize = 1 << (32 - BIN_SHIFT);

/// Scratch of the solvers, refilled for each tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranking {
    cost: Vec<u32>,
    chosen: Vec<u64>,
    boundary: Vec<u64>,
    bins: Vec<u32>,
    /// Keys grouped by sequence, and where each group starts.
    family: Vec<u64>,
    family_start: Vec<u32>,
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
        for depth in 1..tree.levels() {
            let level = tree.level(depth);
            let (above, below) = self.cost.split_at_mut(level.start);
            let nodes = tree.parent[level.clone()].iter().zip(&tree.score[level]);
            for (cost, (&parent, &score)) in below.iter_mut().zip(nodes) {
                *cost = cost_of(score).max(above[parent as usize]);
            }
        }
        self.cost[..roots].fill(OUT);
        self.root_of.clear();
        self.root_of.resize(tree.seq[..roots].last().map_or(0, |&seq| seq as usize + 1), 0);
        for (root, &seq) in tree.seq[..roots].iter().enumerate() {
            self.root_of[seq as usize] = root as u32;
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

    /// Takes `node` out of the running.
    pub(crate) fn take_out(&mut self, node: usize) {
        self.cost[node] = OUT;
    }

    /// Leaves of each sequence only its best nodes in the running, as many as `most(root)` says.
    pub(crate) fn cut_families(&mut self, tree: SuperTreeView<'_>, most: impl Fn(usize) -> usize) {
        let roots = tree.roots();
        self.family_start.clear();
        self.family_start.resize(roots + 1, 0);
        let in_play = |cost: u32| u32::from(cost != OUT);
        for (&cost, &seq) in self.cost[roots..].iter().zip(&tree.seq[roots..]) {
            self.family_start[self.root_of[seq as usize] as usize + 1] += in_play(cost);
        }
        let fits = |(root, &n): (usize, &u32)| n as usize <= most(root);
        if self.family_start[1..].iter().enumerate().all(fits) {
            return;
        }
        for root in 0..roots {
            self.family_start[root + 1] += self.family_start[root];
        }
        self.family.clear();
        self.family.resize(self.family_start[roots] as usize, 0);
        for n in roots..tree.len() {
            if self.cost[n] != OUT {
                let at = &mut self.family_start[self.root_of[tree.seq[n] as usize] as usize];
                self.family[*at as usize] = key(self.cost[n], n);
                *at += 1;
            }
        }
        // Each start has become its group's end.
        let mut start = 0;
        for root in 0..roots {
            let end = self.family_start[root] as usize;
            for &loser in losers(&mut self.family[start..end], most(root)) {
                self.cost[node(loser)] = OUT;
            }
            start = end;
        }
    }

    /// The best `k` keys in the running, in no order; fewer if there are fewer.
    pub(crate) fn best(&mut self, k: usize) -> &mut [u64] {
        self.chosen.clear();
        self.boundary.clear();
        self.bins.clear();
        self.bins.resize(BINS, 0);
        for &cost in &self.cost {
            self.bins[(cost >> BIN_SHIFT) as usize] += 1;
        }
        // The last bin holds what is out of the running.
        let (mut edge, mut below) = (0, 0);
        while edge < BINS - 1 && below + self.bins[edge] as usize <= k {
            below += self.bins[edge] as usize;
            edge += 1;
        }
        for (n, &cost) in self.cost.iter().enumerate() {
            let bin = (cost >> BIN_SHIFT) as usize;
            if bin < edge {
                self.chosen.push(key(cost, n));
            } else if bin == edge && edge < BINS - 1 {
                self.boundary.push(key(cost, n));
            }
        }
        self.chosen.extend_from_slice(winners(&mut self.boundary, k - self.chosen.len()));
        &mut self.chosen
    }
}

/// The least `k` of `keys`, in no order.
pub(crate) fn winners(keys: &mut [u64], k: usize) -> &[u64] {
    let k = k.min(keys.len());
    if 0 < k && k < keys.len() {
        keys.select_nth_unstable(k - 1);
    }
    &keys[..k]
}

/// All but the least `k` of `keys`, in no order.
fn losers(keys: &mut [u64], k: usize) -> &[u64] {
    let k = winners(keys, k).len();
    &keys[k..]
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
