//! From verdicts to accepted paths: a walk from each root to the child that carries the token.

use crate::pack::Packed;
use echo_core::{Limits, SuperTreeView, Verdicts};

/// The accepted rows of each sequence that has a root, in ascending order of place.
///
/// The token committed after a row of a path is that row's verdict; the token of the first row (the
/// root) was committed before. So a path of `n` rows commits `n` tokens.
#[derive(Clone, Debug)]
pub struct Paths {
    seq: Vec<u32>,
    row: Vec<u32>,
    verdict: Vec<u32>,
    start: Vec<u32>,
    faulty: Vec<bool>,
}

impl Paths {
    /// No paths, with room for everything `limits` allow.
    pub fn new(limits: &Limits) -> Self {
        let seqs = limits.seqs_max;
        let mut start = Vec::with_capacity(seqs + 1);
        start.push(0);
        Paths {
            seq: Vec::with_capacity(seqs),
            row: Vec::with_capacity(limits.rows_max),
            verdict: Vec::with_capacity(limits.rows_max),
            start,
            faulty: Vec::with_capacity(seqs),
        }
    }

    /// Forgets all paths.
    pub fn clear(&mut self) {
        self.seq.clear();
        self.row.clear();
        self.verdict.clear();
        self.start.clear();
        self.start.push(0);
        self.faulty.clear();
    }

    /// Number of sequences with a root.
    pub fn len(&self) -> usize {
        self.seq.len()
    }

    /// Whether no sequence had a root.
    pub fn is_empty(&self) -> bool {
        self.seq.is_empty()
    }

    /// Place in the batch of the `p`-th path.
    pub fn seq(&self, p: usize) -> u32 {
        self.seq[p]
    }

    /// Packed rows of the `p`-th path, the root first. Empty only if the root itself is faulty.
    pub fn rows(&self, p: usize) -> &[u32] {
        &self.row[self.start[p] as usize..self.start[p + 1] as usize]
    }

    /// Index into the verdicts of each row of the `p`-th path.
    pub fn verdicts(&self, p: usize) -> &[u32] {
        &self.verdict[self.start[p] as usize..self.start[p + 1] as usize]
    }

    /// Whether the walk ran into a faulty row. The path ends before that row: what it holds may be
    /// committed, then the sequence ends with an error.
    pub fn faulty(&self, p: usize) -> bool {
        self.faulty[p]
    }
}

/// Walks each sequence of `packed` along the verdicts and fills `paths`. Allocates nothing.
///
/// From a row the walk goes to the kept child that carries the row's verdict, and stops where there
/// is none, or before a faulty row.
///
/// Panics if there is not one verdict per sampled row.
pub fn accept(tree: SuperTreeView<'_>, packed: &Packed, verdicts: &Verdicts, paths: &mut Paths) {
    let view = packed.view();
    assert_eq!(verdicts.len(), view.sampled.len(), "one verdict per sampled row");
    paths.clear();
    let mut verdict = 0;
    for (s, &seq) in view.seqs.iter().enumerate() {
        let drafted = view.drafted(s);
        // Verdicts at context rows score a prompt and lead nowhere.
        while view.sampled.get(verdict).is_some_and(|&row| {
            view.rows_of(s).contains(&(row as usize)) && packed.node_of(row as usize).is_none()
        }) {
            verdict += 1;
        }
        let next = view.sampled.get(verdict).map(|&row| row as usize);
        let Some(root) = next.filter(|&row| view.rows_of(s).contains(&row)) else {
            continue;
        };
        let mut at = root;
        let mut faulty = verdicts.faulty[verdict];
        if !faulty {
            paths.row.push(at as u32);
            paths.verdict.push(verdict as u32);
        }
        // Parents precede children, so one pass over the rows finds the whole path.
        for row in drafted.clone() {
            let v = verdict + (at - root);
            let follows =
                parent_row(tree, packed, row) == Some(at) && view.token[row] == verdicts.token[v];
            if faulty || !follows {
                continue;
            }
            faulty = verdicts.faulty[verdict + (row - root)];
            if !faulty {
                at = row;
                paths.row.push(row as u32);
                paths.verdict.push((verdict + (row - root)) as u32);
            }
        }
        paths.seq.push(seq);
        paths.start.push(paths.row.len() as u32);
        paths.faulty.push(faulty);
        verdict += 1 + drafted.len();
    }
    assert_eq!(verdict, verdicts.len(), "sampled rows are scored, roots or drafts");
}

fn parent_row(tree: SuperTreeView<'_>, packed: &Packed, row: usize) -> Option<usize> {
    let node = packed.node_of(row)?;
    packed.row_of(tree.parent[node] as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Drawing;
    use crate::pack::SeqRows;

    const LIMITS: Limits = Limits {
        seqs_max: 4,
        rows_max: 32,
        depth_max: 3,
        width_max: 4,
        beam_max: 4,
        tree_max: 16,
        context_max: 16,
        kv_slots: 64,
        logprobs_max: 0,
    };

    /// Rows: 0 a prompt row of place 0; place 1: root 1, then 2 (token 2), 3 (token 3), 4 (token 4
    /// under 2), 5 (token 4 under 3), 6 (token 5 under row 4); place 2: root 7.
    fn check(token: [u32; 7], faulty: [usize; 1], expected: [(&[u32], bool); 2]) {
        let text = "
            seq 1: 7 *
              2 -0.5 *
                4 -1 *
                  5 -2 *
              3 -1 *
                4 -3 *
            seq 2: 9 *";
        let Drawing { tree, plan } = Drawing::parse(text).unwrap();
        let mut packed = Packed::new(&LIMITS);
        packed.begin(tree.view());
        for (seq, context, root) in [(0, &[1][..], false), (1, &[], true), (2, &[], true)] {
            let rows = SeqRows { seq, cached: &[], context, root, scored: false, slots: &[0; 8] };
            packed.push_seq(tree.view(), &plan, rows);
        }
        let mut verdicts = Verdicts::default();
        verdicts.reset(7);
        verdicts.token.copy_from_slice(&token);
        faulty.iter().filter(|&&v| v < 7).for_each(|&v| verdicts.faulty[v] = true);
        let mut paths = Paths::new(&LIMITS);
        accept(tree.view(), &packed, &verdicts, &mut paths);
        let seen = [0, 1].map(|p| (paths.rows(p), paths.faulty(p)));
        assert_eq!(seen, expected);
        assert_eq!((paths.len(), paths.seq(0), paths.seq(1)), (2, 1, 2));
        let expected = paths.rows(0).iter().map(|row| row - 1).collect::<Vec<_>>();
        assert_eq!(paths.verdicts(0), expected);
    }

    #[test]
    fn the_walk_follows_the_verdicts() {
        let none = [9];
        check([2, 4, 0, 5, 0, 0, 0], none, [(&[1, 2, 4, 6], false), (&[7], false)]);
        check([3, 4, 4, 5, 5, 0, 0], none, [(&[1, 3, 5], false), (&[7], false)]);
        check([6, 4, 4, 5, 5, 0, 0], none, [(&[1], false), (&[7], false)]);
        // Token 4 stands under both children; only the one under the accepted child counts.
        check([2, 9, 4, 5, 0, 0, 0], none, [(&[1, 2], false), (&[7], false)]);
    }

    #[test]
    fn a_faulty_row_ends_the_path_before_it() {
        let walk = [2, 4, 0, 5, 0, 0, 0];
        check(walk, [0], [(&[], true), (&[7], false)]);
        check(walk, [3], [(&[1, 2], true), (&[7], false)]);
        check(walk, [6], [(&[1, 2, 4, 6], false), (&[], true)]);
        // A faulty row off the path does no harm.
        check(walk, [4], [(&[1, 2, 4, 6], false), (&[7], false)]);
    }
}
