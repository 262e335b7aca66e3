//! Which rounds go ungated, so that depths a gate trims keep giving labels.
//!
//! Once a gate closes unsure sequences, nobody learns what they would have gained: the labels are
//! censored, and a gate that has become wrong can't be found out. So in each run of `one_in` steps
//! of a sequence, exactly one round, drawn by Philox from seed, sequence and run, is not gated. The
//! rate is `1 / one_in` exactly; no gap exceeds `2 · one_in − 2` gated rounds; no period of the
//! text can hide from it. It costs drafts at worst, never correctness.

use echo_core::sampling::philox;
use echo_core::{Frontier, Keep};

/// The rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explore {
    /// Steps of which one is not gated; 0 never explores, 1 always does. A gate that lives on
    /// calibration wants 20 to 100.
    pub one_in: u32,
    /// Seed of the choice.
    pub seed: u64,
}

impl Explore {
    /// Whether the round of sequence `id` (its name, or its place) at `step` is not gated.
    pub fn explores(&self, id: u64, step: u64) -> bool {
        let Some(run) = step.checked_div(u64::from(self.one_in)) else { return false };
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let counter = [id as u32, (id >> 32) as u32, run as u32, (run >> 32) as u32];
        let drawn = (u64::from(philox(counter, key)[0]) * u64::from(self.one_in)) >> 32;
        step % u64::from(self.one_in) == drawn
    }

    /// Opens again what a gate narrowed in sequences that explore at `step`, known by their place.
    /// `opened` is the mask as it was before the gate. Allocates nothing.
    pub fn reopen(&self, frontier: Frontier<'_>, step: u64, opened: &Keep, keep: &mut Keep) {
        let first = frontier.nodes().start;
        for (seq, nodes) in frontier.seqs() {
            if self.explores(u64::from(seq), step) {
                nodes.for_each(|n| keep.open(n - first, opened.children(n - first)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_tree::Drawing;

    #[test]
    fn each_run_has_exactly_one_free_round() {
        for one_in in [1, 2, 7, 50] {
            let explore = Explore { one_in, seed: 9 };
            for id in [0, 1, 1 << 40] {
                for run in 0..40 {
                    let steps = run * u64::from(one_in)..(run + 1) * u64::from(one_in);
                    assert_eq!(steps.filter(|&step| explore.explores(id, step)).count(), 1);
                }
            }
        }
        assert!((0..99).all(|step| !Explore { one_in: 0, seed: 9 }.explores(3, step)));
    }

    #[test]
    fn sequences_do_not_explore_together() {
        let explore = Explore { one_in: 10, seed: 1 };
        let at_once = (0..1000).filter(|&id| explore.explores(id, 5)).count();
        assert!((60..140).contains(&at_once), "{at_once}");
    }

    #[test]
    fn only_explorers_are_opened_again() {
        let drawing = Drawing::parse("seq 0: 7\n  1 -9\nseq 1: 8\n  2 -9").unwrap();
        let explore = Explore { one_in: 2, seed: 0 };
        let both = |step| [0, 1].map(|id| explore.explores(id, step));
        let step = (0..99).find(|&step| both(step) == [true, false]).unwrap();
        let (mut opened, mut keep) = (Keep::default(), Keep::default());
        opened.reset(2);
        (0..2).for_each(|i| opened.open(i, 4));
        keep.reset(2);
        explore.reopen(drawing.tree.view().frontier(), step, &opened, &mut keep);
        assert_eq!(keep.as_slice(), [4, 0]);
    }
}
