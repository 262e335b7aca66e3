//! Each solver against a naive reading of its own rule.

mod testkit;

use echo_budget::{
    Between, CostTable, Echo, EchoParams, Exact, Goodput, GoodputParams, OptTree, OptTreeParams,
    Sample, Survival, Talon, TalonParams, TopN, TopNParams, Uniform, Width,
};
use echo_core::{Budget, Gate, Keep, Load, Plan, SuperTreeView};
use proptest::prelude::*;
use std::cmp::Ordering;
use testkit::{Batch, Policy, any_score, batch, budget, config, policy, solve};

/// Best first, ties by lowest index.
fn by_rank(score: &[f32]) -> impl Fn(&usize, &usize) -> Ordering + '_ {
    // Every score is at most 0 here, but 0 has two signs.
    |&a, &b| (score[b] + 0.0).total_cmp(&(score[a] + 0.0)).then(a.cmp(&b))
}

/// The best `most` drafted nodes of each sequence, then the best of all while rows are free.
fn naive_rerank(tree: SuperTreeView<'_>, most: usize, free: usize) -> Plan {
    let mut pool = Vec::new();
    for root in 0..tree.roots() {
        let mut nodes: Vec<usize> = own_levels(tree, root).concat();
        nodes.sort_by(by_rank(tree.score));
        pool.extend(nodes.into_iter().take(most));
    }
    best_of(tree, pool, free)
}

/// The best of `pool` over the batch, while rows are free.
fn best_of(tree: SuperTreeView<'_>, mut pool: Vec<usize>, free: usize) -> Plan {
    pool.sort_by(by_rank(tree.score));
    let mut plan = Plan::default();
    plan.reset(tree.len(), tree.roots());
    pool.into_iter().take(free).for_each(|n| plan.keep(n));
    plan
}

/// The levels of one root's sequence, each best first.
fn own_levels(tree: SuperTreeView<'_>, root: usize) -> Vec<Vec<usize>> {
    let level = |depth| {
        let own = |&n: &usize| tree.seq[n] == tree.seq[root];
        let mut nodes: Vec<usize> = tree.level(depth).filter(own).collect();
        nodes.sort_by(by_rank(tree.score));
        nodes
    };
    (1..tree.levels()).map(level).collect()
}

/// TALON's trees, one after another.
fn naive_talon(tree: SuperTreeView<'_>, n: usize, mu: f32, free: usize) -> Plan {
    let mut pool = Vec::new();
    for root in 0..tree.roots() {
        let mut grown = vec![root];
        for (above, mut nodes) in own_levels(tree, root).into_iter().enumerate() {
            nodes.retain(|&node| grown.contains(&(tree.parent[node] as usize)));
            let bar = match nodes.first() {
                Some(&best) if above > 0 => tree.score[best] + mu.ln(),
                _ => f32::NEG_INFINITY,
            };
            nodes.retain(|&node| tree.score[node] >= bar);
            nodes.truncate(n + 1 - grown.len());
            grown.extend(nodes);
        }
        pool.extend_from_slice(&grown[1..]);
    }
    best_of(tree, pool, free)
}

/// Which nodes of the last level `gate` leaves open.
fn open_after(gate: &dyn Gate, tree: SuperTreeView<'_>) -> Vec<bool> {
    let mut keep = Keep::default();
    keep.reset(tree.frontier().nodes().len());
    (0..keep.len()).for_each(|i| keep.open(i, 2));
    gate.narrow(tree.frontier(), Load::default(), &mut keep);
    keep.as_slice().iter().map(|&children| children > 0).collect()
}

/// The sum of the `n` greatest path probabilities.
fn expected(tree: SuperTreeView<'_>, levels: &[Vec<usize>], n: usize) -> f64 {
    let mut nodes = levels.concat();
    nodes.sort_by(by_rank(tree.score));
    nodes.iter().take(n).map(|&node| f64::from(tree.score[node]).exp()).sum()
}

/// OPT-Tree's trees, one after another; nothing where a level's growth is too near `delta` to tell.
fn naive_opt_tree(tree: SuperTreeView<'_>, n: usize, delta: f32, free: usize) -> Option<Plan> {
    let mut pool = Vec::new();
    for root in 0..tree.roots() {
        let levels = own_levels(tree, root);
        let surplus = |depth: usize| {
            let of = |depth| expected(tree, &levels[..depth], n);
            of(depth) - of(depth - 1) - f64::from(delta)
        };
        if (1..=levels.len()).any(|depth| surplus(depth).abs() < 1e-5) {
            return None;
        }
        let last = (1..=levels.len()).find(|&depth| surplus(depth) < 0.0);
        let mut nodes = levels[..last.unwrap_or(levels.len())].concat();
        nodes.sort_by(by_rank(tree.score));
        nodes.truncate(n);
        pool.extend(nodes);
    }
    Some(best_of(tree, pool, free))
}

/// Algorithm 1, one node at a time.
fn naive_echo(tree: SuperTreeView<'_>, budget: Budget<'_>, params: &EchoParams) -> Plan {
    let mut plan = Plan::default();
    plan.reset(tree.len(), tree.roots());
    let has_room = |plan: &Plan, n: usize| {
        let own = plan.iter().filter(|&m| m >= tree.roots() && tree.seq[m] == tree.seq[n]);
        plan.len() < budget.rows && own.count() < budget.tree_max
    };
    for depth in 1..tree.levels() {
        // The candidates of each sequence, best first.
        let mut asks: Vec<(f32, Vec<usize>)> = Vec::new();
        for root in 0..tree.roots() {
            let own = |&n: &usize| tree.seq[n] == tree.seq[root];
            let mut nodes: Vec<usize> = tree.level(depth).filter(own).collect();
            nodes.retain(|&n| plan.contains(tree.parent[n] as usize));
            nodes.sort_by(by_rank(tree.score));
            let above = tree.level(depth - 1).filter(own).filter(|&n| plan.contains(n));
            let surest = above.map(|n| tree.score[n]).fold(f32::NEG_INFINITY, f32::max) + 0.0;
            let wanted = match params.width {
                _ if depth == 1 => params.seed,
                Width::One => 1,
                Width::Most(k) => k,
                Width::Ratio { mu, most } => {
                    let bar = nodes.first().map_or(0.0, |&n| tree.score[n]) + mu.ln();
                    nodes.iter().filter(|&&n| tree.score[n] >= bar).count().min(most)
                }
            };
            nodes.truncate(wanted);
            asks.push((surest, nodes));
        }
        if depth == 1 {
            let mut nodes: Vec<usize> = asks.into_iter().flat_map(|(_, nodes)| nodes).collect();
            nodes.sort_by(by_rank(tree.score));
            asks = vec![(0.0, nodes)];
        }
        // Stable: between equals the lowest place goes first.
        asks.sort_by(|a, b| b.0.total_cmp(&a.0));
        for n in asks.into_iter().flat_map(|(_, nodes)| nodes) {
            if has_room(&plan, n) {
                plan.keep(n);
            }
        }
    }
    loop {
        let free = |&n: &usize| {
            !plan.contains(n) && plan.contains(tree.parent[n] as usize) && has_room(&plan, n)
        };
        match (tree.roots()..tree.len()).filter(free).min_by(by_rank(tree.score)) {
            Some(n) => plan.keep(n),
            None => return plan,
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn uniform_and_topn_rank_as_they_say(
        batch in batch(16, any_score()),
        (free, budget) in budget(),
        policy in policy(),
    ) {
        let tree = batch.in_order();
        let tree = tree.view();
        let budget = Budget { rows: tree.roots() + free, ..budget };
        let share = free.checked_div(tree.roots()).unwrap_or(0).min(budget.tree_max);
        let uniform = solve(&mut Uniform::default(), tree, budget);
        prop_assert_eq!(uniform, naive_rerank(tree, share, free));
        let topn = solve(&mut TopN::new(TopNParams { n: policy.n }), tree, budget);
        prop_assert_eq!(topn, naive_rerank(tree, policy.n.min(budget.tree_max), free));
    }

    #[test]
    fn talon_and_opt_tree_grow_the_trees_they_say(
        batch in batch(16, any_score()),
        (free, budget) in budget(),
        Policy { n, ratio, .. } in policy(),
    ) {
        let tree = batch.in_order();
        let tree = tree.view();
        let budget = Budget { rows: tree.roots() + free, ..budget };
        let most = n.min(budget.tree_max);
        let talon = solve(&mut Talon::new(TalonParams { n, mu: ratio }).unwrap(), tree, budget);
        prop_assert_eq!(talon, naive_talon(tree, most, ratio, free));
        if let Some(plan) = naive_opt_tree(tree, most, ratio, free) {
            let params = OptTreeParams { n, delta: ratio };
            prop_assert_eq!(solve(&mut OptTree::new(params).unwrap(), tree, budget), plan);
        }
    }

    #[test]
    fn talon_and_opt_tree_close_what_they_say(
        batch in batch(16, any_score()),
        Policy { n, ratio, .. } in policy(),
    ) {
        let tree = batch.in_order();
        let opt_tree = OptTree::new(OptTreeParams { n, delta: ratio }).unwrap();
        let talon = Talon::new(TalonParams { n, mu: ratio }).unwrap();
        for depth in 1..tree.view().levels() {
            let tree = tree.view().up_to(depth);
            let (cut, thin) = (open_after(&opt_tree, tree), open_after(&talon, tree));
            for root in 0..tree.roots() {
                let levels = own_levels(tree, root);
                let growth = expected(tree, &levels, n) - expected(tree, &levels[..depth - 1], n);
                let near = |above: usize, node: usize| {
                    let best = levels[above].first().map_or(0.0, |&best| tree.score[best]);
                    above == 0 || tree.score[node] >= best + ratio.ln()
                };
                let size: usize = (0..depth)
                    .map(|above| levels[above].iter().filter(|&&node| near(above, node)).count())
                    .sum();
                for &node in &levels[depth - 1] {
                    let in_level = node - tree.level(depth).start;
                    if (growth - f64::from(ratio)).abs() > 1e-5 {
                        prop_assert_eq!(cut[in_level], growth > f64::from(ratio), "opt-tree");
                    }
                    prop_assert_eq!(thin[in_level], size < n && near(depth - 1, node), "talon");
                }
            }
        }
    }

    #[test]
    fn echo_follows_the_algorithm(
        batch in batch(12, any_score()),
        (free, budget) in budget(),
        policy in policy(),
    ) {
        let tree = batch.in_order();
        let tree = tree.view();
        let budget = Budget { rows: tree.roots() + free, ..budget };
        let plan = solve(&mut Echo::new(policy.echo).unwrap(), tree, budget);
        prop_assert_eq!(plan, naive_echo(tree, budget, &policy.echo));
    }

    #[test]
    fn goodput_is_the_best_count_of_the_best_nodes(
        batch in batch(16, any_score()),
        (free, budget) in budget(),
        policy in policy(),
    ) {
        let tree = batch.in_order();
        let tree = tree.view();
        let budget = Budget { rows: tree.roots() + free, ..budget };
        let exact = Exact::new(policy.goodput.clone());
        let plan = solve(&mut Goodput::new(policy.goodput), tree, budget);
        let reranked = |b| naive_rerank(tree, budget.tree_max, b);
        let rates = (0..=free).map(|b| exact.rate(tree, budget, &reranked(b)));
        let best = rates.fold(0.0, f64::max);
        prop_assert!(exact.rate(tree, budget, &plan) >= best * (1.0 - 1e-12));
        prop_assert_eq!(&plan, &naive_rerank(tree, budget.tree_max, plan.len() - tree.roots()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..config() })]

    #[test]
    fn goodput_equals_brute_force(
        mut batch in batch(4, any_score()),
        (free, budget) in budget(),
        policy in policy(),
    ) {
        batch.families.truncate(2);
        let tree = batch.in_order();
        let tree = tree.view();
        let budget = Budget { rows: tree.roots() + free % 8, ..budget };
        let mut exact = Exact::new(policy.goodput.clone());
        let best = solve(&mut exact, tree, budget);
        let plan = solve(&mut Goodput::new(policy.goodput), tree, budget);
        let (mine, best) = (exact.rate(tree, budget, &plan), exact.rate(tree, budget, &best));
        prop_assert!(mine >= best * (1.0 - 1e-12), "{mine} of {best}");
    }
}

/// Negative control: a search that stops at the first drop must fall short of brute force.
#[test]
fn stopping_at_the_first_drop_is_caught() {
    let sample = |rows, us| Sample { rows, kv_len: 0, us };
    let samples = [sample(1, 100.0), sample(2, 190.0), sample(5, 191.0)];
    let cost = CostTable::from_samples(&samples, &[], 0.0, Between::Step).unwrap();
    let params = GoodputParams { cost, survival: Survival::identity() };
    let chain = vec![(0, -0.25), (1, -0.5), (2, -0.75), (3, -1.0)];
    let tree = Batch { families: vec![chain] }.in_order();
    let tree = tree.view();
    let budget = Budget { rows: 5, tree_max: 9, load: Load::default(), shares: &[] };
    let mut exact = Exact::new(params.clone());
    let best = solve(&mut exact, tree, budget);
    let rate = |b: usize| exact.rate(tree, budget, &naive_rerank(tree, 9, b));
    let first_drop = (0..4).find(|&b| rate(b + 1) <= rate(b)).unwrap();
    let best = exact.rate(tree, budget, &best);
    assert!(rate(first_drop) < 0.9 * best);
    assert_eq!(exact.rate(tree, budget, &solve(&mut Goodput::new(params), tree, budget)), best);
}
