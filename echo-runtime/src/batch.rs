//! The live sequences, as parallel arrays by their place in the batch.

use crate::kv::Kv;
use crate::pool::Owner;
use crate::prefix::{BLOCK, ROOT};
use crate::sequence::Sequence;
use echo_core::{BatchView, Limits, Share, Slot, Token};
use std::time::Instant;

/// The live sequences. What drafters may read lies in flat arrays; the rest in [`Sequence`].
#[derive(Debug)]
pub(crate) struct Batch {
    stride: usize,
    tokens: Vec<Token>,
    slots: Vec<Slot>,
    n_tokens: Vec<u32>,
    n_cached: Vec<u32>,
    seed: Vec<u64>,
    temperature: Vec<f32>,
    /// What each may ask of the budget, `[seqs_max]`.
    shares: Vec<Share>,
    live: Vec<Option<Box<Sequence>>>,
    n_live: usize,
}

impl Batch {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (seqs, stride) = (limits.seqs_max, limits.context_max);
        Batch {
            stride,
            tokens: vec![0; seqs * stride],
            slots: vec![0; seqs * stride],
            n_tokens: vec![0; seqs],
            n_cached: vec![0; seqs],
            seed: vec![0; seqs],
            temperature: vec![0.0; seqs],
            shares: vec![Share::EVEN; seqs],
            live: (0..seqs).map(|_| None).collect(),
            n_live: 0,
        }
    }

    pub(crate) fn view(&self) -> BatchView<'_> {
        BatchView {
            tokens: &self.tokens,
            slots: &self.slots,
            stride: self.stride,
            n_tokens: &self.n_tokens,
            n_cached: &self.n_cached,
            seed: &self.seed,
            temperature: &self.temperature,
        }
    }

    /// What each sequence may ask of the budget, by place.
    pub(crate) fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Counts the steps in a row in which the sequence at `seq` had nodes and none was verified.
    pub(crate) fn note_wait(&mut self, seq: u32, was_served: bool) {
        let waited = &mut self.shares[seq as usize].waited;
        *waited = if was_served { 0 } else { *waited + 1 };
    }

    /// Number of live sequences.
    pub(crate) fn n_live(&self) -> usize {
        self.n_live
    }

    /// Number of live sequences of one party.
    pub(crate) fn n_live_of(&self, party: u16) -> usize {
        let live = self.live.iter().flatten();
        live.filter(|sequence| sequence.request.party == party).count()
    }

    /// Places of live sequences, ascending.
    pub(crate) fn places(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.live.len() as u32).filter(|&seq| self.live[seq as usize].is_some())
    }

    /// A free place, the lowest.
    pub(crate) fn vacancy(&self) -> Option<u32> {
        self.live.iter().position(Option::is_none).map(|seq| seq as u32)
    }

    pub(crate) fn sequence(&self, seq: u32) -> &Sequence {
        self.live[seq as usize].as_ref().expect("a live place")
    }

    pub(crate) fn sequence_mut(&mut self, seq: u32) -> &mut Sequence {
        self.live[seq as usize].as_mut().expect("a live place")
    }

    pub(crate) fn n_tokens(&self, seq: u32) -> usize {
        self.n_tokens[seq as usize] as usize
    }

    pub(crate) fn n_cached(&self, seq: u32) -> usize {
        self.n_cached[seq as usize] as usize
    }

    /// Tokens whose keys and values are still to be computed; 1 while decoding.
    pub(crate) fn n_pending(&self, seq: u32) -> usize {
        self.n_tokens(seq) - self.n_cached(seq)
    }

    /// The last committed token.
    pub(crate) fn last_token(&self, seq: u32) -> Token {
        self.tokens[seq as usize * self.stride + self.n_tokens(seq) - 1]
    }

    /// Committed tokens of the sequence that were not in its prompt.
    pub(crate) fn n_out(&self, seq: u32) -> usize {
        self.n_tokens(seq) - self.sequence(seq).n_prompt
    }

    /// Gives `sequence` the free place `seq`. Leading tokens that the prefix cache knows need no
    /// forward; the last token always does, since its verdict is wanted.
    pub(crate) fn seat(&mut self, seq: u32, mut sequence: Box<Sequence>, kv: &mut Kv) {
        let (place, start) = (seq as usize, seq as usize * self.stride);
        let tokens = &sequence.tokens;
        self.tokens[start..start + tokens.len()].copy_from_slice(tokens);
        self.n_tokens[place] = tokens.len() as u32;
        let mut at = ROOT;
        let mut cached = 0;
        // Cached positions have no rows, and so no scores.
        while !sequence.scores() && cached + BLOCK < tokens.len() {
            let Some(block) = kv.cache.find(at, &tokens[cached..cached + BLOCK]) else { break };
            let here = start + cached;
            self.slots[here..here + BLOCK].copy_from_slice(kv.cache.slots(block));
            (at, cached) = (block, cached + BLOCK);
        }
        kv.cache.hold(ROOT, at);
        self.n_cached[place] = cached as u32;
        sequence.held = at;
        sequence.n_borrowed = cached;
        if sequence.usage.seated.is_none() {
            sequence.usage.seated = Some(Instant::now());
            sequence.usage.cached_tokens = cached;
        }
        self.seed[place] = sequence.request.sampling.seed;
        self.temperature[place] = sequence.request.sampling.temperature;
        self.shares[place] = Share {
            weight: sequence.request.draft_weight,
            nodes_max: sequence.request.draft_nodes_max.unwrap_or(usize::MAX),
            waited: 0,
        };
        self.live[place] = Some(sequence);
        self.n_live += 1;
    }

    /// Appends slots that the sequence now owns.
    pub(crate) fn append_slots(&mut self, seq: u32, slots: &[Slot]) {
        let start = seq as usize * self.stride + self.n_cached(seq);
        self.slots[start..start + slots.len()].copy_from_slice(slots);
        self.n_cached[seq as usize] += slots.len() as u32;
    }

    /// Appends a committed token.
    pub(crate) fn append_token(&mut self, seq: u32, token: Token) {
        let end = self.n_tokens(seq);
        debug_assert_eq!(self.n_cached(seq), end, "only the last token has no keys and values");
        self.tokens[seq as usize * self.stride + end] = token;
        self.n_tokens[seq as usize] += 1;
    }

    /// Hands whole blocks of committed tokens to the prefix cache, which others may then begin
    /// with.
    ///
    /// Where the cache already has a block, its slots replace the sequence's own: row purity makes
    /// them equal bit by bit.
    pub(crate) fn publish(&mut self, seq: u32, kv: &mut Kv) {
        let Kv { pool, cache, .. } = kv;
        let start = seq as usize * self.stride;
        let sequence = self.live[seq as usize].as_mut().expect("a live place");
        let cached = self.n_cached[seq as usize] as usize;
        let (mut at, mut done) = (sequence.held, sequence.n_borrowed);
        while done + BLOCK <= cached {
            let here = start + done..start + done + BLOCK;
            let tokens = &self.tokens[here.clone()];
            let slots = &mut self.slots[here];
            at = if let Some(block) = cache.find(at, tokens) {
                for (own, &shared) in slots.iter_mut().zip(cache.slots(block)) {
                    pool.release(*own, Owner::Seq(seq));
                    *own = shared;
                }
                block
            } else if !cache.has_vacancy() {
                break;
            } else {
                for &slot in slots.iter() {
                    pool.publish(slot, seq);
                }
                cache.insert(at, tokens, slots)
            };
            done += BLOCK;
        }
        cache.hold(sequence.held, at);
        (sequence.held, sequence.n_borrowed) = (at, done);
    }

    /// Takes the sequence from its place and gives back what it holds. Its tokens go with it, so
    /// that it can be seated again.
    pub(crate) fn unseat(&mut self, seq: u32, kv: &mut Kv) -> Box<Sequence> {
        let (place, start) = (seq as usize, seq as usize * self.stride);
        let mut sequence = self.live[place].take().expect("a live place");
        let own = start + sequence.n_borrowed..start + self.n_cached(seq);
        for &slot in &self.slots[own] {
            kv.pool.release(slot, Owner::Seq(seq));
        }
        kv.cache.hold(sequence.held, ROOT);
        (sequence.held, sequence.n_borrowed) = (ROOT, 0);
        let known = sequence.tokens.len();
        sequence.tokens.extend_from_slice(&self.tokens[start + known..start + self.n_tokens(seq)]);
        (self.n_tokens[place], self.n_cached[place]) = (0, 0);
        self.n_live -= 1;
        sequence
    }

    /// Panics unless each live sequence owns exactly the slots its table says. O(tokens).
    pub(crate) fn audit(&self, kv: &Kv) {
        let Kv { pool, cache, .. } = kv;
        let mut held = cache.n_slots();
        for seq in self.places() {
            let borrowed = self.sequence(seq).n_borrowed;
            for (position, &slot) in self.view().slots(seq).iter().enumerate() {
                let owner = if position < borrowed { Owner::Cache } else { Owner::Seq(seq) };
                assert_eq!(pool.owner(slot), owner, "position {position} of place {seq}");
            }
            held += self.n_cached(seq) - borrowed;
        }
        assert_eq!(held + pool.n_free(), pool.n_slots(), "slots are lost");
    }
}
