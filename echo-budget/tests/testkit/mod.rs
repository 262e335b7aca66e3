//! Random batches of drafted trees with any floats for scores, and the solvers to set on them.

use echo_budget::{Between, CostTable, EchoParams, GoodputParams, Sample, Survival, Width};
use echo_core::{Budget, Load, Plan, Solver, SuperTreeView};
use proptest::prelude::*;

/// One tree per sequence: the parent and the score of each drafted node, where parent 0 is the root
/// and parent `i` the `i`-th drafted node, an earlier one.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) families: Vec<Vec<(usize, f32)>>,
}

/// A batch laid out level by level.
pub(crate) struct Tree {
    parent: Vec<u32>,
    token: Vec<u32>,
    seq: Vec<u32>,
    score: Vec<f32>,
    level_start: Vec<u32>,
    passes: Vec<u32>,
    /// Family and place in it of each node.
    pub(crate) origin: Vec<(usize, usize)>,
}

/// The tables and numbers that solvers are made from.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "each test file makes some of the solvers")]
pub(crate) struct Policy {
    pub(crate) n: usize,
    /// A share, or a growth.
    pub(crate) ratio: f32,
    pub(crate) echo: EchoParams,
    pub(crate) goodput: GoodputParams,
}

impl Batch {
    /// The tree in which family `order[i]` has the `i`-th place. Siblings stand as they were drawn
    /// up, in any order: no solver may rely on more. Scores are lowered to their parents', as
    /// whoever grows a tree does; NaN counts as −∞.
    pub(crate) fn tree(&self, order: &[usize]) -> Tree {
        let mut tree = Tree {
            parent: (0..order.len() as u32).collect(),
            token: vec![0; order.len()],
            seq: (0..order.len() as u32).map(|i| 2 * i + 1).collect(),
            score: vec![0.0; order.len()],
            level_start: vec![0, order.len() as u32],
            passes: Vec::new(),
            origin: order.iter().map(|&family| (family, 0)).collect(),
        };
        loop {
            let depth = tree.level_start.len() - 2;
            let above = tree.level_start[depth] as usize..tree.level_start[depth + 1] as usize;
            let start = tree.parent.len();
            for p in above {
                let (family, local) = tree.origin[p];
                for (i, &(parent, score)) in self.families[family].iter().enumerate() {
                    if parent == local {
                        tree.parent.push(p as u32);
                        tree.token.push(i as u32);
                        tree.seq.push(tree.seq[p]);
                        let score = if score.is_nan() { f32::NEG_INFINITY } else { score };
                        tree.score.push(score.min(tree.score[p]));
                        tree.origin.push((family, i + 1));
                    }
                }
            }
            if tree.parent.len() == start {
                return tree;
            }
            let parents = &tree.parent[start..];
            let more = parents.windows(2).filter(|pair| pair[0] != pair[1]).count();
            tree.passes.push(1 + more as u32);
            tree.level_start.push(tree.parent.len() as u32);
        }
    }

    /// The tree with the families in their own order.
    pub(crate) fn in_order(&self) -> Tree {
        self.tree(&(0..self.families.len()).collect::<Vec<_>>())
    }
}

impl Tree {
    pub(crate) fn view(&self) -> SuperTreeView<'_> {
        SuperTreeView {
            parent: &self.parent,
            token: &self.token,
            seq: &self.seq,
            score: &self.score,
            level_start: &self.level_start,
            passes: &self.passes,
        }
    }
}

/// What `solver` chooses, as the engine would ask.
pub(crate) fn solve(solver: &mut dyn Solver, tree: SuperTreeView<'_>, budget: Budget<'_>) -> Plan {
    let mut plan = Plan::default();
    plan.reset(tree.len(), tree.roots());
    solver.choose(tree, budget, &mut plan);
    plan
}

pub(crate) fn any_score() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => (0_u8..6).prop_map(|tie| -f32::from(tie) / 2.0),
        4 => -6.0_f32..0.0,
        1 => prop_oneof![Just(f32::NAN), Just(f32::NEG_INFINITY), Just(f32::INFINITY), Just(-0.0)],
        1 => any::<f32>(),
    ]
}

/// Up to five trees of up to `nodes` drafted nodes each.
pub(crate) fn batch(
    nodes: usize,
    score: impl Strategy<Value = f32>,
) -> impl Strategy<Value = Batch> {
    let node = (any::<prop::sample::Index>(), score);
    let family = prop::collection::vec(node, 0..=nodes).prop_map(|nodes| {
        nodes.iter().enumerate().map(|(i, (pick, score))| (pick.index(i + 1), *score)).collect()
    });
    prop::collection::vec(family, 0..=5).prop_map(|families| Batch { families })
}

/// Rows beyond the roots, and the rest of a budget.
pub(crate) fn budget() -> impl Strategy<Value = (usize, Budget<'static>)> {
    let accepted = prop_oneof![Just(None), (-1.0_f32..6.0).prop_map(Some), Just(Some(f32::NAN))];
    (0_usize..40, 0_usize..12, 0_usize..20, 0_usize..300, 0_usize..6, accepted).prop_map(
        |(free, tree_max, context_rows, kv_len, n_seqs, accepted)| {
            let load = Load { n_seqs, context_rows, kv_len, accepted, ..Load::default() };
            (free, Budget { rows: 0, tree_max, load, shares: &[] })
        },
    )
}

/// A table over a random grid, staircase or even.
pub(crate) fn cost() -> impl Strategy<Value = CostTable> {
    let rows = prop::sample::subsequence(vec![1_usize, 2, 3, 5, 8, 13, 21, 34, 55], 1..=6);
    let us = prop::collection::vec(1.0_f64..500.0, 24);
    (rows, us, any::<bool>(), 0.0_f64..50.0).prop_map(|(rows, us, step, host_us)| {
        let grid = rows.iter().flat_map(|&rows| [(rows, 0), (rows, 200)]);
        // A base under the noise, or the table would be levelled flat most of the time.
        let time = |rows: usize, us: f64| 20.0 * rows as f64 + us;
        let verify: Vec<Sample> = grid
            .zip(&us)
            .map(|((rows, kv_len), &us)| Sample { rows, kv_len, us: time(rows, us) })
            .collect();
        let draft = [Sample { rows: 4, kv_len: 0, us: us[23] }];
        let between = if step { Between::Step } else { Between::Linear };
        CostTable::from_samples(&verify, &draft, host_us, between).unwrap()
    })
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let width = prop_oneof![
        Just(Width::One),
        (0_usize..4).prop_map(Width::Most),
        (0.0_f32..=1.0, 0_usize..4).prop_map(|(mu, most)| Width::Ratio { mu, most }),
    ];
    let bend = (0.0_f32..=1.0, 0.0_f32..=1.0, 0.0_f32..=1.0);
    (0_usize..10, 0_usize..4, width, bend, cost(), 0.0_f32..=1.0).prop_map(
        |(n, seed, width, (a, b, c), cost, ratio)| {
            let mut rise = [a, b, c];
            rise.sort_by(f32::total_cmp);
            let knots = vec![(0.0, 0.0), (0.1, rise[0]), (0.5, rise[1]), (1.0, rise[2])];
            let survival = Survival::new(knots).unwrap();
            let echo = EchoParams { seed, width };
            Policy { n, ratio, echo, goodput: GoodputParams { cost, survival } }
        },
    )
}

/// Many cases, shrunk in memory only.
pub(crate) fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 10_000,
        max_global_rejects: 100_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
