//! The likeliest columns of some rows.

/// The `k` best columns of each row of a matrix, best first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopK {
    /// Columns listed per row.
    pub k: usize,
    /// Columns, `[rows, k]`.
    pub column: Vec<u32>,
    /// Natural logarithm of each one's share of the softmax over its row, `[rows, k]`.
    pub log_prob: Vec<f32>,
}

impl TopK {
    /// Room for `rows` rows of `k` columns.
    pub fn with_capacity(rows: usize, k: usize) -> Self {
        let room = rows * k;
        TopK { k, column: Vec::with_capacity(room), log_prob: Vec::with_capacity(room) }
    }

    /// Makes room for the answers of `rows` rows, all zero.
    pub fn reset(&mut self, rows: usize, k: usize) {
        self.k = k;
        self.column.clear();
        self.column.resize(rows * k, 0);
        self.log_prob.clear();
        self.log_prob.resize(rows * k, 0.0);
    }

    /// The columns of `row` and their log-probabilities, best first.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let own = row * self.k..(row + 1) * self.k;
        self.column[own.clone()].iter().copied().zip(self.log_prob[own].iter().copied())
    }
}
