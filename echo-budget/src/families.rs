//! Where the nodes of each sequence stand in each level.

use echo_core::SuperTreeView;
use std::ops::Range;

/// Found level by level, as far down as was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Families {
    roots: usize,
    /// For each level from 1 on, the first node of each root's sequence and the level's end,
    /// `[levels - 1, roots + 1]`.
    starts: Vec<u32>,
}

impl Families {
    /// Begins anew, with a tree of so many roots.
    pub(crate) fn clear(&mut self, roots: usize) {
        self.roots = roots;
        self.starts.clear();
    }

    /// Finds the sequences in levels 1 to `depth`, where that was not done before.
    pub(crate) fn find(&mut self, tree: SuperTreeView<'_>, depth: usize) {
        for depth in self.starts.len() / (self.roots + 1) + 1..=depth {
            let level = tree.level(depth);
            if let Some(len) = even(tree, depth) {
                self.starts.extend((0..=self.roots).map(|i| (level.start + i * len) as u32));
            } else {
                let families = tree.families_of(depth, 0..self.roots);
                self.starts.extend(families.map(|nodes| nodes.start as u32));
                self.starts.push(level.end as u32);
            }
        }
    }

    /// The nodes of the sequence of `root` in a level that was found.
    #[inline]
    pub(crate) fn of(&self, depth: usize, root: usize) -> Range<usize> {
        let at = (depth - 1) * (self.roots + 1) + root;
        self.starts[at] as usize..self.starts[at + 1] as usize
    }
}

/// How many nodes each sequence has in level `depth`, if all have as many: two looks at each tell.
fn even(tree: SuperTreeView<'_>, depth: usize) -> Option<usize> {
    let (roots, nodes) = (&tree.seq[tree.level(0)], &tree.seq[tree.level(depth)]);
    let len = nodes.len().checked_div(roots.len()).filter(|&len| len > 0)?;
    let mut owners = nodes.chunks_exact(len).zip(roots);
    let is_even = len * roots.len() == nodes.len()
        && owners.all(|(own, &root)| own[0] == root && own[len - 1] == root);
    is_even.then_some(len)
}
