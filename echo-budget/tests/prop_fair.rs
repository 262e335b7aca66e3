//! The fair wrapper: legal plans for any shares, caps kept, weights that order, and the bound on
//! waiting that its module states.

mod testkit;

use echo_budget::{Echo, Fair, FairParams, Goodput, TopN, TopNParams};
use echo_core::{Budget, Load, Plan, Share, Solver, SuperTreeView};
use echo_tree::{check_plan, drafted_of};
use proptest::prelude::*;
use testkit::{any_score, batch, budget, config, policy, solve};

/// A share for each place that the trees of the kit use.
fn shares() -> impl Strategy<Value = Vec<Share>> {
    let weight = prop_oneof![Just(1.0_f32), 0.01_f32..20.0];
    let nodes_max = prop_oneof![Just(usize::MAX), 0_usize..6];
    let share = (weight, nodes_max, 0_usize..8).prop_map(|(weight, nodes_max, waited)| Share {
        weight,
        nodes_max,
        waited,
    });
    prop::collection::vec(share, 0..12)
}

/// Whether `plan` gives the sequence at place `seq` a drafted row.
fn is_served(tree: SuperTreeView<'_>, plan: &Plan, seq: u32) -> bool {
    drafted_of(tree, plan, seq) > 0
}

/// The longest run of steps in which some sequence got no row, when `solver` is asked again and
/// again about the same tree.
fn longest_wait(
    solver: &mut dyn Solver,
    tree: SuperTreeView<'_>,
    rows: usize,
    steps: usize,
) -> usize {
    let mut shares = vec![Share::EVEN; 12];
    let mut longest = 0;
    for _ in 0..steps {
        let budget = Budget { rows, tree_max: 9, load: Load::default(), shares: &shares };
        let plan = solve(solver, tree, budget);
        for (seq, _) in (1..tree.levels().min(2)).flat_map(|depth| tree.families(depth)) {
            let waited = &mut shares[seq as usize].waited;
            *waited = if is_served(tree, &plan, seq) { 0 } else { *waited + 1 };
            longest = longest.max(*waited);
        }
    }
    longest
}

/// A wrapper with a planted bug: the least place goes first, however long others waited.
struct Greedy<S>(Fair<S>);

impl<S: Solver> Solver for Greedy<S> {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let owed = |share: &Share| Share { waited: share.waited.min(1), ..*share };
        let shares: Vec<Share> = budget.shares.iter().map(owed).collect();
        self.0.choose(tree, Budget { shares: &shares, ..budget }, plan);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn plans_are_legal_capped_and_repeatable(
        first in batch(12, any_score()),
        second in batch(12, any_score()),
        (free, budget) in budget(),
        policy in policy(),
        shares in shares(),
    ) {
        let params = FairParams { within: policy.n };
        let echo = Fair::new(Echo::new(policy.echo).unwrap(), params);
        let goodput = Fair::new(Goodput::new(policy.goodput.clone()), params);
        for mut solver in [Box::new(echo) as Box<dyn Solver>, Box::new(goodput)] {
            let mut plans = Vec::new();
            for batch in [&first, &second, &first] {
                let tree = batch.in_order();
                let tree = tree.view();
                let budget = Budget { rows: tree.roots() + free, shares: &shares, ..budget };
                let plan = solve(&mut *solver, tree, budget);
                prop_assert_eq!(check_plan(tree, &budget, &plan), Ok(()));
                for root in tree.level(0) {
                    let seq = tree.seq[root];
                    prop_assert!(drafted_of(tree, &plan, seq) <= budget.share(seq).nodes_max);
                }
                plans.push(plan);
            }
            prop_assert_eq!(&plans[0], &plans[2]);
        }
    }

    #[test]
    fn the_owed_are_served_longest_waiting_first(
        batch in batch(12, any_score()),
        (free, budget) in budget(),
        within in 1_usize..6,
        shares in shares(),
    ) {
        let tree = batch.in_order();
        let tree = tree.view();
        let budget = Budget { rows: tree.roots() + free, shares: &shares, ..budget };
        let mut solver = Fair::new(TopN::new(TopNParams { n: 9 }), FairParams { within });
        let plan = solve(&mut solver, tree, budget);
        let owed = |seq: u32| {
            let share = budget.share(seq);
            let has_nodes = tree.levels() > 1 && !tree.family(1, seq).is_empty();
            (has_nodes && share.nodes_max > 0 && share.waited + 1 >= within).then_some(share.waited)
        };
        let seqs = tree.level(0).map(|root| tree.seq[root]);
        let missed: Vec<usize> = seqs
            .clone()
            .filter(|&seq| !is_served(tree, &plan, seq))
            .filter_map(owed)
            .collect();
        let n_owed = seqs.filter(|&seq| owed(seq).is_some()).count();
        let rows = if budget.tree_max == 0 { 0 } else { free };
        prop_assert!(missed.len() <= n_owed.saturating_sub(rows), "{missed:?}");
    }

    #[test]
    fn nobody_waits_longer_than_the_bound(
        batch in batch(4, -6.0_f32..0.0),
        free in 1_usize..6,
        within in 1_usize..6,
    ) {
        let tree = batch.in_order();
        let tree = tree.view();
        let mut solver = Fair::new(TopN::new(TopNParams { n: 9 }), FairParams { within });
        let waited = longest_wait(&mut solver, tree, tree.roots() + free, 60);
        let bound = within + tree.roots().div_ceil(free) - 1;
        prop_assert!(waited < bound.max(1), "{waited} steps, bound {bound}");
    }

    #[test]
    fn even_shares_change_nothing(
        batch in batch(12, any_score()),
        (free, budget) in budget(),
        policy in policy(),
    ) {
        let tree = batch.in_order();
        let tree = tree.view();
        let shares = vec![Share { weight: 3.0, ..Share::EVEN }; 12];
        let budget = Budget { rows: tree.roots() + free, ..budget };
        let mut fair = Fair::new(Goodput::new(policy.goodput.clone()), FairParams { within: 2 });
        let plan = solve(&mut fair, tree, Budget { shares: &shares, ..budget });
        prop_assert_eq!(plan, solve(&mut Goodput::new(policy.goodput), tree, budget));
    }
}

/// Negative control: without the order by waiting the bound breaks.
#[test]
fn a_queue_that_forgets_is_caught() {
    let families = vec![vec![(0, -0.1)], vec![(0, -1.0)], vec![(0, -2.0)], vec![(0, -3.0)]];
    let tree = testkit::Batch { families }.in_order();
    let within = FairParams { within: 2 };
    let fair = || Fair::new(TopN::new(TopNParams { n: 9 }), within);
    assert!(longest_wait(&mut fair(), tree.view(), 5, 60) < 2 + 4 - 1);
    assert!(longest_wait(&mut Greedy(fair()), tree.view(), 5, 60) >= 2 + 4 - 1);
}
