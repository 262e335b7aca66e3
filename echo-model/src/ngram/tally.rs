//! What followed, how often, after how long a match; and the probabilities that follow from it.

use super::NgramOptions;
use echo_core::Token;

const LENGTHS: usize = NgramOptions::N_MAX + 1;

/// The continuations of one node, with the weight of their occurrences by length of match.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    token: Vec<Token>,
    /// Weight of occurrences that match exactly `l` tokens, `[tokens][l]`.
    weight: Vec<[f32; LENGTHS]>,
    /// The same over all tokens.
    total: [f32; LENGTHS],
    /// Occurrences so far and the weight of the next.
    occurrences: usize,
    next_weight: f32,
    /// Probability and index into `token`, likeliest first.
    ranked: Vec<(f32, usize)>,
}

impl Tally {
    pub(super) fn new(options: &NgramOptions) -> Self {
        Tally {
            token: Vec::with_capacity(options.scan_max),
            weight: Vec::with_capacity(options.scan_max),
            total: [0.0; LENGTHS],
            occurrences: 0,
            next_weight: 1.0,
            ranked: Vec::with_capacity(options.scan_max),
        }
    }

    pub(super) fn clear(&mut self) {
        self.token.clear();
        self.weight.clear();
        self.total = [0.0; LENGTHS];
        self.occurrences = 0;
        self.next_weight = 1.0;
    }

    /// Number of occurrences counted.
    pub(super) fn occurrences(&self) -> usize {
        self.occurrences
    }

    /// Counts an occurrence that matches `length` tokens and goes on with `token`; the latest comes
    /// first.
    pub(super) fn push(&mut self, token: Token, length: usize, recency: f32) {
        let known = self.token.iter().position(|&t| t == token);
        let i = known.unwrap_or_else(|| {
            self.token.push(token);
            self.weight.push([0.0; LENGTHS]);
            self.token.len() - 1
        });
        self.weight[i][length] += self.next_weight;
        self.total[length] += self.next_weight;
        self.next_weight *= recency;
        self.occurrences += 1;
    }

    /// The continuations and their probabilities, likeliest first, the more recent first among
    /// equals.
    pub(super) fn rank(
        &mut self,
        options: &NgramOptions,
    ) -> impl Iterator<Item = (Token, f32)> + '_ {
        self.ranked.clear();
        for i in 0..self.token.len() {
            self.ranked.push((self.probability(i, options), i));
        }
        self.ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.ranked.iter().map(|&(p, i)| (self.token[i], p))
    }

    /// The back-off of the module's header for the `i`-th continuation.
    fn probability(&self, i: usize, options: &NgramOptions) -> f32 {
        let k = options.smoothing;
        let mut p = 0.0;
        for l in options.n_min..=options.n_max {
            let at_least =
                |weights: &[f32; LENGTHS]| weights[l..=options.n_max].iter().sum::<f32>();
            p = (at_least(&self.weight[i]) + k * p) / (at_least(&self.total) + k);
        }
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: NgramOptions = NgramOptions {
        n_min: 1,
        n_max: 3,
        scan_max: 8,
        recency: 1.0,
        smoothing: 1.0,
        prob_min: 0.0,
    };

    fn ranked(occurrences: &[(Token, usize)], options: NgramOptions) -> Vec<(Token, f32)> {
        let mut tally = Tally::new(&options);
        for &(token, length) in occurrences {
            tally.push(token, length, options.recency);
        }
        tally.rank(&options).collect()
    }

    #[test]
    fn longer_matches_are_believed_more() {
        assert_eq!(ranked(&[(7, 1)], OPTIONS), [(7, 0.5)]);
        assert_eq!(ranked(&[(7, 2)], OPTIONS), [(7, 0.75)]);
        assert_eq!(ranked(&[(7, 3)], OPTIONS), [(7, 0.875)]);
        // One long match outweighs two short ones: 1/4, then (1 + 1/4) / 2, then (1 + 5/8) / 2.
        let both = ranked(&[(8, 1), (8, 1), (7, 3)], OPTIONS);
        assert_eq!(both[0], (7, 0.8125));
        assert_eq!(both[1].0, 8);
    }

    #[test]
    fn probabilities_leave_room_for_the_unseen() {
        let some = [(1, 1), (2, 3), (1, 2), (3, 1), (2, 2), (4, 3)];
        let sum: f32 = ranked(&some, OPTIONS).iter().map(|r| r.1).sum();
        assert!(sum < 1.0 && sum > 0.8, "{sum}");
    }

    #[test]
    fn the_recent_come_first() {
        let recent = NgramOptions { recency: 0.5, ..OPTIONS };
        let order = |options| ranked(&[(1, 1), (2, 1), (2, 1)], options)[0].0;
        assert_eq!(order(OPTIONS), 2);
        assert_eq!(order(recent), 1);
        assert_eq!(ranked(&[(9, 1), (3, 1)], OPTIONS)[0].0, 9, "among equals");
    }
}
