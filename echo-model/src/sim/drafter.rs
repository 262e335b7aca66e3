//! A drafter that knows the simulated target's law and agrees with it as often as it is told.

use super::faults::Faults;
use super::law::{SimLaw, mix, unit};
use super::protocol::Protocol;
use echo_core::port::Children;
use echo_core::sampling::gumbel;
use echo_core::{BatchView, DeviceError, Drafter, Frontier, Keep, Settled, Token};
use std::cmp::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a [`SimDrafter`] drafts.
#[derive(Clone, Debug, PartialEq)]
pub struct SimDraft {
    /// The target's law.
    pub law: SimLaw,
    /// Chance, in [0, 1], that the children of a node of depth `d` start with the token the target
    /// commits there (penalties, bias and truncation unknown to the drafter apart); otherwise that
    /// token is not among them. The last entry holds for all deeper nodes; empty is 0.
    pub agreement: Vec<f32>,
    /// Chance, in [0, 1], that a node gets no children.
    pub silence: f32,
    /// Chance, in [0, 1], that a node's children are ones a sane drafter would not propose: more
    /// than allowed, the same token twice, log-probabilities that are NaN, infinite or above 0.
    pub unruly: f32,
}

/// A scripted drafter; a function of the law's seed and the text before each node.
///
/// It checks the calls it gets against the contract of [`Drafter`]. A clone is another handle of
/// the same drafter.
#[derive(Clone, Debug)]
pub struct SimDrafter {
    draft: Arc<SimDraft>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    protocol: Protocol,
    levels: u64,
    failures: Vec<(u64, DeviceError)>,
    logits: Vec<f32>,
    noise: Vec<f32>,
    scale: f32,
    path: Vec<Token>,
    order: Vec<Token>,
}

impl SimDrafter {
    /// A drafter that has seen nothing.
    pub fn new(draft: SimDraft) -> Self {
        let vocab = draft.law.vocab;
        assert!(vocab >= 2, "a simulated vocabulary has at least 2 tokens");
        let shared = Shared {
            protocol: Protocol::default(),
            levels: 0,
            failures: Vec::new(),
            logits: vec![0.0; vocab],
            noise: vec![0.0; vocab],
            scale: 1.0,
            path: Vec::new(),
            order: Vec::with_capacity(vocab),
        };
        SimDrafter { draft: Arc::new(draft), shared: Arc::new(Mutex::new(shared)) }
    }

    /// What was wrong with the calls so far.
    pub fn faults(&self) -> Faults {
        self.shared().protocol.faults().clone()
    }

    /// Lets level number `level`, counted from 0 over the drafter's life, fail with `error`.
    pub fn fail(&self, level: u64, error: DeviceError) {
        self.shared().failures.push((level, error));
    }

    /// Levels drafted so far, failed ones included.
    pub fn levels(&self) -> u64 {
        self.shared().levels
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A panic elsewhere must not hide what was recorded before it.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drafter for SimDrafter {
    fn settle(&mut self, settled: Settled<'_>) {
        self.shared().protocol.settle(&settled);
    }

    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        let shared = &mut *self.shared();
        let level = shared.levels;
        shared.levels += 1;
        shared.protocol.extend(&batch, &frontier, keep, children);
        if let Some((_, error)) = shared.failures.iter().find(|(n, _)| *n == level) {
            return Err(error.clone());
        }
        let nodes = frontier.nodes();
        for (seq, own) in frontier.seqs() {
            let text = self.draft.law.digest(batch.tokens(seq));
            for node in own {
                let width = keep.children(node - nodes.start) as usize;
                if width > 0 {
                    let place = Place {
                        node,
                        depth: frontier.depth(),
                        seed: batch.seed[seq as usize],
                        temperature: batch.temperature[seq as usize],
                        n_tokens: batch.n_tokens[seq as usize],
                    };
                    shared.path_of(&frontier, node);
                    shared.propose(&self.draft, text, place, width, children);
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, seq: u32) {
        self.shared().protocol.forget(seq);
    }
}

/// Where children are asked for.
#[derive(Clone, Copy)]
struct Place {
    node: usize,
    depth: usize,
    seed: u64,
    temperature: f32,
    /// Committed tokens; the root is the last of them.
    n_tokens: u32,
}

impl Shared {
    /// Leaves in `path` the drafted tokens from below the root down to `node`.
    fn path_of(&mut self, frontier: &Frontier<'_>, node: usize) {
        self.path.clear();
        let (tree, mut at) = (frontier.tree, node);
        while tree.parent[at] as usize != at {
            self.path.push(tree.token[at]);
            at = tree.parent[at] as usize;
        }
        self.path.reverse();
    }

    fn propose(
        &mut self,
        draft: &SimDraft,
        text: u64,
        place: Place,
        width: usize,
        children: &mut Children,
    ) {
        let law = &draft.law;
        let mut digest = text;
        for (position, &token) in (place.n_tokens..).zip(&self.path) {
            digest = law.push(digest, token, position);
        }
        let position = place.n_tokens + place.depth as u32;
        let chance = |salt: u64| unit(mix(mix(digest, 0x5349_4D44), salt));
        if chance(1) <= draft.silence {
            return;
        }
        self.noise(position, place.seed, place.temperature);
        law.logits(digest, &mut self.logits);
        self.rank();
        let winner = self.order[0];
        let agreement = draft.agreement.get(place.depth).or(draft.agreement.last());
        let agrees = chance(2) <= agreement.copied().unwrap_or(0.0);
        if !agrees {
            // Its own opinion, held with less conviction, as a poor draft is.
            law.logits(mix(digest, 3), &mut self.logits);
            self.logits.iter_mut().for_each(|l| *l *= 0.5);
            self.rank();
            self.order.retain(|&v| v != winner);
        }
        let sum: f32 = self.logits.iter().map(|l| l.exp()).sum();
        for &token in self.order.iter().take(width) {
            let log_prob = self.logits[token as usize] - sum.ln();
            children.push(place.node, token, log_prob.min(0.0));
        }
        if chance(4) <= draft.unruly {
            let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3.0];
            for (i, &token) in self.order.iter().take(width + 2).enumerate() {
                children.push(place.node, token, odd[(digest as usize + i) % odd.len()]);
            }
        }
    }

    /// What the request's seed adds to each scaled logit at `position`.
    fn noise(&mut self, position: u32, seed: u64, temperature: f32) {
        self.scale = if temperature == 0.0 { 1.0 } else { temperature };
        for (v, noise) in self.noise.iter_mut().enumerate() {
            *noise = match temperature {
                0.0 => 0.0,
                _ => gumbel(seed, position, v as Token),
            };
        }
    }

    /// Leaves in `order` all tokens, the one that wins with the request's noise first.
    fn rank(&mut self) {
        let (logits, noise, scale) = (&self.logits, &self.noise, self.scale);
        let value = |v: Token| logits[v as usize] / scale + noise[v as usize];
        let ahead = |a: &Token, b: &Token| {
            let (a_value, b_value) = (value(*a), value(*b));
            let order = b_value.partial_cmp(&a_value);
            order.unwrap_or(Ordering::Equal).then(a.cmp(b))
        };
        self.order.clear();
        self.order.extend(0..logits.len() as Token);
        self.order.sort_unstable_by(ahead);
    }
}
