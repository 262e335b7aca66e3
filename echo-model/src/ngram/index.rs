//! Where each n-gram of a text occurred: hash chains from the latest occurrence back.

use echo_core::Token;

const NONE: u32 = u32::MAX;

/// The occurrences of all `n`-grams of the texts at every place in the batch.
///
/// Per place one array of chain heads by hash and one link per token. Chains of different n-grams
/// may be joined, so a reader compares tokens; an outdated index costs proposals, never a wrong
/// one.
#[derive(Clone, Debug)]
pub(super) struct Index {
    n: usize,
    context_max: usize,
    heads_len: usize,
    /// Latest position whose n-gram ends there, `[seqs_max, heads_len]`.
    heads: Vec<u32>,
    /// The position before with the same hash, `[seqs_max, context_max]`.
    links: Vec<u32>,
    /// What was indexed of each place, `[seqs_max]`.
    seen: Vec<Seen>,
}

/// How much of a text is indexed, and by what it is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    tokens: usize,
    last: Token,
    seed: u64,
}

impl Index {
    pub(super) fn new(n: usize, seqs_max: usize, context_max: usize) -> Self {
        let heads_len = context_max.next_power_of_two();
        Index {
            n,
            context_max,
            heads_len,
            heads: vec![NONE; seqs_max * heads_len],
            links: vec![NONE; seqs_max * context_max],
            seen: vec![Seen::default(); seqs_max],
        }
    }

    /// Forgets the text at place `seq`.
    pub(super) fn clear(&mut self, seq: usize) {
        if self.seen[seq].tokens > 0 {
            self.heads[seq * self.heads_len..][..self.heads_len].fill(NONE);
            self.seen[seq] = Seen::default();
        }
    }

    /// Brings place `seq` up to date with its text. A text that does not continue the one known,
    /// as far as its length, its seed and one token tell, is indexed anew.
    pub(super) fn update(&mut self, seq: usize, text: &[Token], seed: u64) {
        let seen = self.seen[seq];
        let continues = seen.tokens == 0
            || (seen.tokens <= text.len()
                && text[seen.tokens - 1] == seen.last
                && seed == seen.seed);
        if !continues {
            self.clear(seq);
        }
        let start = self.seen[seq].tokens;
        let heads = &mut self.heads[seq * self.heads_len..][..self.heads_len];
        let links = &mut self.links[seq * self.context_max..][..self.context_max];
        for end in start.max(self.n - 1)..text.len() {
            let bucket = hash(&text[end + 1 - self.n..=end]) & (heads.len() - 1);
            links[end] = heads[bucket];
            heads[bucket] = end as u32;
        }
        if let Some(&last) = text.last() {
            let tokens = text.len();
            self.seen[seq] = Seen { tokens, last, seed };
        }
    }

    /// Positions at which an n-gram with the hash of `gram` ends, latest first.
    pub(super) fn chain(&self, seq: usize, gram: &[Token]) -> impl Iterator<Item = usize> + '_ {
        assert_eq!(gram.len(), self.n, "chains are of n-grams of one length");
        let links = &self.links[seq * self.context_max..][..self.context_max];
        let mut at = self.heads[seq * self.heads_len + (hash(gram) & (self.heads_len - 1))];
        std::iter::from_fn(move || {
            let end = Some(at as usize).filter(|_| at != NONE)?;
            at = links[end];
            Some(end)
        })
    }
}

fn hash(gram: &[Token]) -> usize {
    let mixed = gram.iter().fold(0u64, |h, &token| {
        (h ^ u64::from(token)).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    });
    (mixed ^ mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(index: &Index, text: &[Token], gram: &[Token]) -> Vec<usize> {
        let same = |end: &usize| text.get(end + 1 - gram.len()..=*end) == Some(gram);
        index.chain(0, gram).filter(same).collect()
    }

    #[test]
    fn occurrences_come_latest_first_however_the_text_arrived() {
        let text = [1, 2, 3, 1, 2, 3, 1, 2];
        let mut whole = Index::new(2, 1, 16);
        whole.update(0, &text, 0);
        let mut pieces = Index::new(2, 1, 16);
        for end in 0..=text.len() {
            pieces.update(0, &text[..end], 0);
        }
        for index in [whole, pieces] {
            assert_eq!(ends(&index, &text, &[1, 2]), [7, 4, 1]);
            assert_eq!(ends(&index, &text, &[2, 3]), [5, 2]);
            assert_eq!(ends(&index, &text, &[3, 3]), [] as [usize; 0]);
        }
    }

    #[test]
    fn another_text_at_the_same_place_is_noticed() {
        let text = [5, 6, 5, 6, 7];
        let fresh = |old: &[Token], seed| {
            let mut index = Index::new(1, 1, 16);
            index.update(0, old, 1);
            index.update(0, &text, seed);
            let chained: usize = (0..8).map(|t| ends(&index, &text, &[t]).len()).sum();
            chained == text.len()
        };
        assert!(fresh(&[9; 12], 1), "a shorter text");
        assert!(fresh(&[9, 9, 9], 1), "another token");
        assert!(fresh(&[9, 6], 2), "another seed");
        assert!(!fresh(&[9, 6], 1), "nothing tells this one from a continuation");
    }

    #[test]
    fn clearing_forgets() {
        let mut index = Index::new(1, 2, 4);
        index.update(0, &[1, 1], 0);
        index.update(1, &[1, 1], 0);
        index.clear(0);
        assert_eq!(index.chain(0, &[1]).count(), 0);
        assert_eq!(index.chain(1, &[1]).count(), 2);
    }
}
