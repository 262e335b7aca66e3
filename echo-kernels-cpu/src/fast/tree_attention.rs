//! The fast form of [`tree_attention`](crate::reference::tree_attention()): one online softmax.
//!
//! Keys come in blocks of sixteen, cut where the position is a multiple of sixteen. A block's keys
//! are transposed once, so that a lane is a position and scores need no sum over lanes; the rows of
//! one sequence that see the whole block by their tables, and the query heads that share its key
//! head, all use that copy. What a row sees beyond its last whole block (the end of its prefix and
//! its ancestors) it reads by itself, in blocks cut at the same positions. So the operations on a
//! row depend on the positions it sees alone, whoever shares the block.

mod block;
mod kernel;

use super::Fast;
use super::rows::Rows;
use crate::area::Area;
use block::Block;
use echo_core::port::Heads;
use echo_core::{PackedView, Slot};
use parking_lot::Mutex;

/// Rows of one sequence that share the copy of a block: their queries and sums stay in cache.
const ROWS_SHARED_MAX: usize = 8;

/// What is kept between calls.
pub(super) struct Scratch {
    items: Vec<Item>,
    workers: Vec<Mutex<Worker>>,
}

/// Some rows of one sequence, for one key head.
#[derive(Clone, Copy)]
struct Item {
    seq: usize,
    row: usize,
    n_rows: usize,
    kv_head: usize,
    /// Positions seen by items before this one: how threads divide the work.
    before: usize,
}

#[derive(Default)]
struct Worker {
    block: Block,
    state: kernel::State,
    slots: Vec<Slot>,
}

impl Scratch {
    pub(super) fn new(threads: usize) -> Self {
        Scratch { items: Vec::new(), workers: (0..threads).map(|_| Mutex::default()).collect() }
    }
}

/// The operands of one call.
struct Attention<'a> {
    packed: PackedView<'a>,
    heads: Heads,
    qkv: &'a [f32],
    qkv_area: Area,
    keys: &'a [f32],
    values: &'a [f32],
    out: Rows<'a>,
}

impl Fast {
    pub(crate) fn tree_attention(
        &mut self,
        packed: PackedView<'_>,
        heads: Heads,
        qkv: &[f32],
        qkv_area: Area,
        keys: &[f32],
        values: &[f32],
        out: &mut [f32],
        out_area: Area,
    ) {
        let Scratch { items, workers } = &mut self.attention;
        let total = list(packed, heads, items);
        let (items, workers, isa) = (&*items, &*workers, self.isa);
        let attention = Attention {
            packed,
            heads,
            qkv,
            qkv_area,
            keys,
            values,
            out: Rows::new(out, out_area, packed.rows()),
        };
        let n = workers.len();
        self.pool.run(n, &|w| {
            let first = |w: usize| items.partition_point(|item| item.before < w * total / n);
            let last = if w + 1 == n { items.len() } else { first(w + 1) };
            let mut worker = workers[w].lock();
            for &item in &items[first(w)..last] {
                attention.run(isa, item, &mut worker);
            }
        });
    }
}

/// Lists the items, those that read the same keys side by side; gives the positions seen by all.
fn list(packed: PackedView<'_>, heads: Heads, items: &mut Vec<Item>) -> usize {
    items.clear();
    let mut before = 0;
    for seq in 0..packed.n_seqs() {
        let rows = packed.rows_of(seq);
        for kv_head in 0..heads.n_kv {
            for row in rows.clone().step_by(ROWS_SHARED_MAX) {
                let n_rows = ROWS_SHARED_MAX.min(rows.end - row);
                items.push(Item { seq, row, n_rows, kv_head, before });
                let seen = packed.prefix_len[row..row + n_rows].iter().sum::<u32>();
                before += seen as usize + n_rows * block::LEN;
            }
        }
    }
    before
}

impl Attention<'_> {
    fn run(&self, isa: crate::linear::Isa, item: Item, worker: &mut Worker) {
        let Worker { block, state, slots } = worker;
        let Heads { n_q, n_kv, dim } = self.heads;
        let group = n_q / n_kv;
        let rows = item.row..item.row + item.n_rows;
        let first_query = item.kv_head * group;
        state.begin(item.n_rows, group, dim);
        for (r, row) in rows.clone().enumerate() {
            let from = self.qkv_area.at(row, first_query * dim);
            state.query(r, &self.qkv[from..from + group * dim]);
        }
        let table = self.packed.table_of(item.seq);
        let whole = |row: usize| self.packed.prefix_len[row] as usize / block::LEN;
        let shared = rows.clone().map(whole).max().unwrap_or(0);
        for b in 0..shared {
            let slots = &table[b * block::LEN..(b + 1) * block::LEN];
            self.copy(slots, item.kv_head, block);
            for (r, _) in rows.clone().enumerate().filter(|&(_, row)| whole(row) > b) {
                state.attend(isa, r, block);
            }
        }
        for (r, row) in rows.enumerate() {
            self.rest(item.seq, row, whole(row) * block::LEN, slots);
            for slots in slots.chunks(block::LEN) {
                self.copy(slots, item.kv_head, block);
                state.attend(isa, r, block);
            }
            // SAFETY: an item's rows and key head are those of no other item.
            let out = unsafe { self.out.columns_mut(row, first_query * dim, group * dim) };
            state.finish(isa, r, out);
        }
    }

    /// The slots that `row` sees from position `from` on.
    fn rest(&self, seq: usize, row: usize, from: usize, slots: &mut Vec<Slot>) {
        let packed = self.packed;
        slots.clear();
        slots.extend_from_slice(&packed.table_of(seq)[from..packed.prefix_len[row] as usize]);
        let drafted = packed.drafted(seq);
        for (w, &word) in packed.ancestors_of(row).iter().enumerate() {
            let mut left = word;
            while left != 0 {
                let ancestor = drafted.start + w * 64 + left.trailing_zeros() as usize;
                slots.push(packed.slot[ancestor]);
                left &= left - 1;
            }
        }
    }

    fn copy(&self, slots: &[Slot], kv_head: usize, block: &mut Block) {
        let Heads { n_kv, dim, .. } = self.heads;
        block.fill(dim, slots, |slot| {
            let place = (slot as usize * n_kv + kv_head) * dim;
            (&self.keys[place..place + dim], &self.values[place..place + dim])
        });
    }
}
