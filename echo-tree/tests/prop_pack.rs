//! Packing against a naive dense reference: what each row sees, found by walking parents.

mod testkit;

use echo_core::{Limits, PackedView, Plan, Slot, SuperTreeView, Token, Verdicts};
use echo_tree::{Packed, Paths, SeqRows, accept, drafted_of};
use proptest::prelude::*;
use testkit::{Growth, LIMITS, Pass, config, growth};

/// A forward in the making: the tree's growth, which nodes are wanted, and for each of six places
/// the number of cached positions and of context rows.
#[derive(Clone, Debug)]
struct Forward {
    growth: Growth,
    wanted: Vec<bool>,
    lengths: Vec<(usize, usize)>,
    shuffle: u32,
}

fn forward() -> impl Strategy<Value = Forward> {
    let wanted = prop::collection::vec(prop::bool::weighted(0.7), 80);
    let lengths = prop::collection::vec((0_usize..4, 0_usize..3), 6);
    (growth(), wanted, lengths, any::<u32>())
        .prop_map(|(growth, wanted, lengths, shuffle)| Forward { growth, wanted, lengths, shuffle })
}

/// One row, as the reference sees it.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    token: Token,
    position: u32,
    slot: Slot,
    /// Slots read, by position.
    sees: Vec<Slot>,
    node: Option<usize>,
}

/// Wanted nodes whose ancestors are all wanted.
fn plan_of(tree: SuperTreeView<'_>, wanted: &[bool]) -> Plan {
    let mut plan = Plan::default();
    plan.reset(tree.len(), tree.roots());
    for (n, &parent) in tree.parent.iter().enumerate() {
        if wanted[n] && plan.contains(parent as usize) {
            plan.keep(n);
        }
    }
    plan
}

/// A slot number for the `i`-th row: distinct, in no order.
fn slot_of(i: usize, shuffle: u32) -> Slot {
    (i as u32).wrapping_mul(2_654_435_761) ^ shuffle
}

impl Forward {
    /// Packs, and computes the reference rows beside it.
    fn pack(&self, limits: &Limits, tree: SuperTreeView<'_>, plan: &Plan) -> (Packed, Vec<Row>) {
        let mut packed = Packed::new(limits);
        packed.begin(tree);
        let mut rows: Vec<Row> = Vec::new();
        let mut n_slots = 0;
        let mut slots = |n: usize| {
            n_slots += n;
            (n_slots - n..n_slots).map(|i| slot_of(i, self.shuffle)).collect::<Vec<_>>()
        };
        let mut served = 0;
        for seq in 0..6_u32 {
            let root = tree.level(0).find(|&n| tree.seq[n] == seq);
            let (n_cached, n_context) = self.lengths[seq as usize];
            if root.is_none() && (n_context == 0 || served == limits.seqs_max) {
                continue;
            }
            // Roots come first: a place without one only joins where seqs_max leaves room.
            let waiting = tree.level(0).filter(|&n| tree.seq[n] > seq).count();
            if root.is_none() && served + waiting == limits.seqs_max {
                continue;
            }
            served += 1;
            let cached = slots(n_cached);
            let context: Vec<Token> = (0..n_context as u32).map(|i| 1000 + 10 * seq + i).collect();
            let n_drafted = root.map_or(0, |_| 1 + drafted_of(tree, plan, seq));
            let new = slots(n_context + n_drafted);
            let used = packed.push_seq(
                tree,
                plan,
                SeqRows {
                    seq,
                    cached: &cached,
                    context: &context,
                    root: root.is_some(),
                    scored: false,
                    slots: &new,
                },
            );
            assert_eq!(used, new.len());
            let mut sees = cached;
            for (&token, &slot) in context.iter().zip(&new) {
                sees.push(slot);
                rows.push(Row { token, position: 0, slot, sees: sees.clone(), node: None });
            }
            let nodes = (0..tree.len()).filter(|&n| tree.seq[n] == seq && plan.contains(n));
            let first = rows.len();
            for (n, &slot) in nodes.zip(&new[n_context..]) {
                let parent = rows[first..].iter().find(|r| r.node == Some(tree.parent[n] as usize));
                let mut sees = parent.map_or(sees.clone(), |p| p.sees.clone());
                sees.push(slot);
                rows.push(Row { token: tree.token[n], position: 0, slot, sees, node: Some(n) });
            }
        }
        // A row stands behind everything it sees: the position needs no second rule.
        for row in &mut rows {
            row.position = row.sees.len() as u32 - 1;
        }
        (packed, rows)
    }
}

/// Whether `view` says of each row what the reference says; names the first field that doesn't.
fn check_rows(view: PackedView<'_>, rows: &[Row]) -> Result<(), String> {
    if view.rows() != rows.len() {
        return Err("rows".into());
    }
    for s in 0..view.n_seqs() {
        for r in view.rows_of(s) {
            let mut sees = view.table_of(s)[..view.prefix_len[r] as usize].to_vec();
            let set = view.ancestors_of(r);
            let bit = |i: usize| set[i / 64] >> (i % 64) & 1 == 1;
            let ancestors = (0..view.words * 64).filter(|&i| bit(i));
            let drafted = view.drafted(s);
            for row in ancestors.map(|i| drafted.start + i) {
                if !drafted.contains(&row) {
                    return Err(format!("row {r} sees beyond its sequence"));
                }
                sees.push(view.slot[row]);
            }
            let fields = [
                ("token", view.token[r] == rows[r].token),
                ("position", view.position[r] == rows[r].position),
                ("slot", view.slot[r] == rows[r].slot),
                ("visible set", sees == rows[r].sees),
            ];
            if let Some((field, _)) = fields.iter().find(|(_, holds)| !holds) {
                return Err(format!("{field} of row {r}"));
            }
        }
    }
    let wants = |&(_, row): &(usize, &Row)| row.node.is_some();
    let sampled: Vec<u32> = rows.iter().enumerate().filter(wants).map(|(r, _)| r as u32).collect();
    if view.sampled == sampled { Ok(()) } else { Err("sampled".into()) }
}

/// A tree of 8 + 64 + 64 drafted rows: ancestor sets of three words, all bits in use.
#[test]
fn ancestor_sets_span_words() {
    let limits = Limits { width_max: 8, beam_max: 8, tree_max: 136, rows_max: 160, ..LIMITS };
    let proposal = |i: usize| (i / 8, (i % 8) as Token, -((i % 7) as f32));
    let pass = Pass { proposals: (0..64).map(proposal).collect(), keep: vec![8] };
    let forward = Forward {
        growth: Growth { places: vec![1], passes: vec![pass; 3] },
        wanted: vec![true; 137],
        lengths: vec![(2, 0); 6],
        shuffle: 0,
    };
    let tree = forward.growth.grow(&limits);
    let plan = plan_of(tree.view(), &forward.wanted);
    let (packed, rows) = forward.pack(&limits, tree.view(), &plan);
    assert_eq!((packed.view().rows(), packed.view().words), (137, 3));
    assert_eq!(check_rows(packed.view(), &rows), Ok(()));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rows_see_their_prefix_and_their_ancestors(forward in forward()) {
        let tree = forward.growth.grow(&LIMITS);
        let plan = plan_of(tree.view(), &forward.wanted);
        let (packed, rows) = forward.pack(&LIMITS, tree.view(), &plan);
        prop_assert_eq!(check_rows(packed.view(), &rows), Ok(()));
    }

    #[test]
    fn unpacking_gives_back_the_plan(forward in forward()) {
        let tree = forward.growth.grow(&LIMITS);
        let tree = tree.view();
        let plan = plan_of(tree, &forward.wanted);
        let (packed, rows) = forward.pack(&LIMITS, tree, &plan);
        let mut unpacked = Plan::default();
        unpacked.reset(tree.len(), 0);
        for (r, row) in rows.iter().enumerate() {
            prop_assert_eq!(packed.node_of(r), row.node);
            if let Some(n) = row.node {
                unpacked.keep(n);
                prop_assert_eq!(packed.row_of(n), Some(r));
            }
        }
        prop_assert_eq!(&unpacked, &plan);
        let dropped = (0..tree.len()).filter(|&n| !plan.contains(n));
        prop_assert!(dropped.into_iter().all(|n| packed.row_of(n).is_none()));
    }

    #[test]
    fn the_accepted_path_is_the_longest_agreeing_one(
        forward in forward(),
        answers in prop::collection::vec(0_u32..5, 80),
        fault in prop::option::weighted(0.3, 0_usize..40),
    ) {
        let tree = forward.growth.grow(&LIMITS);
        let tree = tree.view();
        let plan = plan_of(tree, &forward.wanted);
        let (packed, rows) = forward.pack(&LIMITS, tree, &plan);
        let mut verdicts = Verdicts::default();
        let n = packed.view().sampled.len();
        verdicts.reset(n);
        verdicts.token.copy_from_slice(&answers[..n]);
        if let Some(v) = fault.filter(|&v| v < n) {
            verdicts.faulty[v] = true;
        }
        let mut paths = Paths::new(&LIMITS);
        accept(tree, &packed, &verdicts, &mut paths);
        prop_assert_eq!(paths.len(), tree.roots());
        let verdict_of = |node: usize| {
            let row = rows.iter().position(|r| r.node == Some(node)).unwrap() as u32;
            packed.view().sampled.iter().position(|&r| r == row).unwrap()
        };
        for root in tree.level(0) {
            let (mut walk, mut faulty) = (Vec::new(), false);
            let mut next = Some(root);
            while let Some(node) = next {
                faulty = verdicts.faulty[verdict_of(node)];
                if faulty {
                    break;
                }
                walk.push(node);
                let token = verdicts.token[verdict_of(node)];
                next = (tree.roots()..tree.len()).find(|&c| {
                    plan.contains(c) && tree.parent[c] as usize == node && tree.token[c] == token
                });
            }
            let nodes: Vec<usize> = paths.rows(root).iter()
                .map(|&r| packed.node_of(r as usize).unwrap()).collect();
            let answered: Vec<u32> = walk.iter().map(|&n| verdict_of(n) as u32).collect();
            prop_assert_eq!(paths.seq(root), tree.seq[root]);
            prop_assert_eq!(nodes, walk);
            prop_assert_eq!(paths.verdicts(root), answered);
            prop_assert_eq!(paths.faulty(root), faulty);
        }
    }

    /// Negative controls: the reference must notice each of the classic mistakes.
    #[test]
    fn planted_bugs_are_caught(forward in forward(), bug in 0_usize..4) {
        let tree = forward.growth.grow(&LIMITS);
        let plan = plan_of(tree.view(), &forward.wanted);
        let (packed, rows) = forward.pack(&LIMITS, tree.view(), &plan);
        let view = packed.view();
        let (mut position, mut ancestors) = (view.position.to_vec(), view.ancestors.to_vec());
        let (mut slot, mut prefix_len) = (view.slot.to_vec(), view.prefix_len.to_vec());
        // The last sequence whose tree has two rows side by side at one depth.
        let pair = (0..view.n_seqs()).rev().find_map(|s| {
            let rows = view.drafted(s);
            rows.clone().skip(1).find(|&r| position[r] == position[r - 1]).map(|r| (s, r))
        });
        prop_assume!(pair.is_some());
        let (s, row) = pair.unwrap();
        let at = row - view.drafted(s).start;
        match bug {
            // The position taken from the index in the tree, not from the depth.
            0 => position[row] = view.prefix_len[row] + at as u32,
            // The neighbour made visible.
            1 => ancestors[row * view.words + (at - 1) / 64] |= 1 << ((at - 1) % 64),
            // The root forgotten.
            2 => prefix_len[row] -= 1,
            // Two slots exchanged.
            _ => slot.swap(row, row - 1),
        }
        let broken = PackedView {
            position: &position,
            ancestors: &ancestors,
            slot: &slot,
            prefix_len: &prefix_len,
            ..view
        };
        prop_assert!(check_rows(broken, &rows).is_err());
    }
}
