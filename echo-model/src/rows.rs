//! A forward laid out row by row.

use echo_core::{PackedView, Slot, Token};

/// The arrays of a [`PackedView`], filled sequence by sequence.
///
/// ```
/// use echo_model::testkit::Rows;
///
/// let mut rows = Rows::new(1);
/// rows.sequence(0, &[]);
/// rows.context(5, 100);
/// rows.root(6, 101);
/// let child = rows.drafted(7, 102, None);
/// rows.drafted(8, 103, Some(child));
/// assert_eq!(rows.view().position, [0, 1, 2, 3]);
/// assert_eq!(rows.view().sampled, [1, 2, 3]);
/// ```
#[derive(Clone, Debug)]
pub struct Rows {
    words: usize,
    token: Vec<Token>,
    position: Vec<u32>,
    slot: Vec<Slot>,
    prefix_len: Vec<u32>,
    ancestors: Vec<u64>,
    seqs: Vec<u32>,
    row_start: Vec<u32>,
    drafted_start: Vec<u32>,
    table: Vec<Slot>,
    table_start: Vec<u32>,
    sampled: Vec<u32>,
}

impl Rows {
    /// No rows, with `words` words in each ancestor set.
    pub fn new(words: usize) -> Self {
        Rows {
            words,
            token: Vec::new(),
            position: Vec::new(),
            slot: Vec::new(),
            prefix_len: Vec::new(),
            ancestors: Vec::new(),
            seqs: Vec::new(),
            row_start: vec![0],
            drafted_start: Vec::new(),
            table: Vec::new(),
            table_start: vec![0],
            sampled: Vec::new(),
        }
    }

    /// The same with room for `rows` rows of `seqs` sequences that see `seen` slots in all.
    pub fn with_capacity(words: usize, rows: usize, seqs: usize, seen: usize) -> Self {
        let mut all = Rows::new(words);
        for numbers in [&mut all.token, &mut all.position, &mut all.slot, &mut all.prefix_len] {
            numbers.reserve(rows);
        }
        for numbers in [&mut all.seqs, &mut all.drafted_start] {
            numbers.reserve(seqs);
        }
        for numbers in [&mut all.row_start, &mut all.table_start] {
            numbers.reserve(seqs + 1);
        }
        all.ancestors.reserve(rows * words);
        all.sampled.reserve(rows);
        all.table.reserve(seen);
        all
    }

    /// Forgets all rows and keeps the room.
    pub fn clear(&mut self) {
        for numbers in [&mut self.token, &mut self.position, &mut self.slot, &mut self.prefix_len] {
            numbers.clear();
        }
        for numbers in [&mut self.seqs, &mut self.drafted_start, &mut self.table] {
            numbers.clear();
        }
        for numbers in [&mut self.row_start, &mut self.table_start] {
            numbers.truncate(1);
        }
        self.ancestors.clear();
        self.sampled.clear();
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.token.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.token.is_empty()
    }

    /// Begins the sequence at place `seq`, whose first tokens are cached in `cached`. Places
    /// ascend.
    pub fn sequence(&mut self, seq: u32, cached: &[Slot]) {
        self.seqs.push(seq);
        self.row_start.push(self.token.len() as u32);
        self.drafted_start.push(self.token.len() as u32);
        self.table.extend_from_slice(cached);
        self.table_start.push(self.table.len() as u32);
    }

    /// Lets the rows that follow see one more cached slot.
    pub fn cached(&mut self, slot: Slot) {
        self.table.push(slot);
        *self.table_start.last_mut().expect("a sequence") = self.table.len() as u32;
    }

    /// Adds the sequence's next committed token, which wants no verdict.
    pub fn context(&mut self, token: Token, slot: Slot) {
        let start = self.table_start[self.seqs.len() - 1];
        self.context_at(token, slot, self.table.len() as u32 - start);
    }

    /// The same, at a position that is not the number of the slots it sees.
    pub fn context_at(&mut self, token: Token, slot: Slot, position: u32) {
        let start = self.table_start[self.seqs.len() - 1];
        self.table.push(slot);
        self.push(token, slot, position, self.table.len() as u32 - start);
        *self.drafted_start.last_mut().expect("a sequence") = self.token.len() as u32;
        *self.table_start.last_mut().expect("a sequence") = self.table.len() as u32;
    }

    /// Adds the sequence's last committed token, which wants a verdict.
    pub fn root(&mut self, token: Token, slot: Slot) {
        self.context(token, slot);
        self.sampled.push(self.token.len() as u32 - 1);
    }

    /// Adds a drafted row below the row `parent`, or below the root; returns its number.
    pub fn drafted(&mut self, token: Token, slot: Slot, parent: Option<usize>) -> usize {
        let s = self.seqs.len() - 1;
        let prefix = self.table_start[s + 1] - self.table_start[s];
        let position = parent.map_or(prefix, |row| self.position[row] + 1);
        let row = self.push(token, slot, position, prefix);
        if let Some(parent) = parent {
            let above = parent * self.words..(parent + 1) * self.words;
            self.ancestors.copy_within(above, row * self.words);
        }
        let bit = row - self.drafted_start[s] as usize;
        self.ancestors[row * self.words + bit / 64] |= 1 << (bit % 64);
        self.sampled.push(row as u32);
        row
    }

    /// The forward.
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

    fn push(&mut self, token: Token, slot: Slot, position: u32, prefix: u32) -> usize {
        self.token.push(token);
        self.position.push(position);
        self.slot.push(slot);
        self.prefix_len.push(prefix);
        self.ancestors.resize(self.token.len() * self.words, 0);
        *self.row_start.last_mut().expect("a sequence") = self.token.len() as u32;
        self.token.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_behind_a_cached_prefix() {
        let mut rows = Rows::new(1);
        rows.sequence(2, &[9, 8]);
        rows.root(1, 7);
        let left = rows.drafted(2, 6, None);
        let right = rows.drafted(3, 5, None);
        rows.drafted(4, 4, Some(right));
        rows.sequence(3, &[]);
        rows.context(1, 3);
        let view = rows.view();
        assert_eq!(left, 1);
        assert_eq!(view.position, [2, 3, 3, 4, 0]);
        assert_eq!(view.prefix_len, [3, 3, 3, 3, 1]);
        assert_eq!(view.ancestors, [0, 1, 2, 6, 0]);
        assert_eq!((view.rows_of(0), view.drafted(0)), (0..4, 1..4));
        assert_eq!((view.rows_of(1), view.drafted(1)), (4..5, 5..5));
        assert_eq!((view.table_of(0), view.table_of(1)), (&[9, 8, 7][..], &[3][..]));
        assert_eq!(view.sampled, [0, 1, 2, 3]);
    }
}
