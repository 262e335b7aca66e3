//! The drafter: a search per node, level by level.

use super::NgramOptions;
use super::index::Index;
use super::tally::Tally;
use echo_core::port::Children;
use echo_core::{BatchView, DeviceError, Drafter, Frontier, Keep, Limits, Settled, Token};

/// Proposes what followed the end of the text before; see the [module](super).
#[derive(Clone, Debug)]
pub struct NgramDrafter {
    options: NgramOptions,
    index: Index,
    tally: Tally,
    /// The end of a node's text, its path included; the last token last.
    tail: Vec<Token>,
}

impl NgramDrafter {
    /// Room for all sequences within `limits`. Panics if an option is out of its range.
    pub fn new(options: NgramOptions, limits: &Limits) -> Self {
        options.check();
        NgramDrafter {
            options,
            index: Index::new(options.n_min, limits.seqs_max, limits.context_max),
            tally: Tally::new(&options),
            tail: Vec::with_capacity(options.n_max),
        }
    }

    /// Leaves in `tail` the last `n_max` tokens of the text that ends with `node`.
    fn read_tail(&mut self, text: &[Token], frontier: &Frontier<'_>, node: usize) {
        let (tree, mut at) = (frontier.tree, node);
        self.tail.clear();
        while tree.parent[at] as usize != at && self.tail.len() < self.options.n_max {
            self.tail.push(tree.token[at]);
            at = tree.parent[at] as usize;
        }
        let room = self.options.n_max - self.tail.len();
        self.tail.extend(text.iter().rev().take(room));
        self.tail.reverse();
    }

    /// Counts what followed the earlier occurrences of `tail` in `text`.
    fn search(&mut self, seq: usize, text: &[Token]) {
        let NgramOptions { n_min, scan_max, recency, .. } = self.options;
        self.tally.clear();
        let Some(start) = self.tail.len().checked_sub(n_min) else {
            return;
        };
        // Joined chains are rare; where a text provokes them, the search gives up early.
        let chain = self.index.chain(seq, &self.tail[start..]).take(4 * scan_max);
        for end in chain {
            let Some(&next) = text.get(end + 1) else {
                continue;
            };
            let back = self.tail.iter().rev().zip(text[..=end].iter().rev());
            let length = back.take_while(|(a, b)| a == b).count();
            if length >= n_min {
                self.tally.push(next, length, recency);
            }
            if self.tally.occurrences() == scan_max {
                break;
            }
        }
    }
}

impl Drafter for NgramDrafter {
    /// Has no keys and values to note; texts are read when a draft begins.
    fn settle(&mut self, _settled: Settled<'_>) {}

    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        let first = frontier.nodes().start;
        for (seq, nodes) in frontier.seqs() {
            let text = batch.tokens(seq);
            let seed = batch.seed[seq as usize];
            self.index.update(seq as usize, text, seed);
            for node in nodes {
                let width = keep.children(node - first) as usize;
                if width == 0 {
                    continue;
                }
                self.read_tail(text, &frontier, node);
                self.search(seq as usize, text);
                let ranked = self.tally.rank(&self.options).take(width);
                for (token, p) in ranked.filter(|&(_, p)| p >= self.options.prob_min) {
                    children.push(node, token, p.ln().min(0.0));
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, seq: u32) {
        self.index.clear(seq as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::SuperTreeView;

    const LIMITS: Limits = Limits {
        seqs_max: 2,
        rows_max: 8,
        depth_max: 4,
        width_max: 4,
        beam_max: 4,
        tree_max: 16,
        context_max: 32,
        kv_slots: 64,
        logprobs_max: 0,
    };

    fn words(text: &str) -> Vec<Token> {
        text.bytes().map(Token::from).collect()
    }

    /// The children proposed after `text` and a drafted `path`, likeliest first, as text.
    fn after(drafter: &mut NgramDrafter, text: &str, path: &str, width: u32) -> String {
        let mut tokens = words(text);
        let n_tokens = [tokens.len() as u32, 0];
        tokens.resize(2 * 32, 0);
        let batch = BatchView {
            tokens: &tokens,
            slots: &[0; 64],
            stride: 32,
            n_tokens: &n_tokens,
            n_cached: &[0, 0],
            seed: &[0, 0],
            temperature: &[0.0, 0.0],
        };
        let chain: Vec<Token> = text.bytes().last().map(Token::from).into_iter().collect();
        let chain = [chain, words(path)].concat();
        let parents: Vec<u32> = (0..chain.len() as u32).map(|n| n.saturating_sub(1)).collect();
        let tree = SuperTreeView {
            parent: &parents,
            token: &chain,
            seq: &vec![0; chain.len()],
            score: &vec![0.0; chain.len()],
            level_start: &(0..=chain.len() as u32).collect::<Vec<_>>(),
            passes: &[],
        };
        let mut keep = Keep::default();
        keep.reset(1);
        keep.open(0, width);
        let mut children = Children::default();
        let level = drafter.extend(batch, tree.frontier(), &keep, &mut children);
        assert_eq!(level, Ok(()));
        assert!(children.log_prob.iter().all(|&p| p <= 0.0));
        let proposed = children.token.iter().map(|&t| char::from(t as u8));
        proposed.collect()
    }

    fn drafter() -> NgramDrafter {
        NgramDrafter::new(NgramOptions::usual(), &LIMITS)
    }

    #[test]
    fn repeats_what_followed() {
        assert_eq!(after(&mut drafter(), "the cat. the c", "", 4), "a");
        assert_eq!(after(&mut drafter(), "the cat. the c", "a", 4), "t");
        assert_eq!(after(&mut drafter(), "the cat. the c", "at. ", 4), "t");
        assert_eq!(after(&mut drafter(), "the cat. the c", "x", 4), "");
        assert_eq!(after(&mut drafter(), "abcdefgh", "", 4), "");
        assert_eq!(after(&mut drafter(), "a", "", 4), "");
    }

    #[test]
    fn several_continuations_become_siblings() {
        // What once followed "ab1 ab" comes first, then the most recent.
        let text = "ab1 ab2 ab3 ab1 ab";
        assert_eq!(after(&mut drafter(), text, "", 4), "213");
        assert_eq!(after(&mut drafter(), text, "", 1), "2");
        assert_eq!(after(&mut drafter(), text, "", 0), "");
    }

    #[test]
    fn the_longer_match_wins_over_the_more_recent() {
        assert_eq!(after(&mut drafter(), "xabc1 zzc9 bc2 xabc", "", 2), "12");
    }

    #[test]
    fn a_forgotten_place_starts_anew() {
        let mut drafter = drafter();
        assert_eq!(after(&mut drafter, "abcabcab", "", 1), "c");
        drafter.forget(0);
        assert_eq!(after(&mut drafter, "ab", "", 1), "");
        // And without being told, as far as it can be seen.
        assert_eq!(after(&mut drafter, "xyzxyzxy", "", 1), "z");
    }

    #[test]
    fn doubtful_proposals_are_withheld() {
        let strict = NgramOptions { prob_min: 0.5, ..NgramOptions::usual() };
        let mut strict = NgramDrafter::new(strict, &LIMITS);
        assert_eq!(after(&mut strict, "ab1 ab2 ab3 ab", "", 4), "");
        assert_eq!(after(&mut strict, "ab1 ab1 ab1 ab", "", 4), "1");
    }
}
