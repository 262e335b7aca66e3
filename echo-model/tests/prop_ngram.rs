//! The n-gram drafter against a scan of the whole text, on random texts, trees and histories.

use echo_core::{BatchView, Children, Drafter, Keep, Limits, SuperTreeView, Token};
use echo_model::ngram::{NgramDrafter, NgramOptions};
use proptest::prelude::*;

const STRIDE: usize = 96;
const LIMITS: Limits = Limits {
    seqs_max: 1,
    rows_max: 8,
    depth_max: 4,
    width_max: 8,
    beam_max: 4,
    tree_max: 16,
    context_max: STRIDE,
    kv_slots: 128,
    logprobs_max: 0,
};

/// The definition, literally: every earlier end of the text, longest match counted by hand.
fn naive(options: &NgramOptions, text: &[Token], path: &[Token]) -> Vec<(Token, f32)> {
    let context = [text, path].concat();
    let mut found: Vec<(Token, usize, f32)> = Vec::new();
    let mut weight = 1.0;
    for end in (0..text.len().saturating_sub(1)).rev() {
        let same = |i: &usize| context[context.len() - 1 - i] == text[end - i];
        let most = options.n_max.min(end + 1).min(context.len());
        let length = (0..most).take_while(same).count();
        if length >= options.n_min && found.len() < options.scan_max {
            found.push((text[end + 1], length, weight));
            weight *= options.recency;
        }
    }
    let mut tokens: Vec<Token> = found.iter().map(|f| f.0).collect();
    tokens.sort_unstable();
    tokens.dedup();
    let probability = |token: Token| {
        (options.n_min..=options.n_max).fold(0.0, |p, l| {
            let long = found.iter().filter(|f| f.1 >= l);
            let all: f32 = long.clone().map(|f| f.2).sum();
            let own: f32 = long.filter(|f| f.0 == token).map(|f| f.2).sum();
            (own + options.smoothing * p) / (all + options.smoothing)
        })
    };
    tokens.iter().map(|&t| (t, probability(t))).collect()
}

/// What the drafter proposes after `text` and `path`, through the port.
fn proposed(drafter: &mut NgramDrafter, text: &[Token], path: &[Token]) -> Vec<(Token, f32)> {
    let mut tokens = text.to_vec();
    tokens.resize(STRIDE, 0);
    let batch = BatchView {
        tokens: &tokens,
        slots: &[0; STRIDE],
        stride: STRIDE,
        n_tokens: &[text.len() as u32],
        n_cached: &[0],
        seed: &[0],
        temperature: &[0.0],
    };
    let chain = [&text[text.len() - 1..], path].concat();
    let nodes = chain.len() as u32;
    let tree = SuperTreeView {
        parent: &(0..nodes).map(|n| n.saturating_sub(1)).collect::<Vec<_>>(),
        token: &chain,
        seq: &vec![0; chain.len()],
        score: &vec![0.0; chain.len()],
        level_start: &(0..=nodes).collect::<Vec<_>>(),
        passes: &[],
    };
    let mut keep = Keep::default();
    keep.reset(1);
    keep.open(0, 64);
    let mut children = Children::default();
    let level = drafter.extend(batch, tree.frontier(), &keep, &mut children);
    level.expect("no device takes part");
    let probabilities = children.log_prob.iter().map(|l| l.exp());
    children.token.iter().copied().zip(probabilities).collect()
}

fn agree(drafted: &[(Token, f32)], expected: &[(Token, f32)]) -> bool {
    let mut sorted = drafted.to_vec();
    sorted.sort_unstable_by_key(|d| d.0);
    sorted.len() == expected.len()
        && drafted.is_sorted_by(|a, b| a.1 >= b.1)
        && sorted.iter().zip(expected).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-5)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_drafter_finds_what_a_scan_finds(
        text in prop::collection::vec(0u32..4, 1..STRIDE),
        path in prop::collection::vec(0u32..4, 0..5),
        n_min in 1usize..4,
        more in 0usize..4,
        scan_max in 1usize..40,
        recency in 0.5f32..=1.0,
        cut in 0.0f64..1.0,
    ) {
        let options = NgramOptions {
            n_min, n_max: n_min + more, scan_max, recency, smoothing: 0.7, prob_min: 0.0,
        };
        let mut drafter = NgramDrafter::new(options, &LIMITS);
        // The text arrives in two pieces, as it does between steps.
        let earlier = 1 + (cut * (text.len() - 1) as f64) as usize;
        proposed(&mut drafter, &text[..earlier], &[]);
        let drafted = proposed(&mut drafter, &text, &path);
        let expected = naive(&options, &text, &path);
        prop_assert!(agree(&drafted, &expected), "{drafted:?} is not {expected:?}");
    }
}

#[test]
fn wrong_scans_are_told_apart() {
    let right = NgramOptions {
        n_min: 1,
        n_max: 2,
        scan_max: 6,
        recency: 0.9,
        smoothing: 0.7,
        prob_min: 0.0,
    };
    let text_of = |seed: u32| {
        let step = |x: &u32| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        let random = std::iter::successors(Some(seed), step);
        random.skip(3).map(|x| x >> 30).take(60).collect::<Vec<Token>>()
    };
    let wrong = [
        NgramOptions { n_min: 2, ..right },
        NgramOptions { n_max: 3, ..right },
        NgramOptions { scan_max: 5, ..right },
        NgramOptions { recency: 1.0, ..right },
        NgramOptions { smoothing: 0.5, ..right },
    ];
    let path = [1, 2];
    for (i, wrong) in wrong.iter().enumerate() {
        let noticed = (0..50).filter(|&seed| {
            let text = text_of(seed);
            let mut drafter = NgramDrafter::new(right, &LIMITS);
            let drafted = proposed(&mut drafter, &text, &path);
            assert!(agree(&drafted, &naive(&right, &text, &path)));
            !agree(&drafted, &naive(wrong, &text, &path))
        });
        assert!(noticed.count() >= 10, "variant {i}");
    }
}
