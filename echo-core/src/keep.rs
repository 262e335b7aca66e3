//! The mask a gate fills: how many children each frontier node may have, and at what price.

/// How many children each node of the frontier may have, 0 closing the node, and whether a draft
/// pass may be spent on it.
///
/// A *pass* is what costs time on the device. Without one, a node gets the children that cost
/// nothing: those that a look-up in the text finds.
///
/// The engine opens it by the shape of the draft; a gate may only narrow it, so a policy can never
/// draft more than the limits allow.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    children: Vec<u32>,
    passes: Vec<bool>,
}

impl Keep {
    /// An empty mask with room for `nodes` frontier nodes.
    pub fn with_capacity(nodes: usize) -> Self {
        Keep { children: Vec::with_capacity(nodes), passes: Vec::with_capacity(nodes) }
    }

    /// Makes the mask `nodes` long with every node closed.
    pub fn reset(&mut self, nodes: usize) {
        self.children.clear();
        self.children.resize(nodes, 0);
        self.passes.clear();
        self.passes.resize(nodes, false);
    }

    /// Lets the `i`-th node of the frontier have `children` children, by a pass if need be.
    #[inline]
    pub fn open(&mut self, i: usize, children: u32) {
        self.children[i] = children;
        self.passes[i] = children > 0;
    }

    /// Lowers the children of the `i`-th node of the frontier to at most `children`.
    #[inline]
    pub fn narrow(&mut self, i: usize, children: u32) {
        self.children[i] = self.children[i].min(children);
        self.passes[i] &= children > 0;
    }

    /// Leaves the `i`-th node of the frontier the children that need no pass.
    #[inline]
    pub fn forgo_pass(&mut self, i: usize) {
        self.passes[i] = false;
    }

    /// Whether a pass may be spent on the `i`-th node of the frontier; never on a closed one.
    #[inline]
    pub fn passes(&self, i: usize) -> bool {
        self.passes[i]
    }

    /// Nodes on which a pass may be spent.
    pub fn n_passes(&self) -> usize {
        self.passes.iter().filter(|&&passes| passes).count()
    }

    /// How many children the `i`-th node of the frontier may have.
    #[inline]
    pub fn children(&self, i: usize) -> u32 {
        self.children[i]
    }

    /// Children that all nodes together may have.
    pub fn n_children(&self) -> u64 {
        self.children.iter().map(|&children| u64::from(children)).sum()
    }

    /// Number of frontier nodes the mask covers.
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether no node may have children.
    pub fn is_closed(&self) -> bool {
        self.children.iter().all(|&children| children == 0)
    }

    /// Whether the mask covers no node at all.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The mask as a slice, in frontier order.
    pub fn as_slice(&self) -> &[u32] {
        &self.children
    }
}
