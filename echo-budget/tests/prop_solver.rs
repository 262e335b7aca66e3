//! What every solver must do: legal plans for any floats, the same plan for the same question, more
//! rows never less kept, and no regard to the order of sequences. And what they take for granted.

mod testkit;

use echo_budget::{
    DCut, DCutParams, Echo, Ema, EmaParams, Fair, FairParams, Goodput, OptTree, OptTreeParams,
    Talon, TalonParams, Tetris, TetrisParams, TopN, TopNParams, Uniform,
};
use echo_core::{Budget, Plan, Solver, SuperTreeView};
use echo_tree::check_plan;
use proptest::prelude::*;
use testkit::{Policy, any_score, batch, budget, config, cost, policy, solve};

fn solvers(policy: &Policy) -> Vec<(&'static str, Box<dyn Solver>)> {
    let Policy { n, ratio, .. } = *policy;
    let echo = Echo::new(policy.echo).unwrap();
    let goodput = Goodput::new(policy.goodput.clone());
    let ladders = vec![(0, vec![1, 2, 4]), (3, vec![0, 1, 3])];
    // Nobody is owed a row here; see prop_fair.
    let fair = FairParams { within: n + 2 };
    vec![
        ("uniform", Box::new(Uniform::default())),
        ("topn", Box::new(TopN::new(TopNParams { n }))),
        ("opt-tree", Box::new(OptTree::new(OptTreeParams { n, delta: ratio }).unwrap())),
        ("talon", Box::new(Talon::new(TalonParams { n, mu: ratio }).unwrap())),
        ("tetris", Box::new(Tetris::new(TetrisParams { k: n, seqs_min: 3 }))),
        ("dcut", Box::new(DCut::new(DCutParams { cost: policy.goodput.cost.clone() }))),
        ("ema", Box::new(Ema::new(EmaParams { ladders }).unwrap())),
        ("echo", Box::new(echo.clone())),
        ("goodput", Box::new(goodput.clone())),
        ("fair echo", Box::new(Fair::new(echo, fair))),
        ("fair goodput", Box::new(Fair::new(goodput, fair))),
    ]
}

/// A solver with a planted bug: it spends one row too many.
struct OffByOne<S>(S);

impl<S: Solver> Solver for OffByOne<S> {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        self.0.choose(tree, Budget { rows: budget.rows + 1, ..budget }, plan);
    }
}

/// A solver with a planted bug: of nodes that are equally sure it takes the last first, and so a
/// child before its parent.
struct LastFirst;

impl Solver for LastFirst {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let mut nodes: Vec<usize> = (tree.roots()..tree.len()).rev().collect();
        nodes.sort_by(|&a, &b| tree.score[b].total_cmp(&tree.score[a]));
        nodes.iter().take(budget.rows - tree.roots()).for_each(|&n| plan.keep(n));
    }
}

/// Whether `solver` ever breaks a rule on these questions.
fn is_caught(solver: &mut dyn Solver, questions: &[(testkit::Batch, usize, Budget<'_>)]) -> bool {
    questions.iter().any(|(batch, free, budget)| {
        let tree = batch.in_order();
        let tree = tree.view();
        let budget = Budget { rows: tree.roots() + free, ..*budget };
        check_plan(tree, &budget, &solve(solver, tree, budget)).is_err()
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn plans_are_legal_and_repeatable(
        first in batch(16, any_score()),
        second in batch(16, any_score()),
        (free, budget) in budget(),
        policy in policy(),
    ) {
        for (name, mut solver) in solvers(&policy) {
            let mut plans = Vec::new();
            // The tree in between must leave no trace in the solver's scratch.
            for batch in [&first, &second, &first] {
                let tree = batch.in_order();
                let tree = tree.view();
                let budget = Budget { rows: tree.roots() + free, ..budget };
                let plan = solve(&mut *solver, tree, budget);
                prop_assert_eq!(check_plan(tree, &budget, &plan), Ok(()), "{}", name);
                plans.push(plan);
            }
            prop_assert_eq!(&plans[0], &plans[2], "{}", name);
        }
    }

    #[test]
    fn more_rows_never_drop_a_node(
        batch in batch(16, any_score()),
        (free, budget) in budget(),
        more in 0_usize..8,
        policy in policy(),
    ) {
        let tree = batch.in_order();
        let tree = tree.view();
        for (name, mut solver) in solvers(&policy) {
            let mut plan = |rows| solve(&mut *solver, tree, Budget { rows, ..budget });
            let small = plan(tree.roots() + free);
            let large = plan(tree.roots() + free + more);
            prop_assert!(small.iter().all(|n| large.contains(n)), "{}", name);
        }
    }

    #[test]
    fn permuting_sequences_permutes_the_plan(
        // Distinct scores: between equals the lowest index wins, which a permutation changes.
        batch in batch(10, -6.0_f32..0.0),
        (free, budget) in budget(),
        policy in policy(),
        turn in 0_usize..5,
    ) {
        let n = batch.families.len();
        let mut order: Vec<usize> = (0..n).rev().collect();
        order.rotate_left(turn % n.max(1));
        let kept = |tree: &testkit::Tree, solver: &mut dyn Solver| {
            let budget = Budget { rows: n + free, ..budget };
            let plan = solve(solver, tree.view(), budget);
            let mut kept: Vec<_> = plan.iter().map(|n| tree.origin[n]).collect();
            kept.sort_unstable();
            kept
        };
        let (straight, turned) = (batch.in_order(), batch.tree(&order));
        // A child that is surer than its parent ties with it; only ties across sequences matter.
        prop_assume!(!tied_across(&straight));
        // D-cut ranks by what leads to a node: at depth 1 all tie, and the lowest index wins.
        for (name, mut solver) in solvers(&policy).into_iter().filter(|s| s.0 != "dcut") {
            let (a, b) = (kept(&straight, &mut *solver), kept(&turned, &mut *solver));
            prop_assert_eq!(a, b, "{}", name);
        }
    }
}

fn tied_across(tree: &testkit::Tree) -> bool {
    let view = tree.view();
    let drafted = || view.roots()..view.len();
    drafted()
        .any(|a| drafted().any(|b| view.seq[a] != view.seq[b] && view.score[a] == view.score[b]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..config() })]

    /// Negative controls: the check must catch both planted solvers within fifty questions.
    #[test]
    fn planted_solvers_are_caught(
        questions in prop::collection::vec((batch(16, any_score()), budget()), 50),
        policy in policy(),
    ) {
        let questions: Vec<_> =
            questions.into_iter().map(|(batch, (free, budget))| (batch, free, budget)).collect();
        let honest = || TopN::new(TopNParams { n: 99 });
        prop_assert!(is_caught(&mut OffByOne(honest()), &questions));
        prop_assert!(is_caught(&mut LastFirst, &questions));
        for (_, mut solver) in solvers(&policy) {
            prop_assert!(!is_caught(&mut *solver, &questions));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..config() })]

    #[test]
    fn no_rows_take_longer_than_more(
        cost in cost(),
        convex in any::<bool>(),
        kv_len in 0_usize..2_000,
    ) {
        let cost = if convex { cost.convex() } else { cost };
        let us: Vec<f64> = (1..80).map(|rows| cost.verify_us(rows, kv_len)).collect();
        prop_assert!(us[0] > 0.0);
        prop_assert!(us.is_sorted_by(|few, more| *few <= more * (1.0 + 1e-12)), "{us:?}");
    }
}
