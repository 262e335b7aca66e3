//! A small speculative loop, only for this test: random chunks, random trees, random slots.

use echo_core::sampling::{SampleSpec, SampleView};
use echo_core::{
    BatchView, Children, DeviceError, Drafter, Keep, PackedView, Settled, Slot, SuperTreeView,
    Target, Token, Verdicts,
};
use echo_model::sim::{SimDrafter, SimTarget};

/// A small generator of numbers, so that a failure is a seed.
#[derive(Clone)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let y = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        y ^ y >> 31
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }
}

pub(super) struct Request {
    pub(super) prompt: Vec<Token>,
    pub(super) new_tokens: usize,
    pub(super) seed: u64,
    pub(super) temperature: f32,
}

/// A mistake an engine could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// A drafted row has its index instead of its depth in its position.
    Position,
    /// A drafted row sees a row that is not its ancestor.
    Mask,
    /// The table holds a slot of a rejected row.
    StaleSlot,
    /// The table holds a slot of another sequence.
    ForeignSlot,
    /// Two rows of a forward write one slot.
    SharedSlot,
    /// A row is sampled with the noise of its own position.
    Noise,
    /// The drafter is told that a rejected row was kept.
    Settle,
}

impl Bug {
    pub(super) const ALL: [Bug; 7] = [
        Bug::Position,
        Bug::Mask,
        Bug::StaleSlot,
        Bug::ForeignSlot,
        Bug::SharedSlot,
        Bug::Noise,
        Bug::Settle,
    ];
}

pub(super) const STRIDE: usize = 64;
const CHUNK: usize = 5;

pub(super) struct Engine {
    pub(super) target: SimTarget,
    drafter: SimDrafter,
    rng: Rng,
    pub(super) bug: Option<Bug>,
    pub(super) planted: bool,
    pub(super) accepted: usize,
    pub(super) tokens: Vec<Token>,
    pub(super) slots: Vec<Slot>,
    pub(super) n_tokens: Vec<u32>,
    pub(super) n_cached: Vec<u32>,
    seed: Vec<u64>,
    temperature: Vec<f32>,
    pub(super) goal: Vec<u32>,
    pub(super) free: Vec<Slot>,
    pub(super) stale: Vec<Slot>,
}

/// The arrays of a super-tree.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) parent: Vec<u32>,
    pub(super) token: Vec<Token>,
    pub(super) seq: Vec<u32>,
    pub(super) score: Vec<f32>,
    pub(super) level_start: Vec<u32>,
}

impl Tree {
    pub(super) fn view(&self) -> SuperTreeView<'_> {
        SuperTreeView {
            parent: &self.parent,
            token: &self.token,
            seq: &self.seq,
            score: &self.score,
            level_start: &self.level_start,
            passes: &[],
        }
    }
}

/// The arrays of a forward, and the node behind each row.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) token: Vec<Token>,
    pub(super) position: Vec<u32>,
    pub(super) slot: Vec<Slot>,
    pub(super) prefix_len: Vec<u32>,
    pub(super) ancestors: Vec<u64>,
    pub(super) seqs: Vec<u32>,
    pub(super) row_start: Vec<u32>,
    pub(super) drafted_start: Vec<u32>,
    pub(super) table: Vec<Slot>,
    pub(super) table_start: Vec<u32>,
    pub(super) sampled: Vec<u32>,
    pub(super) node: Vec<Option<usize>>,
}

impl Rows {
    pub(super) fn view(&self) -> PackedView<'_> {
        PackedView {
            token: &self.token,
            position: &self.position,
            slot: &self.slot,
            prefix_len: &self.prefix_len,
            ancestors: &self.ancestors,
            words: 1,
            seqs: &self.seqs,
            row_start: &self.row_start,
            drafted_start: &self.drafted_start,
            table: &self.table,
            table_start: &self.table_start,
            sampled: &self.sampled,
        }
    }
}

impl Engine {
    pub(super) fn new(
        target: &SimTarget,
        drafter: &SimDrafter,
        requests: &[Request],
        mut rng: Rng,
        bug: Option<Bug>,
    ) -> Self {
        let n = requests.len();
        let mut free: Vec<Slot> = (0..target.shape().kv_slots as u32).collect();
        for i in (1..free.len()).rev() {
            free.swap(i, rng.below(i + 1));
        }
        let mut tokens = vec![0; n * STRIDE];
        for (place, request) in requests.iter().enumerate() {
            tokens[place * STRIDE..][..request.prompt.len()].copy_from_slice(&request.prompt);
        }
        let n_tokens: Vec<u32> = requests.iter().map(|r| r.prompt.len() as u32).collect();
        let goal = requests.iter().map(|r| (r.prompt.len() + r.new_tokens) as u32);
        Engine {
            target: target.clone(),
            drafter: drafter.clone(),
            rng,
            bug,
            planted: false,
            accepted: 0,
            tokens,
            slots: vec![0; n * STRIDE],
            goal: goal.collect(),
            n_tokens,
            n_cached: vec![0; n],
            seed: requests.iter().map(|r| r.seed).collect(),
            temperature: requests.iter().map(|r| r.temperature).collect(),
            free,
            stale: Vec::new(),
        }
    }

    pub(super) fn text(&self, place: usize) -> &[Token] {
        &self.tokens[place * STRIDE..][..self.n_tokens[place] as usize]
    }

    /// Steps until every sequence has what it wants or has failed.
    pub(super) fn run(&mut self) -> Result<(), DeviceError> {
        while (0..self.goal.len()).any(|p| self.n_tokens[p] < self.goal[p]) {
            self.step()?;
        }
        Ok(())
    }

    fn batch(&self) -> BatchView<'_> {
        BatchView {
            tokens: &self.tokens,
            slots: &self.slots,
            stride: STRIDE,
            n_tokens: &self.n_tokens,
            n_cached: &self.n_cached,
            seed: &self.seed,
            temperature: &self.temperature,
        }
    }

    fn step(&mut self) -> Result<(), DeviceError> {
        let tree = self.draft()?;
        let mut rows = Rows::default();
        let mut free = self.free.clone();
        for place in 0..self.goal.len() {
            if self.n_tokens[place] < self.goal[place] {
                self.pack(place, &tree, &mut free, &mut rows);
            }
        }
        rows.row_start.push(rows.token.len() as u32);
        rows.table_start.push(rows.table.len() as u32);
        self.plant_in_rows(&mut rows);
        let mut specs: Vec<_> = rows.sampled.iter().map(|&r| self.spec(&rows, r)).collect();
        if let (Some(Bug::Noise), Some(spec)) = (self.bug, specs.last_mut()) {
            spec.position -= 1;
            self.planted = true;
        }
        let mut verdicts = Verdicts::with_capacity(specs.len(), 0);
        let sample = SampleView { specs: &specs, edits: &[] };
        self.target.verify(rows.view(), sample, &mut verdicts)?;
        self.free = free;
        let mut kept = vec![false; rows.token.len()];
        for s in 0..rows.seqs.len() {
            self.commit(s, &rows, &tree, &verdicts, &mut kept);
        }
        let rejected = kept.iter().position(|k| !k);
        if let (Some(Bug::Settle), Some(row)) = (self.bug, rejected) {
            kept[row] = true;
            self.planted = true;
        }
        let settled = Settled { batch: self.batch(), packed: rows.view(), kept: &kept };
        self.drafter.clone().settle(settled);
        Ok(())
    }

    /// Rows the place runs this time, and whether it decodes.
    fn chunk(&self, place: usize) -> (usize, bool) {
        let uncached = (self.n_tokens[place] - self.n_cached[place]) as usize;
        (uncached.min(CHUNK), uncached <= CHUNK)
    }

    fn draft(&mut self) -> Result<Tree, DeviceError> {
        let mut tree = Tree::default();
        for place in 0..self.goal.len() {
            if self.n_tokens[place] < self.goal[place] && self.chunk(place).1 {
                tree.parent.push(tree.parent.len() as u32);
                tree.token.push(*self.text(place).last().expect("a prompt"));
                tree.seq.push(place as u32);
                tree.score.push(0.0);
            }
        }
        tree.level_start = vec![0, tree.parent.len() as u32];
        let (mut keep, mut children) = (Keep::default(), Children::default());
        for _ in 0..self.rng.below(5) {
            let nodes = tree.view().frontier().nodes();
            keep.reset(nodes.len());
            (0..nodes.len()).for_each(|i| keep.open(i, self.rng.below(4) as u32));
            children.clear();
            let frontier = tree.view().frontier();
            let mut drafter = self.drafter.clone();
            drafter.extend(self.batch(), frontier, &keep, &mut children)?;
            for node in nodes.clone() {
                let own = (0..children.len()).filter(|&c| children.parent[c] as usize == node);
                let mut taken: Vec<Token> = Vec::new();
                for c in own {
                    let width = keep.children(node - nodes.start) as usize;
                    let token = children.token[c];
                    if taken.len() < width && !taken.contains(&token) {
                        taken.push(token);
                        tree.parent.push(node as u32);
                        tree.token.push(token);
                        tree.seq.push(tree.seq[node]);
                        tree.score.push(tree.score[node] + children.log_prob[c]);
                    }
                }
            }
            tree.level_start.push(tree.parent.len() as u32);
        }
        Ok(tree)
    }

    fn pack(&mut self, place: usize, tree: &Tree, free: &mut Vec<Slot>, rows: &mut Rows) {
        let (n, decodes) = self.chunk(place);
        let cached = self.n_cached[place] as usize;
        rows.seqs.push(place as u32);
        rows.row_start.push(rows.token.len() as u32);
        rows.table_start.push(rows.table.len() as u32);
        rows.table.extend_from_slice(&self.slots[place * STRIDE..][..cached]);
        let mut push = |rows: &mut Rows, token, position: usize, prefix, node, bits| {
            rows.token.push(token);
            rows.position.push(position as u32);
            rows.slot.push(free.pop().expect("a free slot"));
            rows.prefix_len.push(prefix as u32);
            rows.ancestors.push(bits);
            rows.node.push(node);
        };
        for position in cached..cached + n {
            let token = self.tokens[place * STRIDE + position];
            push(rows, token, position, position + 1, None, 0);
            rows.table.extend(rows.slot.last());
        }
        let start = rows.token.len();
        rows.drafted_start.push(start as u32);
        if decodes {
            rows.sampled.push(start as u32 - 1);
        }
        // A third of the drafted nodes is not chosen, nor is what hangs below them.
        for node in tree.view().roots()..tree.parent.len() {
            let parent = tree.parent[node] as usize;
            let above = (start..rows.token.len()).find(|&r| rows.node[r] == Some(parent));
            let rooted = parent < tree.view().roots();
            let mine = tree.seq[node] as usize == place && rows.token.len() < start + 63;
            if mine && (rooted || above.is_some()) && self.rng.below(3) > 0 {
                let bits = above.map_or(0, |r| rows.ancestors[r]);
                let position = above.map_or(cached + n, |r| rows.position[r] as usize + 1);
                let own = 1 << (rows.token.len() - start);
                rows.sampled.push(rows.token.len() as u32);
                let token = tree.token[node];
                push(rows, token, position, cached + n, Some(node), bits | own);
            }
        }
    }

    fn spec(&self, rows: &Rows, row: u32) -> SampleSpec {
        let s = rows.row_start.partition_point(|&start| start <= row) - 1;
        let place = rows.seqs[s] as usize;
        SampleSpec {
            seed: self.seed[place],
            position: rows.position[row as usize] + 1,
            temperature: self.temperature[place],
            ..SampleSpec::GREEDY
        }
    }
}
