//! Random super-trees, as a drafter and a gate without manners would grow them.

use echo_core::{Children, Keep, Limits, Token};
use echo_tree::SuperTree;
use proptest::prelude::*;

/// Small enough that limits bind often.
pub(crate) const LIMITS: Limits = Limits {
    seqs_max: 4,
    rows_max: 128,
    depth_max: 3,
    width_max: 3,
    beam_max: 2,
    tree_max: 70,
    context_max: 16,
    kv_slots: 256,
    logprobs_max: 0,
};

/// One draft pass: proposals `(parent, token, log_prob)` with the parent as an offset from the
/// frontier's first node, and the mask, repeated over the frontier.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) proposals: Vec<(usize, Token, f32)>,
    pub(crate) keep: Vec<u32>,
}

/// Which places have roots, and the draft passes that follow.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    pub(crate) places: Vec<u32>,
    pub(crate) passes: Vec<Pass>,
}

/// Log-probabilities with many ties, and what no drafter should ever say.
pub(crate) fn log_prob() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => (0_u8..4).prop_map(|tie| -f32::from(tie) / 2.0),
        4 => -5.0_f32..0.0,
        1 => prop_oneof![Just(f32::NAN), Just(f32::NEG_INFINITY), Just(f32::INFINITY), Just(-0.0)],
        1 => any::<f32>(),
    ]
}

pub(crate) fn growth() -> impl Strategy<Value = Growth> {
    let proposal = (0_usize..9, 0_u32..5, log_prob());
    let pass = (
        prop::collection::vec(proposal, 0..40),
        prop::collection::vec(prop_oneof![1 => Just(0_u32), 5 => 1_u32..5], 1..5),
    );
    let pass = pass.prop_map(|(proposals, keep)| Pass { proposals, keep });
    let places = prop::sample::subsequence(vec![0_u32, 1, 2, 5], 0..=4);
    (places, prop::collection::vec(pass, 0..6))
        .prop_map(|(places, passes)| Growth { places, passes })
}

impl Pass {
    /// The mask and the proposals over the frontier of `tree`, in the order given.
    pub(crate) fn over(&self, tree: &SuperTree) -> (Keep, Children) {
        let frontier = tree.view().frontier().nodes();
        let mut keep = Keep::default();
        keep.reset(frontier.len());
        (0..keep.len()).for_each(|i| keep.open(i, self.keep[i % self.keep.len()]));
        let mut children = Children::default();
        for &(parent, token, log_prob) in &self.proposals {
            children.push(frontier.start + parent, token, log_prob);
        }
        (keep, children)
    }
}

impl Growth {
    /// The tree after all passes.
    pub(crate) fn grow(&self, limits: &Limits) -> SuperTree {
        let mut tree = SuperTree::new(limits);
        tree.plant(self.places.iter().map(|&seq| (seq, 100 + seq)));
        for pass in &self.passes {
            let (keep, children) = pass.over(&tree);
            tree.push_level(&keep, &children);
        }
        tree
    }
}

/// Many cases, shrunk in memory only; cases without the shape a test needs are cheap to reject.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 10_000,
        max_global_rejects: 100_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
