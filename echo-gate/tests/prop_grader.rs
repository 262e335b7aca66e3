//! The grader against the definition, sequence by sequence, on random super-trees with any scores.

use echo_core::{Limits, Plan, SuperTreeView};
use echo_gate::{Graded, Grader, Retention, confidence};
use proptest::prelude::*;

/// One sequence: its levels of `(score, kept)`, every node a child of the first above it, and how
/// deep the accepted path went.
#[derive(Clone, Debug)]
struct Family {
    levels: Vec<Vec<(f32, bool)>>,
    accepted: u32,
}

fn family() -> impl Strategy<Value = Family> {
    let score = prop_oneof![3 => -4.0_f32..0.0, 1 => Just(f32::NAN), 1 => any::<f32>()];
    let level = prop::collection::vec((score, any::<bool>()), 1..4);
    (prop::collection::vec(level, 0..5), 0_u32..6).prop_map(|(mut levels, accepted)| {
        let mut open = true;
        for level in &mut levels {
            for (_, kept) in level.iter_mut() {
                *kept &= open;
            }
            open = level[0].1;
        }
        Family { levels, accepted }
    })
}

/// Places with a root: every other one, so that places and roots are numbered differently.
fn place(s: usize) -> u32 {
    2 * s as u32 + 1
}

fn observe(families: &[Family]) -> Grader {
    let roots = families.len() as u32;
    let (mut parent, mut seq): (Vec<u32>, Vec<u32>) =
        (0..roots).map(|s| (s, place(s as usize))).unzip();
    let (mut score, mut kept) = (vec![0.0; families.len()], Vec::new());
    let mut level_start = vec![0, roots];
    let mut first_above: Vec<u32> = (0..roots).collect();
    for depth in 0..families.iter().map(|f| f.levels.len()).max().unwrap_or(0) {
        for (s, family) in families.iter().enumerate() {
            let above = first_above[s];
            first_above[s] = parent.len() as u32;
            for &(x, keep) in family.levels.get(depth).into_iter().flatten() {
                if keep {
                    kept.push(parent.len());
                }
                parent.push(above);
                seq.push(place(s));
                score.push(x);
            }
        }
        level_start.push(parent.len() as u32);
    }
    let token = vec![0; parent.len()];
    let tree = SuperTreeView {
        parent: &parent,
        token: &token,
        seq: &seq,
        score: &score,
        level_start: &level_start,
        passes: &[],
    };
    let mut plan = Plan::default();
    plan.reset(parent.len(), families.len());
    for n in kept {
        plan.keep(n);
    }
    let accepted: Vec<u32> = families.iter().map(|f| f.accepted).collect();
    let mut grader = Grader::new(&Limits::usual(16, 64), 8, Retention::Latest, 1);
    grader.observe(tree, &plan, &accepted);
    grader
}

/// The definition; `gains_from` is how many levels below depth `d` the path must reach: one.
fn by_definition(families: &[Family], gains_from: usize) -> Vec<Graded> {
    let mut graded = Vec::new();
    for depth in 1..=5 {
        for (s, family) in families.iter().enumerate() {
            let Some(level) = family.levels.get(depth - 1) else { continue };
            if level.iter().any(|&(_, kept)| kept) {
                let scores: Vec<f32> = level.iter().map(|&(x, _)| x).collect();
                let below = family.levels.get(depth).into_iter().flatten();
                graded.push(Graded {
                    seq: place(s),
                    depth: depth as u32,
                    confidence: confidence(&scores),
                    gained: family.accepted as usize >= depth + gains_from,
                    nodes: below.filter(|&&(_, kept)| kept).count() as u32,
                });
            }
        }
    }
    graded
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn rounds_are_graded_by_definition(families in prop::collection::vec(family(), 0..5)) {
        let grader = observe(&families);
        let expected = by_definition(&families, 1);
        prop_assert_eq!(grader.last(), expected.as_slice());
        for depth in 1..=5 {
            let labels = expected.iter().filter(|g| g.depth == depth && g.is_uncensored());
            prop_assert_eq!(grader.seen(depth as usize), labels.count() as u64);
        }
    }
}

/// Negative control: a label that counts reaching depth `d` itself as a gain is told apart.
#[test]
fn a_label_off_by_one_is_caught() {
    let families = [Family { levels: vec![vec![(-1.0, true)], vec![(-2.0, true)]], accepted: 1 }];
    assert_eq!(observe(&families).last(), by_definition(&families, 1));
    assert_ne!(observe(&families).last(), by_definition(&families, 0));
}
