//! Lays the plan out as the rows of one forward: tokens, positions, ancestor sets, slots.

use echo_core::{Limits, PackedView, Plan, Slot, SuperTreeView, Token};

/// What one sequence brings into a forward.
#[derive(Clone, Copy, Debug)]
pub struct SeqRows<'a> {
    /// Its place in the batch.
    pub seq: u32,
    /// Slots of its cached positions `0..cached.len()`.
    pub cached: &'a [Slot],
    /// Tokens of the positions that follow and precede the root: prompt, or to be recomputed.
    pub context: &'a [Token],
    /// Whether its root and the kept nodes below it follow the context.
    pub root: bool,
    /// Whether verdicts are wanted at the context rows too: what the target makes of a prompt.
    pub scored: bool,
    /// Slots for its new rows, one per row in their order: context, root, drafted rows in level
    /// order. May be longer than needed.
    pub slots: &'a [Slot],
}

/// The owner of one forward's rows. See [`PackedView`] for the layout.
///
/// Filled by [`begin`](Packed::begin) and one [`push_seq`](Packed::push_seq) per sequence, in
/// ascending order of place.
#[derive(Clone, Debug)]
pub struct Packed {
    token: Vec<Token>,
    position: Vec<u32>,
    slot: Vec<Slot>,
    prefix_len: Vec<u32>,
    ancestors: Vec<u64>,
    words: usize,
    seqs: Vec<u32>,
    row_start: Vec<u32>,
    drafted_start: Vec<u32>,
    table: Vec<Slot>,
    table_start: Vec<u32>,
    sampled: Vec<u32>,
    /// Row of each node plus 1; 0 where the node has none.
    node_row: Vec<u32>,
    /// Node of each row plus 1; 0 at context rows.
    row_node: Vec<u32>,
    /// First node of each level that belongs to no sequence pushed so far.
    cursor: Vec<u32>,
    limits: Limits,
}

impl Packed {
    /// No rows, with room for everything `limits` allow.
    pub fn new(limits: &Limits) -> Self {
        let (rows, seqs) = (limits.rows_max, limits.seqs_max);
        let words = limits.ancestor_words();
        // A cached prefix may be shared between sequences, so tables can hold more entries than
        // there are slots.
        let table = seqs * limits.context_max;
        Packed {
            token: Vec::with_capacity(rows),
            position: Vec::with_capacity(rows),
            slot: Vec::with_capacity(rows),
            prefix_len: Vec::with_capacity(rows),
            ancestors: Vec::with_capacity(rows * words),
            words,
            seqs: Vec::with_capacity(seqs),
            row_start: vec![0],
            drafted_start: Vec::with_capacity(seqs),
            table: Vec::with_capacity(table),
            table_start: vec![0],
            sampled: Vec::with_capacity(rows),
            node_row: Vec::with_capacity(limits.nodes_max()),
            row_node: Vec::with_capacity(rows),
            cursor: Vec::with_capacity(limits.depth_max + 1),
            limits: *limits,
        }
        .with_starts(seqs + 1)
    }

    fn with_starts(mut self, starts: usize) -> Self {
        self.row_start.reserve_exact(starts);
        self.table_start.reserve_exact(starts);
        self
    }

    /// Forgets all rows and prepares for the sequences of `tree`.
    pub fn begin(&mut self, tree: SuperTreeView<'_>) {
        self.token.clear();
        self.position.clear();
        self.slot.clear();
        self.prefix_len.clear();
        self.ancestors.clear();
        self.seqs.clear();
        self.row_start.clear();
        self.row_start.push(0);
        self.drafted_start.clear();
        self.table.clear();
        self.table_start.clear();
        self.table_start.push(0);
        self.sampled.clear();
        self.row_node.clear();
        self.node_row.clear();
        self.node_row.resize(tree.len(), 0);
        self.cursor.clear();
        self.cursor.extend_from_slice(&tree.level_start[..tree.levels()]);
    }

    /// Adds the rows of one sequence and returns their number, which is how many of `rows.slots`
    /// were used. `tree` is the one given to [`begin`](Packed::begin), `plan` a legal plan for it.
    ///
    /// Panics if the sequence brings no row, doesn't ascend, has no root in `tree` where
    /// `rows.root` says so (or the reverse), or exceeds the limits: bugs of the caller.
    pub fn push_seq(&mut self, tree: SuperTreeView<'_>, plan: &Plan, rows: SeqRows<'_>) -> usize {
        let SeqRows { seq, cached, context, root, scored, slots } = rows;
        assert!(self.seqs.last().is_none_or(|&last| last < seq), "sequences must ascend by place");
        assert!(root || !context.is_empty(), "place {seq} brings no row");
        let start = self.token.len();
        self.table.extend_from_slice(cached);
        for (i, &token) in context.iter().enumerate() {
            if scored {
                self.sampled.push(self.token.len() as u32);
            }
            self.push_committed(token, cached.len() + i, slots[i]);
        }
        let planted = self.next_node(tree, 0, seq);
        assert_eq!(planted.is_some(), root, "root of place {seq}");
        if let Some(node) = planted {
            let position = cached.len() + context.len();
            self.sampled.push(self.token.len() as u32);
            self.push_committed(tree.token[node], position, slots[context.len()]);
            self.bind(node);
        }
        self.drafted_start.push(self.token.len() as u32);
        if root {
            self.push_drafted(tree, plan, seq, &slots[context.len() + 1..]);
        }
        self.seqs.push(seq);
        self.row_start.push(self.token.len() as u32);
        self.table_start.push(self.table.len() as u32);
        assert!(self.seqs.len() <= self.limits.seqs_max, "over seqs_max");
        assert!(self.token.len() <= self.limits.rows_max, "over rows_max");
        self.token.len() - start
    }

    /// The rows so far.
    pub fn view(&self) -> PackedView<'_> {
        PackedView {
            token: &self.token,
            position: &self.position,
            slot: &self.slot,
            prefix_len: &self.prefix_len,
            ancestors: &self.ancestors,
            words: self.words,
            seqs: &self.seqs,
            row_start: &self.row_start,
            drafted_start: &self.drafted_start,
            table: &self.table,
            table_start: &self.table_start,
            sampled: &self.sampled,
        }
    }

    /// The row of super-tree node `node`, if the plan kept it.
    pub fn row_of(&self, node: usize) -> Option<usize> {
        self.node_row[node].checked_sub(1).map(|row| row as usize)
    }

    /// The super-tree node of `row`; none at context rows.
    pub fn node_of(&self, row: usize) -> Option<usize> {
        self.row_node[row].checked_sub(1).map(|node| node as usize)
    }

    /// A token that is part of its sequence already: it sees what precedes it, and itself.
    fn push_committed(&mut self, token: Token, position: usize, slot: Slot) {
        self.table.push(slot);
        self.push_row(token, position as u32, position as u32 + 1, slot);
    }

    fn push_drafted(&mut self, tree: SuperTreeView<'_>, plan: &Plan, seq: u32, slots: &[Slot]) {
        let first = self.token.len();
        let root_position = self.position[first - 1];
        for depth in 1..tree.levels() {
            while let Some(node) = self.next_kept(tree, plan, depth, seq) {
                let row = self.token.len();
                self.sampled.push(row as u32);
                self.push_row(
                    tree.token[node],
                    root_position + depth as u32,
                    root_position + 1,
                    slots[row - first],
                );
                self.bind(node);
                let parent = self.row_of(tree.parent[node] as usize);
                let parent = parent.expect("a legal plan keeps a node with its parent");
                let words = self.words;
                // The root's set is empty, so its children need no case of their own.
                self.ancestors.copy_within(parent * words..(parent + 1) * words, row * words);
                let bit = row - first;
                assert!(bit < self.limits.tree_max, "over tree_max");
                self.ancestors[row * words + bit / 64] |= 1 << (bit % 64);
            }
        }
    }

    fn push_row(&mut self, token: Token, position: u32, prefix_len: u32, slot: Slot) {
        self.token.push(token);
        self.position.push(position);
        self.prefix_len.push(prefix_len);
        self.slot.push(slot);
        self.row_node.push(0);
        self.ancestors.resize(self.token.len() * self.words, 0);
    }

    /// Ties the newest row to `node`.
    fn bind(&mut self, node: usize) {
        self.node_row[node] = self.token.len() as u32;
        self.row_node[self.token.len() - 1] = node as u32 + 1;
    }

    /// The next node of `seq` in level `depth` that the plan holds: a plan is sparse, so it leads.
    fn next_kept(
        &mut self,
        tree: SuperTreeView<'_>,
        plan: &Plan,
        depth: usize,
        seq: u32,
    ) -> Option<usize> {
        let end = tree.level_start[depth + 1] as usize;
        loop {
            let from = self.cursor[depth] as usize;
            // What was looked through isn't again, for this sequence or the next.
            let node =
                if from < end { plan.next(from).map_or(end, |node| node.min(end)) } else { end };
            self.cursor[depth] = node as u32;
            if node == end || tree.seq[node] > seq {
                return None;
            }
            self.cursor[depth] += 1;
            if tree.seq[node] == seq {
                return Some(node);
            }
        }
    }

    /// The next node of `seq` in level `depth`, skipping those of lower places.
    fn next_node(&mut self, tree: SuperTreeView<'_>, depth: usize, seq: u32) -> Option<usize> {
        let end = tree.level_start[depth + 1];
        let cursor = &mut self.cursor[depth];
        while *cursor < end && tree.seq[*cursor as usize] < seq {
            *cursor += 1;
        }
        if *cursor == end || tree.seq[*cursor as usize] != seq {
            return None;
        }
        *cursor += 1;
        Some(*cursor as usize - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Drawing;

    #[test]
    fn one_forward_mixes_prompt_and_trees() {
        let text = "
            seq 1: 7 *
              2 -0.5 *
                4 -1 *
                5 -2
              3 -1 *
                6 -3 *
            seq 4: 9 *";
        let Drawing { tree, plan } = Drawing::parse(text).unwrap();
        let limits = Limits {
            seqs_max: 3,
            rows_max: 16,
            depth_max: 2,
            width_max: 2,
            beam_max: 2,
            tree_max: 6,
            context_max: 16,
            kv_slots: 64,
            logprobs_max: 0,
        };
        let mut packed = Packed::new(&limits);
        packed.begin(tree.view());
        let mut push = |seq, cached: &[Slot], context: &[Token], root, slots: &[Slot]| {
            let rows = SeqRows { seq, cached, context, root, scored: false, slots };
            packed.push_seq(tree.view(), &plan, rows)
        };
        assert_eq!(push(1, &[30, 31], &[70], true, &[1, 2, 3, 4, 5, 6, 7]), 6);
        assert_eq!(push(2, &[], &[80, 81], false, &[10, 11]), 2);
        assert_eq!(push(4, &[40], &[], true, &[12]), 1);
        let view = packed.view();
        assert_eq!(view.token, [70, 7, 2, 3, 4, 6, 80, 81, 9]);
        assert_eq!(view.position, [2, 3, 4, 4, 5, 5, 0, 1, 1]);
        assert_eq!(view.prefix_len, [3, 4, 4, 4, 4, 4, 1, 2, 2]);
        assert_eq!(view.slot, [1, 2, 3, 4, 5, 6, 10, 11, 12]);
        assert_eq!(view.ancestors, [0, 0, 0b1, 0b10, 0b101, 0b1010, 0, 0, 0]);
        assert_eq!(view.row_start, [0, 6, 8, 9]);
        assert_eq!(view.drafted_start, [2, 8, 9]);
        assert_eq!(view.table, [30, 31, 1, 2, 10, 11, 40, 12]);
        assert_eq!(view.table_start, [0, 4, 6, 8]);
        assert_eq!(view.sampled, [1, 2, 3, 4, 5, 8]);
        assert_eq!((packed.row_of(2), packed.row_of(5)), (Some(2), None));
        assert_eq!((packed.node_of(0), packed.node_of(8)), (None, Some(1)));
    }
}
