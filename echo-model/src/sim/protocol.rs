//! The contract of a drafter, checked call by call.

use super::faults::Faults;
use echo_core::port::Children;
use echo_core::{BatchView, Frontier, Keep, Settled};
use std::collections::HashMap;

/// Follows what a drafter is told, and notes what contradicts the contract.
///
/// - Kept rows of a place continue one another by position and continue what was kept before,
///   until the place is forgotten.
/// - A kept row's token is the sequence's token at its position; context rows and roots are kept.
/// - A level is asked for only at nodes of live sequences whose root is their last token.
/// - Nothing is proposed beforehand, and the mask covers the frontier.
#[derive(Clone, Debug, Default)]
pub(super) struct Protocol {
    faults: Faults,
    /// Position that the next kept row of a place must have.
    next: HashMap<u32, u32>,
}

impl Protocol {
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(super) fn settle(&mut self, settled: &Settled<'_>) {
        let (packed, batch) = (&settled.packed, &settled.batch);
        let (rows, marks) = (packed.rows(), settled.kept.len());
        if rows != marks {
            self.faults.push(|| format!("{rows} rows settle with {marks} marks"));
            return;
        }
        for s in 0..packed.n_seqs() {
            let seq = packed.seqs[s];
            if batch.n_tokens.get(seq as usize).is_none_or(|&n| n == 0) {
                // Finished in this very step: nobody will ask for it again.
                self.next.remove(&seq);
                continue;
            }
            let tokens = batch.tokens(seq);
            for row in packed.rows_of(s) {
                if !settled.kept[row] {
                    self.faults.check(packed.drafted(s).contains(&row), || {
                        format!("committed row {row} of place {seq} was not kept")
                    });
                    continue;
                }
                let position = packed.position[row];
                let expected = *self.next.get(&seq).unwrap_or(&position);
                self.faults.check(position == expected, || {
                    format!("place {seq} keeps position {position} after {expected} were kept")
                });
                let token = tokens.get(position as usize);
                self.faults.check(token == Some(&packed.token[row]), || {
                    let kept = packed.token[row];
                    format!("place {seq} keeps {kept} at {position}, its text says {token:?}")
                });
                self.next.insert(seq, position + 1);
            }
        }
    }

    pub(super) fn extend(
        &mut self,
        batch: &BatchView<'_>,
        frontier: &Frontier<'_>,
        keep: &Keep,
        children: &Children,
    ) {
        let (nodes, covered) = (frontier.nodes().len(), keep.len());
        self.faults.check(nodes == covered, || {
            format!("a frontier of {nodes} nodes comes with a mask of {covered}")
        });
        self.faults.check(children.is_empty(), || {
            "children were there before the drafter was asked".to_owned()
        });
        if frontier.depth() > 0 {
            return;
        }
        for (seq, roots) in frontier.seqs() {
            let last = match batch.n_tokens.get(seq as usize) {
                Some(&n) if n > 0 => batch.tokens(seq).last(),
                _ => None,
            };
            let root = frontier.tree.token[roots.start];
            self.faults.check(roots.len() == 1 && last == Some(&root), || {
                format!("place {seq} has root {root}, its text ends with {last:?}")
            });
            let (kept, cached) = (self.next.get(&seq), batch.n_cached[seq as usize]);
            self.faults.check(kept.is_none_or(|&n| n == cached), || {
                format!("place {seq} has {cached} cached tokens, {kept:?} were kept")
            });
        }
    }

    pub(super) fn forget(&mut self, seq: u32) {
        self.next.remove(&seq);
    }
}
