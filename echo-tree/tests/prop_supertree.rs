//! Growing keeps the invariants of the view, and agrees with a naive reading of the rules.

mod testkit;

use echo_core::{Children, Keep, SuperTreeView, Token};
use echo_tree::{Drawing, SuperTree, draw};
use proptest::prelude::*;
use testkit::{LIMITS, config, growth};

/// The invariants of [`SuperTreeView`] and the limits, or the first one broken.
fn check_view(tree: SuperTreeView<'_>) -> Result<(), String> {
    let starts = tree.level_start;
    prop_ensure(starts[0] == 0 && *starts.last().unwrap() as usize == tree.len(), "level_start")?;
    prop_ensure(tree.levels() <= LIMITS.depth_max + 1, "depth_max")?;
    for depth in 0..tree.levels() {
        let level = tree.level(depth);
        for n in level.clone() {
            let p = tree.parent[n] as usize;
            prop_ensure(tree.seq[n] == tree.seq[p], "seq of the parent")?;
            prop_ensure(tree.score[n] <= tree.score[p], "score rises or is NaN")?;
            if depth == 0 {
                prop_ensure(p == n && tree.score[n] == 0.0, "root")?;
            } else {
                prop_ensure(tree.level(depth - 1).contains(&p), "parent's level")?;
            }
        }
        for (a, b) in level.clone().zip(level.clone().skip(1)) {
            let key = |n: usize| (tree.seq[n], tree.parent[n]);
            prop_ensure(key(a) <= key(b), "grouping")?;
            if depth > 0 && key(a) == key(b) {
                let tie = tree.score[a] == tree.score[b] && tree.token[a] < tree.token[b];
                prop_ensure(tree.score[a] > tree.score[b] || tie, "order of siblings")?;
            }
        }
        for &seq in tree.seq[level.clone()].iter().filter(|_| depth > 0) {
            let nodes: Vec<usize> = level.clone().filter(|&n| tree.seq[n] == seq).collect();
            let cap = if depth == 1 { LIMITS.width_max } else { LIMITS.level_max() };
            prop_ensure(nodes.len() <= cap, "level_max")?;
            for &a in &nodes {
                let twins = nodes.iter().filter(|&&b| {
                    tree.parent[a] == tree.parent[b] && tree.token[a] == tree.token[b]
                });
                prop_ensure(twins.count() == 1, "siblings share a token")?;
            }
        }
    }
    Ok(())
}

fn prop_ensure(holds: bool, rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(rule.into()) }
}

/// What a level must hold, parent by parent, with nothing clever: `(parent, token, score bits)`.
fn naive_level(
    tree: SuperTreeView<'_>,
    keep: &Keep,
    children: &Children,
) -> Vec<(u32, Token, u32)> {
    let frontier = tree.frontier();
    let mut level = Vec::new();
    if frontier.depth() == LIMITS.depth_max {
        return level;
    }
    let cap = if frontier.depth() == 0 { LIMITS.width_max } else { LIMITS.level_max() };
    for (_, nodes) in frontier.seqs() {
        let mut clan = Vec::new();
        for p in nodes {
            let mut family: Vec<(f32, Token)> = Vec::new();
            for token in 0..5 {
                let scores = (0..children.len())
                    .filter(|&c| children.parent[c] as usize == p && children.token[c] == token)
                    .map(|c| children.log_prob[c])
                    .map(|lp| if lp.is_nan() { f32::NEG_INFINITY } else { lp.min(0.0) })
                    .map(|lp| tree.score[p] + lp);
                family.extend(
                    scores
                        .fold(None, |best: Option<f32>, s| Some(best.map_or(s, |best| best.max(s))))
                        .map(|s| (s, token)),
                );
            }
            family.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let width = keep.children(p - frontier.nodes().start) as usize;
            family.truncate(width.min(LIMITS.width_max));
            clan.extend(family.iter().map(|&(s, token)| (p as u32, token, (s + 0.0).to_bits())));
        }
        clan.truncate(cap);
        level.extend(clan);
    }
    level
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn growing_keeps_the_invariants_and_agrees_with_the_rules(growth in growth()) {
        let mut tree = SuperTree::new(&LIMITS);
        tree.plant(growth.places.iter().map(|&seq| (seq, 100 + seq)));
        for pass in &growth.passes {
            let (keep, children) = pass.over(&tree);
            let expected = naive_level(tree.view(), &keep, &children);
            let start = tree.view().len();
            let added = tree.push_level(&keep, &children);
            let view = tree.view();
            let level: Vec<_> = (start..view.len())
                .map(|n| (view.parent[n], view.token[n], view.score[n].to_bits()))
                .collect();
            prop_assert_eq!(added, level.len());
            prop_assert_eq!(level, expected);
        }
        prop_assert_eq!(check_view(tree.view()), Ok(()));
    }

    #[test]
    fn the_order_of_proposals_does_not_matter(growth in growth(), turn in 0_usize..24) {
        let mut turned = growth.clone();
        for pass in &mut turned.passes {
            let by = turn % pass.proposals.len().max(1);
            pass.proposals.rotate_left(by);
            pass.proposals.reverse();
        }
        let (a, b) = (growth.grow(&LIMITS), turned.grow(&LIMITS));
        prop_assert_eq!(a.view().token, b.view().token);
        prop_assert_eq!(a.view().parent, b.view().parent);
    }

    #[test]
    fn drawing_and_reading_back_is_identity(growth in growth()) {
        let tree = growth.grow(&LIMITS);
        let text = draw(tree.view(), None, None);
        let again = Drawing::parse(&text).unwrap();
        let (a, b) = (tree.view(), again.tree.view());
        prop_assert_eq!(a.parent, b.parent);
        prop_assert_eq!(a.token, b.token);
        prop_assert_eq!(a.seq, b.seq);
        prop_assert_eq!(a.score, b.score);
        prop_assert_eq!(a.level_start, b.level_start);
    }

    /// Negative control: a tree with one broken invariant must be refused.
    #[test]
    fn a_broken_tree_is_caught(growth in growth(), bug in 0_usize..5) {
        let tree = growth.grow(&LIMITS);
        let view = tree.view();
        prop_assume!(view.levels() > 1);
        let n = view.len() - 1;
        let (mut parent, mut token) = (view.parent.to_vec(), view.token.to_vec());
        let (mut seq, mut score) = (view.seq.to_vec(), view.score.to_vec());
        match bug {
            0 => parent[n] = n as u32,
            1 => score[n] = f32::NAN,
            2 => seq[n] = 99,
            3 => score[n] = 0.5,
            _ => {
                let mut last = view.level(view.levels() - 1);
                let twin = last.find(|&m| m != n && parent[m] == parent[n]);
                prop_assume!(twin.is_some());
                token[n] = token[twin.unwrap()];
            }
        }
        let broken = SuperTreeView {
            parent: &parent,
            token: &token,
            seq: &seq,
            score: &score,
            level_start: view.level_start,
            passes: &[],
        };
        prop_assert!(check_view(broken).is_err());
    }
}
