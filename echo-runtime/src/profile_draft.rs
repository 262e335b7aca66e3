//! What a draft pass costs, measured on made-up texts.

use crate::profile::Profile;
use echo_core::{
    BatchView, Children, DeviceError, Drafter, Keep, Limits, SampleView, Settled, Slot, Target,
    Token, Verdicts,
};
use echo_tree::{Packed, SeqRows, SuperTree, open};
use std::time::{Duration, Instant};

/// Tokens of a made-up text, its last one not yet in the cache.
const TEXT: usize = 9;

/// Times the levels that `drafter` drafts for each number of sequences in `seqs`, `repeats` times
/// after one that is not counted: a level over as many nodes as there are roots, and one over as
/// many as have children then. Each draft comes after a forward of the target, as in a step: the
/// drafter's weights have left the caches by then, which on a CPU triples the time of a pass.
/// Numbers beyond the limits are left out, and so are repeats, then numbers after the first, where
/// all together would take much longer than `budget`.
///
/// Overwrites free KV slots, so no sequence may be live.
pub fn profile_draft(
    target: &mut dyn Target,
    drafter: &mut dyn Drafter,
    limits: &Limits,
    seqs: &[usize],
    repeats: usize,
    budget: Duration,
) -> Result<Vec<Profile>, DeviceError> {
    let (mut profiles, start) = (Vec::new(), Instant::now());
    let fits = |n: usize| {
        n > 0 && n <= limits.seqs_max && n * TEXT <= limits.rows_max.min(limits.kv_slots)
    };
    let is_drafting = limits.depth_max > 0 && TEXT <= limits.context_max;
    for &n in seqs.iter().filter(|&&n| fits(n) && is_drafting) {
        // What comes takes at least as long as what was.
        if !profiles.is_empty() && start.elapsed() > budget / 2 {
            break;
        }
        let texts = Texts::new(n, limits);
        texts.read(target, drafter, limits, 0)?;
        for repeat in 0..=repeats {
            if repeat > 1 && start.elapsed() > budget {
                break;
            }
            texts.read(target, drafter, limits, TEXT - 2)?;
            let levels = draft(drafter, &texts, limits)?;
            if repeat > 0 {
                profiles.extend(levels);
            }
        }
        (0..n as u32).for_each(|seq| drafter.forget(seq));
    }
    Ok(profiles)
}

/// The batch of some made-up texts.
struct Texts {
    n: usize,
    tokens: Vec<Token>,
    slots: Vec<Slot>,
    n_tokens: Vec<u32>,
    n_cached: Vec<u32>,
    seed: Vec<u64>,
    temperature: Vec<f32>,
}

impl Texts {
    fn new(n: usize, limits: &Limits) -> Self {
        let seqs = limits.seqs_max;
        let of = |value: usize| (0..seqs).map(move |seq| if seq < n { value as u32 } else { 0 });
        Texts {
            n,
            tokens: (0..seqs * TEXT).map(|i| (i % 7) as Token).collect(),
            slots: (0..seqs * TEXT).map(|i| (i % limits.kv_slots) as Slot).collect(),
            n_tokens: of(TEXT).collect(),
            n_cached: of(TEXT - 1).collect(),
            seed: vec![0; seqs],
            temperature: vec![0.0; seqs],
        }
    }

    fn view(&self) -> BatchView<'_> {
        BatchView {
            tokens: &self.tokens,
            slots: &self.slots,
            stride: TEXT,
            n_tokens: &self.n_tokens,
            n_cached: &self.n_cached,
            seed: &self.seed,
            temperature: &self.temperature,
        }
    }

    /// Lets the target and the drafter read the texts from the token at `first` on.
    fn read(
        &self,
        target: &mut dyn Target,
        drafter: &mut dyn Drafter,
        limits: &Limits,
        first: usize,
    ) -> Result<(), DeviceError> {
        let tree = SuperTree::new(limits);
        let mut packed = Packed::new(limits);
        packed.begin(tree.view());
        let plan = echo_core::Plan::default();
        for seq in 0..self.n as u32 {
            let context = &self.view().tokens(seq)[first..TEXT - 1];
            let (cached, slots) = self.view().slots(seq).split_at(first);
            let rows = SeqRows { seq, cached, context, root: false, scored: false, slots };
            packed.push_seq(tree.view(), &plan, rows);
        }
        let mut verdicts = Verdicts::with_capacity(0, 0);
        let sample = SampleView { specs: &[], edits: &[] };
        target.verify(packed.view(), sample, &mut verdicts)?;
        let kept = vec![true; packed.view().rows()];
        drafter.settle(Settled { batch: self.view(), packed: packed.view(), kept: &kept });
        Ok(())
    }
}

/// Times two levels of a draft, or the one there may be.
fn draft(
    drafter: &mut dyn Drafter,
    texts: &Texts,
    limits: &Limits,
) -> Result<Vec<Profile>, DeviceError> {
    let mut tree = SuperTree::new(limits);
    let (mut keep, mut children) = (Keep::default(), Children::default());
    let depth_cap = vec![u32::MAX; limits.seqs_max];
    let mut profiles = Vec::new();
    tree.plant((0..texts.n as u32).map(|seq| (seq, texts.tokens[TEXT - 1])));
    for _ in 0..limits.depth_max.min(2) {
        let frontier = tree.view().frontier();
        open(frontier, limits.width_max, limits.beam_max, &depth_cap, &mut keep);
        let rows = keep.as_slice().iter().filter(|&&children| children > 0).count();
        children.clear();
        let start = Instant::now();
        drafter.extend(texts.view(), frontier, &keep, &mut children)?;
        if rows > 0 {
            profiles.push(Profile { rows, kv_len: TEXT, time: start.elapsed() });
        }
        tree.push_level(&keep, &children);
    }
    Ok(profiles)
}
