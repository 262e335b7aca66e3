//! The owner of the super-tree: roots are planted, then levels are pushed.

use echo_core::{Children, Keep, Limits, SuperTreeView, Token};

/// The draft trees of the whole batch, level by level. See [`SuperTreeView`] for the layout.
///
/// Whatever a drafter proposes and whatever a gate writes into the mask, the tree keeps its
/// invariants and its limits: scores never rise from parent to child and are never NaN, siblings
/// never share a token, and no sequence outgrows [`Limits::tree_nodes_max`].
#[derive(Clone, Debug)]
pub struct SuperTree {
    pub(crate) parent: Vec<u32>,
    pub(crate) token: Vec<Token>,
    pub(crate) seq: Vec<u32>,
    pub(crate) score: Vec<f32>,
    pub(crate) level_start: Vec<u32>,
    passes: Vec<u32>,
    proposals: Vec<Proposal>,
    limits: Limits,
}

/// A proposed child. The derived order is the order of a level: by parent, best score first, ties
/// by lowest token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Proposal {
    parent: u32,
    /// The cost above the token. The cost is the bits of the cumulative score without its sign:
    /// scores are at most 0, so fewer is better.
    rank: u64,
}

impl Proposal {
    fn token(self) -> Token {
        self.rank as Token
    }

    fn score(self) -> f32 {
        0.0 - f32::from_bits((self.rank >> 32) as u32)
    }
}

impl SuperTree {
    /// An empty tree with room for everything `limits` allow.
    pub fn new(limits: &Limits) -> Self {
        let nodes = limits.nodes_max();
        let level = limits.seqs_max * limits.level_max().max(limits.width_max);
        let mut tree = SuperTree {
            parent: Vec::with_capacity(nodes),
            token: Vec::with_capacity(nodes),
            seq: Vec::with_capacity(nodes),
            score: Vec::with_capacity(nodes),
            level_start: Vec::with_capacity(limits.depth_max + 2),
            passes: Vec::with_capacity(limits.depth_max + 1),
            proposals: Vec::with_capacity(level),
            limits: *limits,
        };
        tree.plant(std::iter::empty());
        tree
    }

    /// Forgets the tree and plants one root per decoding sequence: its place in the batch, and its
    /// last committed token.
    ///
    /// Panics if places don't ascend, or if there are more than `seqs_max`.
    pub fn plant(&mut self, roots: impl Iterator<Item = (u32, Token)>) {
        self.parent.clear();
        self.token.clear();
        self.seq.clear();
        self.score.clear();
        self.level_start.clear();
        self.passes.clear();
        for (seq, token) in roots {
            let ascends = self.seq.last().is_none_or(|&last| last < seq);
            assert!(ascends, "roots must ascend by place; {seq} follows {:?}", self.seq.last());
            let n = self.parent.len();
            assert!(n < self.limits.seqs_max, "more roots than seqs_max");
            self.push(n as u32, token, seq, 0.0);
        }
        self.level_start.extend_from_slice(&[0, self.parent.len() as u32]);
    }

    /// Grows the next level out of what a drafter proposed, and returns its number of nodes.
    ///
    /// Each frontier node gets its best proposals, at most what `keep` and the limits allow; of two
    /// proposals of one token the better stays. A log-probability above 0 counts as 0, NaN as −∞.
    /// Proposals for nodes outside the frontier are ignored: a drafter can't break the tree. An
    /// empty level is not added, so that 0 ends the draft.
    ///
    /// Allocates only if a drafter proposes more than a whole level can hold.
    ///
    /// Panics if `keep` doesn't cover the frontier.
    pub fn push_level(&mut self, keep: &Keep, children: &Children) -> usize {
        let frontier = self.view().frontier();
        let (nodes, depth) = (frontier.nodes(), frontier.depth() + 1);
        assert_eq!(keep.len(), nodes.len(), "keep must cover the frontier");
        if depth > self.limits.depth_max {
            return 0;
        }
        self.passes.push(keep.n_passes() as u32);
        self.collect(nodes.start, keep, children);
        self.sort();
        let level_max = match depth {
            1 => self.limits.width_max,
            _ => self.limits.level_max(),
        };
        let start = self.parent.len();
        let proposals = std::mem::take(&mut self.proposals);
        let (mut clan, mut left) = (u32::MAX, level_max);
        for family in proposals.chunk_by(|a, b| a.parent == b.parent) {
            let parent = family[0].parent as usize;
            let (seq, first) = (self.seq[parent], self.parent.len());
            if seq != clan {
                (clan, left) = (seq, level_max);
            }
            let most = (keep.children(parent - nodes.start) as usize).min(self.limits.width_max);
            for proposal in family {
                if self.parent.len() - first == most.min(left) {
                    break;
                }
                if !self.token[first..].contains(&proposal.token()) {
                    self.push(parent as u32, proposal.token(), seq, proposal.score());
                }
            }
            left -= self.parent.len() - first;
        }
        self.proposals = proposals;
        let added = self.parent.len() - start;
        if added > 0 {
            self.level_start.push(self.parent.len() as u32);
        }
        added
    }

    /// The tree as it stands.
    pub fn view(&self) -> SuperTreeView<'_> {
        SuperTreeView {
            parent: &self.parent,
            token: &self.token,
            seq: &self.seq,
            score: &self.score,
            level_start: &self.level_start,
            passes: &self.passes,
        }
    }

    /// Gathers the proposals for open nodes of the frontier, with their cumulative scores.
    fn collect(&mut self, first: usize, keep: &Keep, children: &Children) {
        self.proposals.clear();
        for ((&parent, &token), &log_prob) in
            children.parent.iter().zip(&children.token).zip(&children.log_prob)
        {
            let place = (parent as usize).wrapping_sub(first);
            if keep.as_slice().get(place).is_some_and(|&width| width > 0) {
                let log_prob = match log_prob {
                    lp if lp.is_nan() => f32::NEG_INFINITY,
                    lp => lp.min(0.0),
                };
                let cost = (self.score[parent as usize] + log_prob).abs().to_bits();
                self.proposals
                    .push(Proposal { parent, rank: u64::from(cost) << 32 | u64::from(token) });
            }
        }
    }

    /// Brings the proposals into the order of a level. Drafters mostly go through the frontier in
    /// order, and then only siblings have to be sorted.
    fn sort(&mut self) {
        if self.proposals.is_sorted_by_key(|p| p.parent) {
            for family in self.proposals.chunk_by_mut(|a, b| a.parent == b.parent) {
                if !family.is_sorted() {
                    family.sort_unstable();
                }
            }
        } else {
            self.proposals.sort_unstable();
        }
    }

    fn push(&mut self, parent: u32, token: Token, seq: u32, score: f32) {
        self.parent.push(parent);
        self.token.push(token);
        self.seq.push(seq);
        self.score.push(score);
    }

    /// A tree of exactly these nodes, in level order, that can't grow.
    pub(crate) fn from_levels(
        nodes: impl Iterator<Item = (u32, Token, u32, f32)>,
        level_start: Vec<u32>,
    ) -> Self {
        let mut tree = SuperTree {
            parent: Vec::new(),
            token: Vec::new(),
            seq: Vec::new(),
            score: Vec::new(),
            level_start,
            passes: Vec::new(),
            proposals: Vec::new(),
            limits: Limits {
                seqs_max: 0,
                rows_max: 0,
                depth_max: 0,
                width_max: 0,
                beam_max: 0,
                tree_max: 0,
                context_max: 0,
                kv_slots: 0,
                logprobs_max: 0,
            },
        };
        for (parent, token, seq, score) in nodes {
            tree.push(parent, token, seq, score);
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::draw;

    const LIMITS: Limits = Limits {
        seqs_max: 3,
        rows_max: 64,
        depth_max: 2,
        width_max: 2,
        beam_max: 2,
        tree_max: 8,
        context_max: 64,
        kv_slots: 256,
        logprobs_max: 0,
    };

    /// Plants places 0 and 2, then pushes levels of `(parent, token, log_prob)`, every node open.
    fn check(levels: &[&[(usize, Token, f32)]], expected: &str) {
        let mut tree = SuperTree::new(&LIMITS);
        tree.plant([(0, 7), (2, 8)].into_iter());
        for level in levels {
            let mut keep = Keep::default();
            keep.reset(tree.view().frontier().nodes().len());
            (0..keep.len()).for_each(|i| keep.open(i, 9));
            let mut children = Children::default();
            for &(parent, token, log_prob) in *level {
                children.push(parent, token, log_prob);
            }
            tree.push_level(&keep, &children);
        }
        assert_eq!(draw(tree.view(), None, None), expected);
    }

    #[test]
    fn levels_are_sorted_cut_and_freed_of_repeats() {
        check(
            &[
                &[(1, 4, -2.0), (0, 5, -1.0), (0, 6, -0.5), (0, 6, -0.25), (0, 3, -1.0)],
                &[(3, 1, 7.0), (2, 2, f32::NAN), (2, 9, -1.0)],
            ],
            "seq 0: 7\n  6 -0.25\n    9 -1.25\n    2 -inf\n  3 -1\n    1 -1\nseq 2: 8\n  4 -2\n",
        );
    }

    #[test]
    fn strays_and_levels_too_deep_are_ignored() {
        check(
            &[&[(0, 1, -1.0), (5, 1, -1.0)], &[(2, 1, -1.0), (0, 2, -1.0)], &[(3, 1, -1.0)]],
            "seq 0: 7\n  1 -1\n    1 -2\nseq 2: 8\n",
        );
    }

    #[test]
    fn an_empty_level_is_not_added() {
        let mut tree = SuperTree::new(&LIMITS);
        tree.plant(std::iter::once((1, 7)));
        let mut keep = Keep::default();
        keep.reset(1);
        let mut children = Children::default();
        children.push(0, 3, -1.0);
        assert_eq!(tree.push_level(&keep, &children), 0);
        assert_eq!((tree.view().levels(), tree.view().len()), (1, 1));
    }
}
