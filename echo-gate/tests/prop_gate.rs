//! What every gate must do for any floats: only narrow, decide per sequence, by the formula.

use echo_core::{Frontier, Gate, Keep, Load, SuperTreeView};
use echo_gate::{
    Always, Ddd, DddParams, Dense, DenseParams, Fixed, FixedParams, Sparse, SparseParams,
    Threshold, confidence,
};
use proptest::prelude::*;

/// A frontier of depth 1: scores per sequence, and how wide each node was opened.
#[derive(Clone, Debug)]
struct Level {
    families: Vec<Vec<f32>>,
    opened: Vec<u32>,
}

struct Tree {
    parent: Vec<u32>,
    token: Vec<u32>,
    seq: Vec<u32>,
    score: Vec<f32>,
    level_start: Vec<u32>,
}

fn score() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -4.0_f32..0.0,
        1 => prop_oneof![Just(f32::NAN), Just(f32::NEG_INFINITY), Just(f32::INFINITY), Just(-0.0)],
        1 => any::<f32>(),
    ]
}

fn level() -> impl Strategy<Value = Level> {
    let families = prop::collection::vec(prop::collection::vec(score(), 0..5), 0..5);
    (families, prop::collection::vec(0_u32..4, 32))
        .prop_map(|(families, opened)| Level { families, opened })
}

impl Level {
    fn tree(&self) -> Tree {
        let roots = self.families.len();
        let owners = (0..roots).flat_map(|s| self.families[s].iter().map(move |_| s as u32));
        let parent: Vec<u32> = (0..roots as u32).chain(owners).collect();
        let scores = self.families.iter().flatten();
        Tree {
            token: vec![0; parent.len()],
            seq: parent.clone(),
            score: vec![0.0; roots].iter().chain(scores).copied().collect(),
            level_start: vec![0, roots as u32, parent.len() as u32],
            parent,
        }
    }

    /// The mask after `gate`, sequence by sequence, beside the mask before.
    fn narrowed(&self, gate: &dyn Gate) -> Vec<(Vec<u32>, Vec<u32>)> {
        let tree = self.tree();
        let view = SuperTreeView {
            parent: &tree.parent,
            token: &tree.token,
            seq: &tree.seq,
            score: &tree.score,
            level_start: &tree.level_start,
            passes: &[],
        };
        let frontier = view.frontier();
        let first = frontier.nodes().start;
        let mut keep = Keep::default();
        keep.reset(frontier.nodes().len());
        (0..keep.len()).for_each(|i| keep.open(i, self.opened[i]));
        let before = keep.as_slice().to_vec();
        gate.narrow(frontier, Load::default(), &mut keep);
        let part = |mask: &[u32], s: usize| -> Vec<u32> {
            let nodes = frontier.nodes().filter(|&n| view.seq[n] as usize == s);
            nodes.map(|n| mask[n - first]).collect()
        };
        (0..self.families.len()).map(|s| (part(&before, s), part(keep.as_slice(), s))).collect()
    }

    /// Whether `gate` closes exactly the sequences whose best number is at most `tau`.
    fn obeys(&self, gate: &dyn Gate, tau: f32) -> Result<(), String> {
        for (s, (before, after)) in self.narrowed(gate).into_iter().enumerate() {
            let numbers = self.families[s].iter().filter(|score| !score.is_nan());
            let open = numbers.into_iter().any(|score| score.min(0.0).exp() > tau);
            let expected = if open { before } else { vec![0; before.len()] };
            if after != expected {
                return Err(format!("sequence {s}: {after:?}, expected {expected:?}"));
            }
        }
        Ok(())
    }
}

/// A gate with a planted bug: the best score of the whole batch decides for everybody.
struct BatchWide {
    tau: f32,
}

impl Gate for BatchWide {
    fn looks_at(&self, _depth: usize) -> bool {
        true
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        if confidence(&frontier.tree.score[frontier.nodes()]) <= self.tau {
            (0..keep.len()).for_each(|i| keep.narrow(i, 0));
        }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn gates_close_by_the_formula(level in level(), tau in 0.0_f32..=1.0) {
        let fixed = Fixed::new(FixedParams { tau }).unwrap();
        let dense = Dense::new(DenseParams { tau: vec![tau, 0.0] }).unwrap();
        let thresholds = vec![Threshold { depth: 1, tau }, Threshold { depth: 2, tau: 0.0 }];
        let sparse = Sparse::new(SparseParams { thresholds }).unwrap();
        for gate in [&fixed as &dyn Gate, &dense, &sparse] {
            prop_assert!(gate.looks_at(1));
            prop_assert_eq!(level.obeys(gate, tau), Ok(()));
        }
    }

    #[test]
    fn ddd_closes_by_what_the_beam_has_left(level in level(), tau in 0.0_f32..=1.0) {
        let gate = Ddd::new(DddParams { depths: vec![1], tau }).unwrap();
        for (s, (before, after)) in level.narrowed(&gate).into_iter().enumerate() {
            let beam = level.families[s].iter().zip(&before).filter(|&(_, &open)| open > 0);
            let chance = |score: f32| if score.is_nan() { 0.0 } else { score.min(0.0).exp() };
            let left: f32 = beam.map(|(&score, _)| chance(score)).sum();
            let expected = if left < tau { vec![0; before.len()] } else { before };
            prop_assert_eq!(after, expected);
        }
    }

    #[test]
    fn where_a_gate_does_not_look_it_does_nothing(level in level(), tau in 0.0_f32..=1.0) {
        let thresholds = vec![Threshold { depth: 2, tau }];
        let elsewhere = Sparse::new(SparseParams { thresholds }).unwrap();
        let ddd = Ddd::new(DddParams { depths: vec![2], tau }).unwrap();
        for gate in [&Always as &dyn Gate, &elsewhere, &ddd] {
            prop_assert!(!gate.looks_at(1));
            prop_assert!(level.narrowed(gate).iter().all(|(before, after)| before == after));
        }
    }

    #[test]
    fn a_sequence_is_judged_alone(level in level(), tau in 0.0_f32..=1.0) {
        let fixed = Fixed::new(FixedParams { tau }).unwrap();
        let ddd = Ddd::new(DddParams { depths: vec![1], tau }).unwrap();
        let mut level = level;
        level.opened.fill(2);
        for gate in [&fixed as &dyn Gate, &ddd] {
            let together = level.narrowed(gate);
            for (s, family) in level.families.iter().enumerate() {
                let alone = Level { families: vec![family.clone()], opened: level.opened.clone() };
                prop_assert_eq!(&alone.narrowed(gate)[0], &together[s]);
            }
        }
    }
}

/// Negative control: a sure sequence must not keep an unsure one open.
#[test]
fn a_gate_that_mixes_sequences_is_caught() {
    let level = Level { families: vec![vec![-0.1], vec![-3.0]], opened: vec![1; 32] };
    assert_eq!(level.obeys(&Fixed::new(FixedParams { tau: 0.5 }).unwrap(), 0.5), Ok(()));
    assert!(level.obeys(&BatchWide { tau: 0.5 }, 0.5).is_err());
}
