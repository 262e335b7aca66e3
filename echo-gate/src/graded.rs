//! Graded rounds: what one step tells about the confidence of each sequence at each depth.
//!
//! Sequence `i` is graded at depth `d ≥ 1` if the target verified a node of it at that depth. The
//! confidence is the one a gate sees, over all nodes drafted there: `c(i,d) = exp(max_j S(i,d,j))`.
//! The label is whether the accepted path reached depth `d + 1`. It is *uncensored* if a node of
//! depth `d + 1` was verified; else nobody knows what drafting on would have gained. Whether it is
//! depends on scores and budget, never on what the target said, so dropping censored rounds leaves
//! the labels at a given confidence unbiased. A gate does thin out low confidences, though, which
//! biases the AUC: learn from ungated rounds ([`Explore`](crate::Explore)).
//!
//! A root's confidence is 1 always and tells nothing, so depth 0 is not graded.

use crate::confidence::confidence;
use crate::draws::Draws;
use crate::sample::Sample;
use echo_core::{Limits, Plan, SuperTreeView};
use std::ops::Range;

/// One sequence at one depth of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Graded {
    /// Place of the sequence in the batch.
    pub seq: u32,
    /// Depth, from 1.
    pub depth: u32,
    /// `c(i,d)`, in `0..=1`.
    pub confidence: f32,
    /// Whether the accepted path reached depth `d + 1`.
    pub gained: bool,
    /// Verified nodes of depth `d + 1`.
    pub nodes: u32,
}

impl Graded {
    /// Whether the label says something: a node one level deeper was verified.
    pub fn is_uncensored(&self) -> bool {
        self.nodes > 0
    }
}

/// Which rounds stay when there is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// An even draw of all rounds ever seen (reservoir sampling, Vitter 1985), for calibration.
    Even,
    /// The latest, in a ring, for a rolling refit.
    Latest,
}

/// Collects graded rounds between steps, in memory fixed at start.
#[derive(Clone, Debug)]
pub struct Grader {
    retention: Retention,
    rounds_max: usize,
    levels: Vec<Level>,
    last: Vec<Graded>,
}

#[derive(Clone, Debug)]
struct Level {
    samples: Vec<Sample>,
    seen: u64,
    draws: Draws,
}

impl Grader {
    /// Room for `rounds_max` rounds of each depth that `limits` allow. `seed` settles which stay.
    pub fn new(limits: &Limits, rounds_max: usize, retention: Retention, seed: u64) -> Self {
        let level = |depth| {
            let draws = Draws::new(seed, depth as u64);
            Level { samples: Vec::with_capacity(rounds_max), seen: 0, draws }
        };
        let last = Vec::with_capacity(limits.seqs_max * limits.depth_max);
        Grader { retention, rounds_max, levels: (1..=limits.depth_max).map(level).collect(), last }
    }

    /// Grades a step in which nothing was gated. `accepted_depth` is the depth of the last accepted
    /// node of each root, in the order of the roots, before any cut at a stop. Allocates nothing.
    ///
    /// Panics if there is not one depth per root or the plan doesn't cover the tree.
    pub fn observe(&mut self, tree: SuperTreeView<'_>, plan: &Plan, accepted_depth: &[u32]) {
        self.observe_where(tree, plan, accepted_depth, |_| true);
    }

    /// As [`observe`](Grader::observe), but learns only from the places where `is_ungated` says so;
    /// all are graded in [`last`](Grader::last).
    pub fn observe_where(
        &mut self,
        tree: SuperTreeView<'_>,
        plan: &Plan,
        accepted_depth: &[u32],
        is_ungated: impl Fn(u32) -> bool,
    ) {
        assert_eq!(accepted_depth.len(), tree.roots(), "one accepted depth per root");
        assert_eq!(plan.nodes(), tree.len(), "a plan of this tree");
        self.last.clear();
        for depth in 1..tree.levels().min(self.levels.len() + 1) {
            let mut roots = tree.level(0).zip(accepted_depth);
            let mut below = (depth + 1 < tree.levels()).then(|| tree.families(depth + 1));
            let mut next = below.as_mut().and_then(Iterator::next);
            for (seq, nodes) in tree.families(depth) {
                let accepted = roots.find(|&(root, _)| tree.seq[root] == seq);
                while next.as_ref().is_some_and(|(other, _)| *other < seq) {
                    next = below.as_mut().and_then(Iterator::next);
                }
                let (Some((_, &accepted)), true) =
                    (accepted, nodes.clone().any(|n| plan.contains(n)))
                else {
                    continue;
                };
                let children = next.clone().filter(|(other, _)| *other == seq);
                let kept = |nodes: Range<usize>| nodes.filter(|&n| plan.contains(n)).count() as u32;
                self.last.push(Graded {
                    seq,
                    depth: depth as u32,
                    confidence: confidence(&tree.score[nodes]),
                    gained: accepted as usize > depth,
                    nodes: children.map_or(0, |(_, nodes)| kept(nodes)),
                });
            }
        }
        for graded in self.last.iter().filter(|g| g.is_uncensored() && is_ungated(g.seq)) {
            let sample = Sample::new(graded.confidence, graded.gained, graded.nodes);
            let level = &mut self.levels[graded.depth as usize - 1];
            if let Some(sample) = sample {
                level.take(sample, self.rounds_max, self.retention);
            }
        }
    }

    /// What the latest step told, level by level, censored rounds included.
    pub fn last(&self) -> &[Graded] {
        &self.last
    }

    /// The rounds held for each depth from 1.
    pub fn levels(&self) -> Vec<&[Sample]> {
        self.levels.iter().map(|level| level.samples.as_slice()).collect()
    }

    /// Uncensored rounds of `depth` (from 1) seen so far, held or not.
    pub fn seen(&self, depth: usize) -> u64 {
        depth.checked_sub(1).and_then(|i| self.levels.get(i)).map_or(0, |level| level.seen)
    }
}

impl Level {
    fn take(&mut self, sample: Sample, rounds_max: usize, retention: Retention) {
        self.seen += 1;
        if self.samples.len() < rounds_max {
            self.samples.push(sample);
            return;
        }
        let at = match retention {
            Retention::Even => self.draws.below(self.seen),
            Retention::Latest => (self.seen - 1) % rounds_max.max(1) as u64,
        };
        if let Some(held) = self.samples.get_mut(at as usize) {
            *held = sample;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_tree::Drawing;

    const TEXT: &str = "
        seq 0: 7 *
          1 -0.5 *
            2 -1 *
            3 -2 *
          4 -3
        seq 2: 8 *
          5 -0.25 *
            6 -0.75
        seq 5: 9 *
          7 NaN";

    fn check(accepted: &[u32], expected: &[(u32, u32, bool, u32)]) -> Grader {
        let drawing = Drawing::parse(TEXT).unwrap();
        let mut grader = Grader::new(&Limits::usual(8, 64), 4, Retention::Even, 1);
        grader.observe(drawing.tree.view(), &drawing.plan, accepted);
        let told = grader.last().iter().map(|g| (g.seq, g.depth, g.gained, g.nodes));
        assert_eq!(told.collect::<Vec<_>>(), expected);
        grader
    }

    #[test]
    fn verified_depths_are_graded_and_the_deepest_is_censored() {
        let expected = [(0, 1, true, 2), (2, 1, false, 0), (0, 2, false, 0)];
        let grader = check(&[2, 1, 0], &expected);
        assert_eq!(grader.last()[0].confidence, (-0.5_f32).exp());
        assert_eq!(grader.levels()[0], [Sample::new((-0.5_f32).exp(), true, 2).unwrap()]);
        assert_eq!((grader.seen(1), grader.seen(2)), (1, 0));
        check(&[1, 0, 0], &[(0, 1, false, 2), (2, 1, false, 0), (0, 2, false, 0)]);
    }

    #[test]
    fn gated_places_are_graded_but_not_learnt_from() {
        let drawing = Drawing::parse(TEXT).unwrap();
        let mut grader = Grader::new(&Limits::usual(8, 64), 4, Retention::Even, 1);
        grader.observe_where(drawing.tree.view(), &drawing.plan, &[2, 1, 0], |seq| seq != 0);
        assert_eq!((grader.last().len(), grader.seen(1)), (3, 0));
    }

    fn kept(retention: Retention, n: u32, rounds_max: usize) -> Vec<f32> {
        let mut grader = Grader::new(&Limits::usual(1, 64), rounds_max, retention, 5);
        for i in 0..n {
            let sample = Sample::new(i as f32 / n as f32, true, 1).unwrap();
            grader.levels[0].take(sample, rounds_max, retention);
        }
        grader.levels()[0].iter().map(|s| s.confidence()).collect()
    }

    #[test]
    fn memory_is_fixed_and_the_draw_even() {
        assert_eq!(kept(Retention::Latest, 10, 4), [0.8, 0.9, 0.6, 0.7]);
        let even = kept(Retention::Even, 20_000, 1000);
        let mean = even.iter().sum::<f32>() / 1000.0;
        assert!(even.len() == 1000 && (mean - 0.5).abs() < 0.04, "{mean}");
        assert_eq!(even, kept(Retention::Even, 20_000, 1000));
        assert!(kept(Retention::Even, 9, 0).is_empty());
    }
}
