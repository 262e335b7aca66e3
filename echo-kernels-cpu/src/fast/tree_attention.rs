//! The fast form of [`tree_attention`](crate::reference::tree_attention()): one online softmax over
//! blocks of positions, keys and values read where they lie.
//!
//! Positions come in blocks of 64, cut where the position is a multiple of 64. A block gives each
//! query head its largest score and sums relative to it, which the sums of the blocks before it
//! then absorb. So a row's operations depend on the positions it sees alone, and who works on a
//! block, when, and with whom does not matter: threads divide positions as they divide rows, and a
//! thread that starts in the middle keeps what its blocks give until those before them are done.
//!
//! A key head of a block is read by all rows of a sequence that share it, and by all query heads of
//! it, while it is in cache; key heads follow each other as they lie in memory. What a row sees
//! beyond its last whole block (the end of its prefix and its ancestors) it reads by itself, in
//! blocks cut at the same positions.

mod items;
mod kernel;
mod keys;
mod sums;
mod values;

use super::Fast;
use super::kv_element::KvElement;
use super::rows::Rows;
use super::simd::LANES;
use crate::area::Area;
use crate::linear::Isa;
use echo_core::port::Heads;
use echo_core::{PackedView, Slot};
use items::{Item, Items};
use kernel::{Ahead, Cache};
use parking_lot::Mutex;
use std::ops::Range;
use sums::Sums;

/// Positions in a block.
const LEN: usize = 64;

/// What is kept between calls.
pub(super) struct Scratch {
    items: Items,
    workers: Vec<Mutex<Worker>>,
}

#[derive(Default)]
struct Worker {
    /// Queries of the item, `[n_kv, rows, group, padded]`, scaled by `dim^-1/2`.
    query: Vec<f32>,
    /// Sums of the item, `[n_kv, rows, group]`, over the pieces from the first on.
    sums: Sums,
    /// What the pieces of an item give that another thread has begun, `[pieces, rows, group]`.
    kept: Sums,
    slots: Vec<Slot>,
}

impl Scratch {
    pub(super) fn new(threads: usize) -> Self {
        let workers = (0..threads).map(|_| Mutex::default()).collect();
        Scratch { items: Items::default(), workers }
    }
}

impl Worker {
    /// Room for any item over up to `longest` positions, so that later calls allocate nothing.
    fn reserve(&mut self, heads: Heads, longest: usize) {
        let padded = heads.dim.next_multiple_of(LANES);
        let places = items::ROWS_SHARED_MAX * heads.n_q;
        self.query.clear();
        self.query.reserve(places * padded);
        self.sums.reserve(places, padded);
        self.kept.reserve(longest.div_ceil(LEN) * places, padded);
        self.slots.clear();
        self.slots.reserve(LEN);
    }
}

/// The operands of one call.
struct Attention<'a, T> {
    isa: Isa,
    packed: PackedView<'a>,
    heads: Heads,
    qkv: &'a [f32],
    qkv_area: Area,
    keys: &'a [T],
    values: &'a [T],
    out: Rows<'a>,
}

impl Fast {
    #[allow(private_bounds, reason = "keys and values of the two types there are")]
    pub(crate) fn tree_attention<T: KvElement>(
        &mut self,
        packed: PackedView<'_>,
        longest: usize,
        heads: Heads,
        qkv: &[f32],
        qkv_area: Area,
        keys: &[T],
        values: &[T],
        out: &mut [f32],
        out_area: Area,
    ) {
        let Scratch { items, workers } = &mut self.attention;
        items.list(packed, heads.n_kv);
        let (items, workers) = (&*items, &*workers);
        let out = Rows::new(out, out_area, packed.rows());
        let isa = self.isa;
        let attention = Attention { isa, packed, heads, qkv, qkv_area, keys, values, out };
        self.pool.run(workers.len(), &|w| {
            let mut worker = workers[w].lock();
            worker.reserve(heads, longest);
            for (item, pieces) in items.of(w, workers.len()) {
                attention.run(item, pieces, &mut worker);
            }
        });
        // The items that are cut: each is begun by one thread and goes on in the next ones.
        let mut begun = workers.first().map(Mutex::lock);
        for w in 1..workers.len() {
            let worker = workers[w].lock();
            let mut last = None;
            for (item, pieces) in items.of(w, workers.len()) {
                last = Some(pieces.start);
                if let (true, Some(begun)) = (pieces.start > 0, &mut begun) {
                    attention.go_on(item, pieces, &mut begun.sums, &worker.kept);
                }
            }
            if last == Some(0) {
                begun = Some(worker);
            }
        }
    }
}

impl<T: KvElement> Attention<'_, T> {
    fn group(&self) -> usize {
        self.heads.n_q / self.heads.n_kv
    }

    /// Works on some pieces of an item.
    fn run(&self, item: Item, pieces: Range<usize>, worker: &mut Worker) {
        let Worker { query, sums, kept, slots } = worker;
        let Heads { n_q, n_kv, dim } = self.heads;
        let (group, padded) = (self.group(), dim.next_multiple_of(LANES));
        let n_rows = item.rows().len();
        self.load(item, padded, query);
        let begins = pieces.start == 0;
        if begins {
            sums.begin(n_rows * n_q, padded);
        } else {
            kept.begin(pieces.len() * n_rows * group, padded);
        }
        let table = self.packed.table_of(item.seq);
        for (p, piece) in pieces.clone().enumerate() {
            let (block, head) = (piece / n_kv, piece % n_kv);
            let (keys, values, stride) = (self.keys, self.values, n_kv * dim);
            let cache = Cache { keys, values, stride, first: head * dim, dim };
            let mut attend = |rows: Range<usize>, slots: &[Slot], ahead: Ahead<'_>| {
                let (first, n) = ((head * n_rows + rows.start) * group, rows.len() * group);
                let query = &query[first * padded..][..n * padded];
                let places = if begins {
                    sums.places(first, n)
                } else {
                    kept.places((p * n_rows + rows.start) * group, n)
                };
                kernel::attend(self.isa, cache, slots, ahead, query, places);
            };
            let whole = |row: usize| block < self.packed.prefix_len[row] as usize / LEN;
            let mut r = 0;
            while r < n_rows {
                let row = item.rows().start + r;
                let together = (row..item.rows().end).take_while(|&row| whole(row)).count();
                if together > 0 {
                    let (slots, rest) = table[block * LEN..].split_at(LEN);
                    let ahead = if head + 1 < n_kv {
                        Ahead { slots, first: (head + 1) * dim }
                    } else {
                        Ahead { slots: &rest[..LEN.min(rest.len())], first: 0 }
                    };
                    attend(r..r + together, slots, ahead);
                } else {
                    self.own(item.seq, row, block, slots);
                    if !slots.is_empty() {
                        attend(r..r + 1, slots, Ahead::default());
                    }
                }
                r += together.max(1);
            }
        }
        if begins && pieces.end == item.pieces {
            self.finish(item, sums);
        }
    }

    /// Absorbs pieces that another thread has kept.
    fn go_on(&self, item: Item, pieces: Range<usize>, sums: &mut Sums, kept: &Sums) {
        let (group, n_kv, n_rows) = (self.group(), self.heads.n_kv, item.rows().len());
        let end = pieces.end;
        for (p, piece) in pieces.enumerate() {
            let (block, head) = (piece / n_kv, piece % n_kv);
            for (r, row) in item.rows().enumerate() {
                if block * LEN < items::seen(self.packed, row) {
                    let into = (head * n_rows + r) * group;
                    sums.absorb(self.isa, into, kept, (p * n_rows + r) * group, group);
                }
            }
        }
        if end == item.pieces {
            self.finish(item, sums);
        }
    }

    fn finish(&self, item: Item, sums: &Sums) {
        let Heads { n_q, n_kv, dim } = self.heads;
        let (group, n_rows) = (self.group(), item.rows().len());
        for (r, row) in item.rows().enumerate() {
            // SAFETY: an item's rows are those of no other item, and one thread finishes it.
            let out = unsafe { self.out.columns_mut(row, 0, n_q * dim) };
            for (h, out) in out.chunks_exact_mut(dim).enumerate() {
                let (head, g) = (h / group, h % group);
                assert!(head < n_kv);
                sums.finish(self.isa, (head * n_rows + r) * group + g, out);
            }
        }
    }

    /// Copies the query heads of an item, scaled.
    fn load(&self, item: Item, padded: usize, query: &mut Vec<f32>) {
        let Heads { n_q, n_kv, dim } = self.heads;
        let (group, scale) = (self.group(), 1.0 / (dim as f32).sqrt());
        query.clear();
        query.resize(item.rows().len() * n_q * padded, 0.0);
        let mut places = query.chunks_exact_mut(padded);
        for (head, row) in (0..n_kv).flat_map(|head| item.rows().map(move |row| (head, row))) {
            let from = self.qkv_area.at(row, head * group * dim);
            for query in self.qkv[from..from + group * dim].chunks_exact(dim) {
                let place = places.next().expect("a place for each query head");
                for (place, x) in place.iter_mut().zip(query) {
                    *place = x * scale;
                }
            }
        }
    }

    /// The slots of `block` as `row` sees it, when it is not whole in the sequence's table.
    fn own(&self, seq: usize, row: usize, block: usize, slots: &mut Vec<Slot>) {
        let packed = self.packed;
        let prefix = packed.prefix_len[row] as usize;
        let (first, end) = (block * LEN, (block + 1) * LEN);
        slots.clear();
        slots.extend_from_slice(&packed.table_of(seq)[first.min(prefix)..end.min(prefix)]);
        let drafted = packed.drafted(seq).start;
        let mut position = prefix;
        for (w, &word) in packed.ancestors_of(row).iter().enumerate() {
            let mut left = word;
            while left != 0 {
                if (first..end).contains(&position) {
                    let ancestor = drafted + w * 64 + left.trailing_zeros() as usize;
                    slots.push(packed.slot[ancestor]);
                }
                position += 1;
                left &= left - 1;
            }
        }
    }
}
