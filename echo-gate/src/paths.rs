//! How often drafted paths are accepted: by their probability, and by their length.

use crate::draws::Draws;
use crate::isotonic::Isotonic;
use crate::sample::Sample;
use echo_core::{Plan, SuperTreeView};
use serde::{Deserialize, Serialize};

/// What is known of paths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathCalibration {
    /// Chance that a verified node is accepted, by the probability of its path.
    pub survival: Isotonic,
    /// Share of rounds that accepted at least 1, 2, … tokens.
    pub reach: Vec<f32>,
    /// What drafting one level more brings, from depth 0 on: quantiles, ascending, of the chance of
    /// the best path there over the chance of the best path before.
    pub ahead: Vec<Vec<f32>>,
    /// Rounds seen.
    pub rounds: u64,
}

/// Collects verified nodes between steps.
///
/// Whether a node was verified depends on scores and budget, never on what the target said, so
/// leaving out the others biases nothing at a given probability.
#[derive(Clone, Debug)]
pub struct PathGrader {
    /// Verified nodes by the probability of their path.
    nodes: Reservoir,
    /// Those whose parent was accepted, by their probability given the parent.
    proposals: Reservoir,
    samples_max: usize,
    reached: Vec<u64>,
    rounds: u64,
    /// By depth: probabilities of the best path there and one level deeper.
    best: Vec<Vec<(f32, f32)>>,
}

/// An even draw of all samples ever seen.
#[derive(Clone, Debug)]
struct Reservoir {
    samples_max: usize,
    samples: Vec<Sample>,
    seen: u64,
    draws: Draws,
}

impl Reservoir {
    fn new(samples_max: usize, seed: u64, lane: u64) -> Self {
        let samples = Vec::with_capacity(samples_max);
        Reservoir { samples_max, samples, seen: 0, draws: Draws::new(seed, lane) }
    }

    fn sample(&mut self, probability: f32, accepted: bool) {
        let Some(sample) = Sample::new(probability, accepted, 1) else { return };
        self.seen += 1;
        if self.samples.len() < self.samples_max {
            self.samples.push(sample);
            return;
        }
        let place = self.draws.below(self.seen) as usize;
        if let Some(kept) = self.samples.get_mut(place) {
            *kept = sample;
        }
    }
}

/// Quantiles that tell what a level brings.
const QUANTILES: usize = 16;

impl PathGrader {
    /// Room for an even draw of `samples_max` nodes, to depth `depth_max`. `seed` settles which
    /// stay.
    pub fn new(depth_max: usize, samples_max: usize, seed: u64) -> Self {
        PathGrader {
            nodes: Reservoir::new(samples_max, seed, 0),
            proposals: Reservoir::new(samples_max, seed, 1),
            samples_max,
            reached: vec![0; depth_max],
            rounds: 0,
            best: vec![Vec::new(); depth_max],
        }
    }

    /// Grades a step: `accepted` tells for each node whether the target accepted it,
    /// `accepted_depth` how deep each root's path went.
    ///
    /// Panics unless they cover the tree.
    pub fn observe(
        &mut self,
        tree: SuperTreeView<'_>,
        plan: &Plan,
        accepted: &[bool],
        accepted_depth: &[u32],
    ) {
        assert_eq!(accepted.len(), tree.len(), "a node each");
        assert_eq!(accepted_depth.len(), tree.roots(), "a depth per root");
        for &depth in accepted_depth {
            self.rounds += 1;
            self.reached.iter_mut().take(depth as usize).for_each(|n| *n += 1);
        }
        self.look_ahead(tree);
        for node in (tree.roots()..tree.len()).filter(|&node| plan.contains(node)) {
            let path = tree.score[node].exp();
            self.nodes.sample(path, accepted[node]);
            let parent = tree.parent[node] as usize;
            if accepted[parent] {
                self.proposals.sample(path / tree.score[parent].exp(), accepted[node]);
            }
        }
    }

    /// Notes the best path of each sequence at each depth, and one level deeper.
    fn look_ahead(&mut self, tree: SuperTreeView<'_>) {
        let best = |nodes: std::ops::Range<usize>| {
            let scores = tree.score[nodes].iter().copied();
            scores.fold(f32::NEG_INFINITY, f32::max).exp().min(1.0)
        };
        for depth in 1..tree.levels() {
            for (seq, nodes) in tree.families(depth) {
                let pairs = &mut self.best[depth - 1];
                if pairs.len() < self.samples_max {
                    pairs.push((best(tree.family(depth - 1, seq)), best(nodes)));
                }
            }
        }
    }

    /// Chance that a proposal is accepted if its parent is, by the drafter's own probability of it;
    /// `None` if no node was verified.
    pub fn proposals(&self) -> Option<Isotonic> {
        Isotonic::fit(&self.proposals.samples)
    }

    /// What was learnt; `None` if no node was verified.
    pub fn fit(&self) -> Option<PathCalibration> {
        let survival = Isotonic::fit(&self.nodes.samples)?;
        let share = |&n: &u64| (n as f64 / self.rounds.max(1) as f64) as f32;
        let reach = self.reached.iter().map(share).collect();
        let chance = |path: f32| if path < 1.0 { survival.gain(path) } else { 1.0 };
        let ratio = |&(before, after): &(f32, f32)| {
            let before = chance(before);
            if before > 0.0 { (chance(after) / before).min(1.0) } else { 0.0 }
        };
        let quantiles = |pairs: &Vec<(f32, f32)>| -> Vec<f32> {
            let mut ratios: Vec<f32> = pairs.iter().map(ratio).collect();
            ratios.sort_by(f32::total_cmp);
            let at = |q: usize| ratios[(2 * q + 1) * ratios.len() / (2 * QUANTILES)];
            if ratios.is_empty() { Vec::new() } else { (0..QUANTILES).map(at).collect() }
        };
        let ahead = self.best.iter().map(quantiles).filter(|known| !known.is_empty()).collect();
        Some(PathCalibration { survival, reach, ahead, rounds: self.rounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_tree::Drawing;

    const TREE: &str = "
        seq 0: 1 *
          2 -0.2 *
            3 -0.5 *
          4 -1.5 *
        seq 1: 1 *
          5 -2 *
          6 -3";

    fn graded(rounds: usize, samples_max: usize) -> PathGrader {
        let drawing = Drawing::parse(TREE).expect("a tree");
        let mut grader = PathGrader::new(3, samples_max, 7);
        // Level by level: two roots, then 2, 4, 5 and 6, then 3.
        let accepted = [true, true, true, false, false, false, true];
        for _ in 0..rounds {
            grader.observe(drawing.tree.view(), &drawing.plan, &accepted, &[2, 0]);
        }
        grader
    }

    #[test]
    fn rates_are_those_of_the_rounds() {
        let learnt = graded(50, 1000).fit().expect("there were nodes");
        assert_eq!(learnt.rounds, 100);
        assert_eq!(learnt.reach, [0.5, 0.5, 0.0]);
        // Of two roots one has a sure child and one a hopeless one; below the first it stays sure.
        assert_eq!(learnt.ahead.len(), 2);
        assert_eq!(learnt.ahead[0], [[0.0; 8], [1.0; 8]].concat());
        assert_eq!(learnt.ahead[1], [1.0; 16]);
        // A node whose parent fell says nothing about the proposal.
        let proposals = graded(50, 1000).proposals().expect("there were nodes");
        let of = |log_prob: f32| proposals.gain(log_prob.exp());
        assert_eq!((of(-0.2), of(-0.3), of(-1.5), of(-2.0)), (1.0, 1.0, 0.0, 0.0));
        let gain = |score: f32| learnt.survival.gain(score.exp());
        assert_eq!((gain(-0.2), gain(-0.5), gain(-1.5), gain(-2.0)), (1.0, 1.0, 0.0, 0.0));
    }

    #[test]
    fn what_was_not_verified_is_not_learnt_from() {
        // The node of -3 was drafted alone.
        let drawing = Drawing::parse("seq 0: 1 *\n  6 -3").expect("a tree");
        let mut grader = PathGrader::new(1, 10, 7);
        grader.observe(drawing.tree.view(), &drawing.plan, &[true, false], &[0]);
        assert_eq!(grader.fit(), None);
    }

    #[test]
    fn memory_is_bounded_and_the_draw_even() {
        let grader = graded(500, 100);
        assert_eq!(grader.nodes.samples.len(), 100);
        let gained = grader.nodes.samples.iter().filter(|sample| sample.gained()).count();
        assert!((35..65).contains(&gained), "{gained} of 100, half were expected");
    }
}
