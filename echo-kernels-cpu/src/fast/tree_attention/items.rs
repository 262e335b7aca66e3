//! What there is to do, and how threads divide it.

use super::LEN;
use echo_core::PackedView;
use std::ops::Range;

/// Rows of one sequence that share a block while it is in cache.
pub(super) const ROWS_SHARED_MAX: usize = 8;

/// Some rows of one sequence, with all that they see.
///
/// Its work comes in *pieces*, one for each block and key head, the key heads of a block side by
/// side as they lie in memory.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) seq: usize,
    row: usize,
    n_rows: usize,
    /// Blocks of the row that sees most, times key heads.
    pub(super) pieces: usize,
    /// Cost of the items before this one.
    before: usize,
}

impl Item {
    pub(super) fn rows(&self) -> Range<usize> {
        self.row..self.row + self.n_rows
    }

    /// Cost of one piece: each row's share of arithmetic, and one for reading it.
    fn piece_cost(&self) -> usize {
        self.n_rows + 1
    }

    /// The first piece whose cost lies at or beyond `cost`.
    fn piece_at(&self, cost: usize) -> usize {
        cost.saturating_sub(self.before).div_ceil(self.piece_cost()).min(self.pieces)
    }
}

/// The items of one call, in the order in which threads take them.
#[derive(Default)]
pub(super) struct Items {
    items: Vec<Item>,
    cost: usize,
}

impl Items {
    /// Lists the items of `packed`.
    pub(super) fn list(&mut self, packed: PackedView<'_>, n_kv: usize) {
        self.items.clear();
        self.cost = 0;
        for seq in 0..packed.n_seqs() {
            let rows = packed.rows_of(seq);
            for row in rows.clone().step_by(ROWS_SHARED_MAX) {
                let n_rows = ROWS_SHARED_MAX.min(rows.end - row);
                let most = (row..row + n_rows).map(|row| seen(packed, row)).max().unwrap_or(0);
                let pieces = most.div_ceil(LEN) * n_kv;
                let item = Item { seq, row, n_rows, pieces, before: self.cost };
                self.cost += pieces * item.piece_cost();
                self.items.push(item);
            }
        }
    }

    /// The items of thread `w` of `n`, with the pieces of each that are its.
    pub(super) fn of(&self, w: usize, n: usize) -> impl Iterator<Item = (Item, Range<usize>)> {
        let [from, to] = [w, w + 1].map(|w| w * self.cost / n);
        let first = self.items.partition_point(|item| item.before <= from).saturating_sub(1);
        let items = self.items[first..].iter().take_while(move |item| item.before < to);
        let cut = move |item: &Item| (*item, item.piece_at(from)..item.piece_at(to));
        items.map(cut).filter(|(_, pieces)| !pieces.is_empty())
    }
}

/// Positions that `row` sees.
pub(super) fn seen(packed: PackedView<'_>, row: usize) -> usize {
    let drafted: u32 = packed.ancestors_of(row).iter().map(|word| word.count_ones()).sum();
    packed.prefix_len[row] as usize + drafted as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(pieces: &[(usize, usize)]) -> Items {
        let mut all = Items::default();
        for &(n_rows, pieces) in pieces {
            let item = Item { seq: 0, row: 0, n_rows, pieces, before: all.cost };
            all.cost += pieces * item.piece_cost();
            all.items.push(item);
        }
        all
    }

    #[test]
    fn threads_take_every_piece_once_and_in_order() {
        let some = [(1, 16), (1, 16), (8, 3), (1, 1), (2, 40)];
        for cut in 0..=some.len() {
            for n in 1..9 {
                let items = items(&some[..cut]);
                let mut taken = Vec::new();
                for w in 0..n {
                    for (item, pieces) in items.of(w, n) {
                        taken.extend(pieces.map(|piece| (item.before, piece)));
                    }
                }
                let all = items.items.iter().flat_map(|i| (0..i.pieces).map(|p| (i.before, p)));
                assert_eq!(taken, all.collect::<Vec<_>>(), "{cut} items, {n} threads");
            }
        }
    }

    #[test]
    fn one_item_is_halved_by_two_threads() {
        let items = items(&[(1, 3 * 16)]);
        let pieces = |w| items.of(w, 2).map(|(_, pieces)| pieces.len()).sum::<usize>();
        assert_eq!((pieces(0), pieces(1)), (24, 24));
    }
}
