//! The super-tree, as everybody but its owner sees it.

use crate::id::Token;
use std::ops::Range;

/// The draft trees of the whole batch in parallel arrays, level by level.
///
/// - Node `n` is the `n`-th entry of each array. Level 0 holds the roots, one per sequence that
///   decodes in this step, in ascending order of `seq`; level `d` is
///   `level_start[d]..level_start[d + 1]`.
/// - Within a level, nodes are grouped by sequence in ascending order, then by parent in ascending
///   order; siblings stand in descending order of score, ties by lowest token, and never share a
///   token.
/// - A parent's index is below its children's. A root is its own parent.
#[derive(Clone, Copy, Debug)]
pub struct SuperTreeView<'a> {
    /// Index of the parent, `[nodes]`.
    pub parent: &'a [u32],
    /// Drafted token; at a root the last committed token, `[nodes]`.
    pub token: &'a [Token],
    /// Place in the batch of the sequence the node belongs to, `[nodes]`.
    pub seq: &'a [u32],
    /// Cumulative draft log-probability from the root, `S(i,d,j)` of ECHO eq. 5; 0 at roots, never
    /// above the parent's and never NaN, whatever a drafter makes up, `[nodes]`.
    pub score: &'a [f32],
    /// First node of each level and, last, the number of nodes, `[levels + 1]`.
    pub level_start: &'a [u32],
    /// Nodes on which a draft pass was spent, by their depth; empty where nobody counted. One entry
    /// more than levels were grown if the last pass brought nothing.
    pub passes: &'a [u32],
}

impl<'a> SuperTreeView<'a> {
    /// Number of nodes, roots included.
    #[inline]
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Whether no sequence decodes in this step.
    pub fn is_empty(&self) -> bool {
        self.parent.is_empty()
    }

    /// Number of levels, the roots' included.
    #[inline]
    pub fn levels(&self) -> usize {
        self.level_start.len() - 1
    }

    /// The nodes of level `depth`.
    #[inline]
    pub fn level(&self, depth: usize) -> Range<usize> {
        self.level_start[depth] as usize..self.level_start[depth + 1] as usize
    }

    /// The nodes of level `depth`, sequence by sequence: place in the batch, and the nodes.
    #[inline]
    pub fn families(&self, depth: usize) -> impl Iterator<Item = (u32, Range<usize>)> + use<'a> {
        let (tree, mut left) = (*self, self.level(depth));
        std::iter::from_fn(move || {
            let &owner = tree.seq[left.clone()].first()?;
            let run = tree.run(owner, left.clone());
            left.start = run.end;
            Some((owner, run))
        })
    }

    /// The nodes of level `depth` of consecutive sequences, those of `roots`: one range each, which
    /// may be empty. One search, then a walk.
    #[inline]
    pub fn families_of(
        &self,
        depth: usize,
        roots: Range<usize>,
    ) -> impl Iterator<Item = Range<usize>> + use<'a> {
        let (tree, end, owners) = (*self, self.level(depth).end, &self.seq[roots]);
        let mut at = owners.first().map_or(end, |&first| self.family(depth, first).start);
        let mut len = 0;
        owners.iter().map(move |&owner| {
            // Mostly a sequence has as many nodes as the one before it.
            let owns = |n: usize| n < end && tree.seq[n] == owner;
            if !(len > 0 && owns(at + len - 1) && !owns(at + len)) {
                len = tree.run(owner, at..end).len();
            }
            at += len;
            at - len..at
        })
    }

    /// The first nodes of `nodes`, which are of one level, if they are of the sequence at place
    /// `seq`.
    fn run(&self, seq: u32, nodes: Range<usize>) -> Range<usize> {
        let len = leading(&self.seq[nodes.clone()], |s| s == seq);
        nodes.start..nodes.start + len
    }

    /// The nodes of level `depth` that belong to the sequence at place `seq`.
    #[inline]
    pub fn family(&self, depth: usize, seq: u32) -> Range<usize> {
        let level = self.level(depth);
        let owners = &self.seq[level.clone()];
        let start = owners.partition_point(|&s| s < seq);
        let len = owners[start..].partition_point(|&s| s == seq);
        level.start + start..level.start + start + len
    }

    /// The tree without the levels below `depth`.
    #[must_use]
    pub fn up_to(&self, depth: usize) -> SuperTreeView<'a> {
        let level_start = &self.level_start[..self.level_start.len().min(depth + 2)];
        let n = level_start[level_start.len() - 1] as usize;
        SuperTreeView {
            parent: &self.parent[..n],
            token: &self.token[..n],
            seq: &self.seq[..n],
            score: &self.score[..n],
            level_start,
            passes: &self.passes[..self.passes.len().min(level_start.len() - 2)],
        }
    }

    /// Number of roots.
    #[inline]
    pub fn roots(&self) -> usize {
        self.level(0).len()
    }

    /// Whether no score is NaN or above its parent's, as all may rely on.
    pub fn scores_fall(&self) -> bool {
        let parents = self.parent.iter().map(|&parent| self.score[parent as usize]);
        self.score.iter().zip(parents).all(|(&score, parent)| score <= parent)
    }

    /// The newest level.
    pub fn frontier(&self) -> Frontier<'a> {
        Frontier { tree: *self }
    }
}

/// How many of the first of `ascending` are what is asked for, if the others aren't. In strides
/// that compilers turn into vectors.
fn leading(ascending: &[u32], wanted: impl Fn(u32) -> bool) -> usize {
    let mut n = 0;
    for stride in ascending.chunks(8) {
        let found = stride.iter().filter(|&&x| wanted(x)).count();
        n += found;
        if found < stride.len() {
            break;
        }
    }
    n
}

/// The newest level of a super-tree: the next draft batch.
#[derive(Clone, Copy, Debug)]
pub struct Frontier<'a> {
    /// The tree the level belongs to.
    pub tree: SuperTreeView<'a>,
}

impl<'a> Frontier<'a> {
    /// Depth of the level; 0 when only roots are planted.
    pub fn depth(&self) -> usize {
        self.tree.levels() - 1
    }

    /// Its nodes, as indices into the tree.
    pub fn nodes(&self) -> Range<usize> {
        self.tree.level(self.depth())
    }

    /// Its nodes sequence by sequence: place in the batch, and the nodes as indices into the tree.
    pub fn seqs(&self) -> impl Iterator<Item = (u32, Range<usize>)> + use<'a> {
        self.tree.families(self.depth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frontier_is_read_sequence_by_sequence() {
        let tree = SuperTreeView {
            parent: &[0, 1, 0, 0, 1],
            token: &[7, 8, 1, 2, 3],
            seq: &[0, 2, 0, 0, 2],
            score: &[0.0; 5],
            level_start: &[0, 2, 5],
            passes: &[],
        };
        let frontier = tree.frontier();
        assert_eq!(frontier.depth(), 1);
        assert_eq!(frontier.seqs().collect::<Vec<_>>(), [(0, 2..4), (2, 4..5)]);
        assert_eq!(tree.families_of(1, 0..2).collect::<Vec<_>>(), [2..4, 4..5]);
        assert!(tree.families_of(1, 1..2).eq(std::iter::once(4..5)));
        assert_eq!((tree.len(), tree.levels(), tree.roots()), (5, 2, 2));
    }

    #[test]
    fn levels_are_cut_off_whole() {
        let tree = SuperTreeView {
            parent: &[0, 0, 1],
            token: &[7, 1, 2],
            seq: &[3; 3],
            score: &[0.0, -1.0, -2.0],
            level_start: &[0, 1, 2, 3],
            passes: &[],
        };
        let shape = |depth: usize| (tree.up_to(depth).len(), tree.up_to(depth).levels());
        assert_eq!([0, 1, 2, 9].map(shape), [(1, 1), (2, 2), (3, 3), (3, 3)]);
        assert_eq!(tree.families(1).collect::<Vec<_>>(), [(3, 1..2)]);
        assert!(tree.families_of(1, 0..1).eq(std::iter::once(1..2)));
        assert_eq!([2, 3, 4].map(|seq| tree.family(1, seq)), [1..1, 1..2, 2..2]);
    }
}
