//! The tokens that truncation keeps, found without sorting the vocabulary.

use echo_core::Token;
use echo_core::sampling::SampleSpec;
use std::cmp::Ordering;

/// How far below the best logit the first search for top-p goes; each further one doubles it.
const REACH: f32 = 8.0;

/// Buffers of the search, kept between rows.
#[derive(Default)]
pub(super) struct Candidates {
    order: Vec<Token>,
    values: Vec<f32>,
}

impl Candidates {
    /// The tokens that min-p, top-k and top-p keep, likeliest first. `max` is the best logit.
    pub(super) fn keep(&mut self, logits: &[f32], max: f32, spec: &SampleSpec) -> &[Token] {
        let floor = if spec.min_p > 0.0 { max + spec.min_p.ln() } else { f32::NEG_INFINITY };
        let possible = |l: f32| l > f32::NEG_INFINITY && l >= floor;
        if spec.top_k > 0 {
            let floor = self.kth(logits, spec.top_k as usize).max(floor);
            self.collect(logits, |l| l > f32::NEG_INFINITY && l >= floor);
            self.order.truncate(spec.top_k as usize);
        } else if spec.top_p == 1.0 {
            self.collect(logits, possible);
        }
        if spec.top_p < 1.0 {
            self.nucleus(logits, max, spec, possible);
        }
        &self.order
    }

    /// The `n` best tokens, best first, ties by lowest id.
    pub(super) fn best(&mut self, logits: &[f32], n: usize) -> &[Token] {
        self.order.clear();
        if n > 0 {
            let floor = self.kth(logits, n);
            self.collect(logits, |l| l >= floor);
            self.order.truncate(n);
        }
        &self.order
    }

    /// Cuts to the smallest set of likeliest tokens with mass `top_p`.
    fn nucleus(
        &mut self,
        logits: &[f32],
        max: f32,
        spec: &SampleSpec,
        possible: impl Fn(f32) -> bool,
    ) {
        let mass = |v: Token| f64::from(logits[v as usize] - max).exp();
        let top_p = f64::from(spec.top_p);
        if spec.top_k > 0 {
            self.order.sort_unstable();
            let wanted = top_p * self.order.iter().map(|&v| mass(v)).sum::<f64>();
            self.order.sort_unstable_by(|&a, &b| descending(logits, a, b));
            self.cut(wanted, mass);
            return;
        }
        let ids = (0..logits.len() as Token).filter(|&v| possible(logits[v as usize]));
        let wanted = top_p * ids.map(mass).sum::<f64>();
        let mut reach = REACH;
        loop {
            let near = max - reach;
            self.collect(logits, |l| possible(l) && l >= near);
            // Beyond the reach of f32 there is nothing left to find.
            if self.cut(wanted, mass) || !reach.is_finite() {
                return;
            }
            reach *= 2.0;
        }
    }

    /// Drops what follows the token at which `wanted` is reached; returns whether it is.
    fn cut(&mut self, wanted: f64, mass: impl Fn(Token) -> f64) -> bool {
        let mut reached = 0.0;
        let last = self.order.iter().position(|&v| {
            reached += mass(v);
            reached >= wanted
        });
        self.order.truncate(last.map_or(self.order.len(), |last| last + 1));
        last.is_some()
    }

    /// The `k`-th highest logit; the lowest if there are fewer.
    fn kth(&mut self, logits: &[f32], k: usize) -> f32 {
        self.values.clear();
        self.values.extend_from_slice(logits);
        let k = k.min(logits.len()) - 1;
        *self.values.select_nth_unstable_by(k, |a, b| b.total_cmp(a)).1
    }

    /// Gathers the tokens whose logit is wanted, likeliest first.
    fn collect(&mut self, logits: &[f32], wanted: impl Fn(f32) -> bool) {
        self.order.clear();
        self.order.extend((0..logits.len() as Token).filter(|&v| wanted(logits[v as usize])));
        self.order.sort_unstable_by(|&a, &b| descending(logits, a, b));
    }
}

/// Highest logit first, ties by lowest id; −0 equals 0.
fn descending(logits: &[f32], a: Token, b: Token) -> Ordering {
    let (a_logit, b_logit) = (logits[a as usize], logits[b as usize]);
    b_logit.partial_cmp(&a_logit).unwrap_or(Ordering::Equal).then(a.cmp(&b))
}
