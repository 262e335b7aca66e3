//! The shape of the draft: which frontier nodes may have children before any gate is asked.

use echo_core::{Frontier, Keep};

/// Opens, for each sequence, the `beam` best nodes of the frontier for `width` children each and
/// closes the others.
///
/// Best is highest score, ties by lowest index. `depth_cap[seq]` is the deepest level the sequence
/// at place `seq` may draft, so a node at that depth or beyond stays closed: the engine derives it
/// from the tokens and the context the sequence has left.
///
/// Panics if `depth_cap` doesn't cover the places in the frontier.
pub fn open(frontier: Frontier<'_>, width: usize, beam: usize, depth_cap: &[u32], keep: &mut Keep) {
    let first = frontier.nodes().start;
    keep.reset(frontier.nodes().len());
    if width == 0 {
        return;
    }
    for (seq, nodes) in frontier.seqs() {
        if frontier.depth() >= depth_cap[seq as usize] as usize {
            continue;
        }
        if beam >= nodes.len() {
            nodes.for_each(|n| keep.open(n - first, width as u32));
            continue;
        }
        let mut left = beam;
        while left > 0 {
            let closed = nodes.clone().filter(|&n| keep.children(n - first) == 0);
            let rank =
                |n: usize| u64::from(frontier.tree.score[n].abs().to_bits()) << 32 | n as u64;
            let (best, n_best) = best(closed.map(rank), left.min(FEW));
            let chosen = best[..n_best].iter().map(|&rank| rank as u32 as usize);
            chosen.for_each(|n| keep.open(n - first, width as u32));
            left -= n_best;
        }
    }
}

/// Nodes that are picked in one pass over a sequence's.
const FEW: usize = 16;

/// The least `k > 0` of `ranks`, which are at least as many: a list in order, into which few have
/// to be inserted.
fn best(ranks: impl Iterator<Item = u64>, k: usize) -> ([u64; FEW], usize) {
    let (mut best, mut len) = ([u64::MAX; FEW], 0);
    for rank in ranks {
        if rank > best[k - 1] {
            continue;
        }
        let mut at = len.min(k - 1);
        len = at + 1;
        while at > 0 && rank < best[at - 1] {
            best[at] = best[at - 1];
            at -= 1;
        }
        best[at] = rank;
    }
    (best, len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Drawing;

    const TREE: &str = "
        seq 0: 7
          1 -0.5
          2 -1.5
          3 -1.5
        seq 2: 8
          4 -9.5
          5 -inf
          6 -9
        seq 3: 9
          1 -1";

    fn check(beam: usize, depth_cap: [u32; 4], expected: [u32; 7]) {
        let drawing = Drawing::parse(TREE).unwrap();
        let mut keep = Keep::default();
        open(drawing.tree.view().frontier(), 3, beam, &depth_cap, &mut keep);
        assert_eq!(keep.as_slice(), expected);
    }

    #[test]
    fn the_best_of_each_sequence_open() {
        // Siblings stand best first, so seq 2 reads −9, −9.5, −∞.
        check(2, [5; 4], [3, 3, 0, 3, 3, 0, 3]);
        check(1, [5; 4], [3, 0, 0, 3, 0, 0, 3]);
        check(0, [5; 4], [0; 7]);
        check(9, [5; 4], [3; 7]);
    }

    #[test]
    fn a_capped_sequence_stays_closed() {
        check(9, [2, 0, 1, 0], [3, 3, 3, 0, 0, 0, 0]);
    }
}
