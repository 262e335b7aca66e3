//! What the target answers: the token it would commit after each sampled row.

use crate::id::Token;

/// One answer per sampled row of a forward, in the order of
/// [`PackedView::sampled`](crate::PackedView::sampled).
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// The token the target commits after the row, by the law of [`sampling`](crate::sampling).
    pub token: Vec<Token>,
    /// Its log-probability under the target's unprocessed law (softmax of the raw logits); NaN
    /// where none was asked for.
    pub log_prob: Vec<f32>,
    /// Whether the row's logits held a NaN or no finite value at all. Such a row commits nothing;
    /// its request ends with an error.
    pub faulty: Vec<bool>,
    /// Likeliest alternatives of the raw law, most likely first, ties by lowest token,
    /// `[n_sampled, top_stride]`.
    pub top: Vec<(Token, f32)>,
    /// Alternatives listed per row, `[n_sampled]`.
    pub top_len: Vec<u32>,
    /// Distance between two rows in `top`.
    pub top_stride: usize,
}

impl Verdicts {
    /// Room for `rows` answers with up to `top` alternatives each.
    pub fn with_capacity(rows: usize, top: usize) -> Self {
        Verdicts {
            token: Vec::with_capacity(rows),
            log_prob: Vec::with_capacity(rows),
            faulty: Vec::with_capacity(rows),
            top: Vec::with_capacity(rows * top),
            top_len: Vec::with_capacity(rows),
            top_stride: top,
        }
    }

    /// Makes room for exactly `rows` answers, all blank.
    pub fn reset(&mut self, rows: usize) {
        self.token.clear();
        self.token.resize(rows, 0);
        self.log_prob.clear();
        self.log_prob.resize(rows, f32::NAN);
        self.faulty.clear();
        self.faulty.resize(rows, false);
        self.top.clear();
        self.top.resize(rows * self.top_stride, (0, 0.0));
        self.top_len.clear();
        self.top_len.resize(rows, 0);
    }

    /// Number of answers.
    pub fn len(&self) -> usize {
        self.token.len()
    }

    /// Whether no row was sampled.
    pub fn is_empty(&self) -> bool {
        self.token.is_empty()
    }

    /// The alternatives listed for the `i`-th answer.
    pub fn top_of(&self, i: usize) -> &[(Token, f32)] {
        let start = i * self.top_stride;
        &self.top[start..start + self.top_len[i] as usize]
    }
}
