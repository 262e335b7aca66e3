//! Staged rows: a forward laid out by hand, in random slots.

use super::random::Random;
use echo_core::port::{Device, Stage};
use echo_core::{DeviceError, Limits, PackedView, Slot, Token};
use std::ops::Range;

/// Sequences of a scene at most.
pub(super) const SEQS_MAX: usize = 64;
/// Slots of the caches a scene reads and writes.
pub(super) const SLOTS: usize = 4608;
/// Tokens in the vocabulary of a scene.
pub(super) const VOCAB: usize = 97;
/// Words of an ancestor set: more than one, so that the second is tested too.
const WORDS: usize = 2;

/// A stage that any scene fits.
pub(super) fn open_stage(device: &dyn Device) -> Result<Stage, DeviceError> {
    device.open_stage(&Limits {
        seqs_max: SEQS_MAX,
        rows_max: 1024,
        depth_max: 8,
        width_max: 16,
        beam_max: 16,
        tree_max: 64 * WORDS,
        context_max: SLOTS,
        kv_slots: SLOTS,
        logprobs_max: 0,
    })
}

/// One forward: sequences one after another, each with context rows, a root and drafted rows.
#[derive(Clone)]
pub(super) struct Scene {
    token: Vec<Token>,
    pub(super) position: Vec<u32>,
    slot: Vec<Slot>,
    prefix_len: Vec<u32>,
    ancestors: Vec<u64>,
    seqs: Vec<u32>,
    row_start: Vec<u32>,
    drafted_start: Vec<u32>,
    table: Vec<Slot>,
    table_start: Vec<u32>,
    sampled: Vec<u32>,
    /// Slots nobody has, in random order.
    free: Vec<Slot>,
    random: Random,
}

impl Scene {
    /// No rows.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let free = random.order(SLOTS).into_iter().map(|slot| slot as Slot).collect();
        Scene {
            token: Vec::new(),
            position: Vec::new(),
            slot: Vec::new(),
            prefix_len: Vec::new(),
            ancestors: Vec::new(),
            seqs: Vec::new(),
            row_start: vec![0],
            drafted_start: Vec::new(),
            table: Vec::new(),
            table_start: vec![0],
            sampled: Vec::new(),
            free,
            random,
        }
    }

    /// Sequences of these cached lengths; each brings 1 to 4 context rows, a root, and a random
    /// tree of up to `nodes` drafted rows.
    pub(super) fn random(seed: u64, cached: &[usize], nodes: usize) -> Self {
        let mut scene = Scene::new(seed);
        for &cached in cached {
            let context = scene.random.below(4);
            scene.sequence(cached, context + 1);
            let first = scene.rows();
            for node in 0..nodes {
                let parent = scene.random.below(node + 1).checked_sub(1);
                scene.drafted(parent.map(|p| first + p));
            }
        }
        scene
    }

    /// Begins a sequence with `cached` positions in the cache and `committed` rows after them, the
    /// last of which is its root.
    pub(super) fn sequence(&mut self, cached: usize, committed: usize) {
        self.seqs.push(self.seqs.len() as u32);
        for _ in 0..cached {
            let slot = self.take();
            self.table.push(slot);
        }
        for position in cached..cached + committed {
            let row = self.row(position, position + 1);
            self.table.push(self.slot[row]);
        }
        self.drafted_start.push(self.rows() as u32);
        self.row_start.push(self.rows() as u32);
        self.table_start.push(self.table.len() as u32);
    }

    /// Adds a drafted row to the last sequence, below the drafted row `parent` or the root, and
    /// returns it.
    pub(super) fn drafted(&mut self, parent: Option<usize>) -> usize {
        let first = *self.drafted_start.last().expect("a sequence") as usize;
        let root = self.position[first - 1] as usize;
        let above = parent.map_or(root, |p| self.position[p] as usize);
        let row = self.row(above + 1, root + 1);
        if let Some(parent) = parent {
            self.ancestors.copy_within(parent * WORDS..(parent + 1) * WORDS, row * WORDS);
        }
        self.see(row, row - first);
        *self.row_start.last_mut().expect("a sequence") += 1;
        row
    }

    /// Lets `row` see drafted row number `bit` of its sequence.
    fn see(&mut self, row: usize, bit: usize) {
        self.ancestors[row * WORDS + bit / 64] |= 1 << (bit % 64);
    }

    fn row(&mut self, position: usize, prefix_len: usize) -> usize {
        let slot = self.take();
        self.token.push(self.random.below(VOCAB) as Token);
        self.position.push(position as u32);
        self.slot.push(slot);
        self.prefix_len.push(prefix_len as u32);
        self.ancestors.extend([0; WORDS]);
        self.sampled.push(self.token.len() as u32 - 1);
        self.token.len() - 1
    }

    fn take(&mut self) -> Slot {
        self.free.pop().expect("scenes are small")
    }

    pub(super) fn rows(&self) -> usize {
        self.token.len()
    }

    /// Sets what `row` reads.
    pub(super) fn set_token(&mut self, row: usize, token: Token) {
        self.token[row] = token;
    }

    /// The drafted rows of the `s`-th sequence.
    pub(super) fn drafted_of(&self, s: usize) -> Range<usize> {
        self.view().drafted(s)
    }

    /// Gives every row its neighbour's slot.
    pub(super) fn exchange_slots(&mut self) {
        self.slot.rotate_left(1);
    }

    /// The scene as likely bugs would see it: every prefix one short, a sibling visible, a parent
    /// hidden; those of them that this scene allows.
    pub(super) fn bent(&self) -> Vec<Self> {
        let mut short = self.clone();
        for prefix in short.prefix_len.iter_mut().filter(|prefix| **prefix > 1) {
            *prefix -= 1;
        }
        let mut all = vec![short];
        // The last rows come first: their sets are the largest.
        let find = |seen: bool| {
            let drafted = |s| self.drafted_of(s).rev().map(move |row| (s, row));
            (0..self.seqs.len()).rev().flat_map(drafted).find_map(|(s, row)| {
                let mut others = (0..row - self.drafted_of(s).start).rev();
                others.find(|&bit| self.sees(row, bit) == seen).map(|bit| (row, bit))
            })
        };
        for (row, bit) in [find(false), find(true)].into_iter().flatten() {
            let mut wrong = self.clone();
            wrong.ancestors[row * WORDS + bit / 64] ^= 1 << (bit % 64);
            all.push(wrong);
        }
        all.retain(|wrong| {
            wrong.prefix_len != self.prefix_len || wrong.ancestors != self.ancestors
        });
        all
    }

    fn sees(&self, row: usize, bit: usize) -> bool {
        self.ancestors[row * WORDS + bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Slots that `row` of the `s`-th sequence sees, in order of position.
    pub(super) fn seen(&self, s: usize, row: usize) -> Vec<Slot> {
        let view = self.view();
        let prefix = &view.table_of(s)[..self.prefix_len[row] as usize];
        let first = view.drafted(s).start;
        let drafted = (0..64 * WORDS).filter(|&bit| self.sees(row, bit));
        prefix.iter().copied().chain(drafted.map(|bit| self.slot[first + bit])).collect()
    }

    pub(super) fn view(&self) -> PackedView<'_> {
        PackedView {
            token: &self.token,
            position: &self.position,
            slot: &self.slot,
            prefix_len: &self.prefix_len,
            ancestors: &self.ancestors,
            words: WORDS,
            seqs: &self.seqs,
            row_start: &self.row_start,
            drafted_start: &self.drafted_start,
            table: &self.table,
            table_start: &self.table_start,
            sampled: &self.sampled,
        }
    }
}
