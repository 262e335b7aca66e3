//! The forward again, without cache, kernels or tricks: whole prefix, straight loops, f64.

use super::dequant::dequantize;
use echo_core::Token;
use echo_model::{ModelConfig, Role, Weights};

/// A mistake to be told from the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Neighbouring columns are rotated together.
    Pairs,
    /// The first position is 1 and the second 3: distances are doubled.
    Positions,
    /// Query heads take key heads in turn.
    Groups,
    /// Gate and up projection are exchanged.
    Gate,
    /// Head norms come after rotation.
    HeadNorms,
    /// The last token does not see the first.
    Mask,
}

pub(crate) struct Plain<'a> {
    weights: &'a dyn Weights,
    pub(crate) wrong: Option<Wrong>,
}

impl<'a> Plain<'a> {
    pub(crate) fn new(weights: &'a dyn Weights) -> Self {
        Plain { weights, wrong: None }
    }

    fn matrix(&self, role: Role) -> Vec<Vec<f64>> {
        let tensor = self.weights.tensor(role).expect("a role of the model");
        let values = dequantize(tensor.dtype, &tensor.bytes);
        values.chunks(tensor.cols).map(<[f64]>::to_vec).collect()
    }

    /// The residual stream of each token after each layer, `[layers][tokens][hidden]`.
    pub(crate) fn streams(&self, tokens: &[Token]) -> Vec<Vec<Vec<f64>>> {
        let table = self.matrix(Role::Embedding);
        let mut x: Vec<Vec<f64>> = tokens.iter().map(|&t| table[t as usize].clone()).collect();
        let mut out = Vec::new();
        for layer in 0..self.weights.config().n_layers {
            self.attention(layer, &mut x);
            self.feed_forward(layer, &mut x);
            out.push(x.clone());
        }
        out
    }

    /// Log-probabilities of the token after `tokens`.
    pub(crate) fn log_probs(&self, tokens: &[Token]) -> Vec<f64> {
        let streams = self.streams(tokens);
        let last = streams.last().and_then(|x| x.last()).expect("a layer and a token");
        let normed = norm(last, &self.matrix(Role::OutputNorm)[0], self.config().rms_eps);
        let logits = apply(&self.matrix(Role::Output), &normed);
        let max = logits.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = logits.iter().map(|l| (l - max).exp()).sum();
        logits.iter().map(|l| l - max - sum.ln()).collect()
    }

    fn config(&self) -> &ModelConfig {
        self.weights.config()
    }

    fn attention(&self, layer: usize, x: &mut [Vec<f64>]) {
        let (config, dim) = (self.config(), self.config().head_dim);
        let scale = &self.matrix(Role::AttnNorm(layer))[0];
        let heads = |role: Role, norms: Option<Role>, rotated: bool| -> Vec<Vec<Vec<f64>>> {
            let (matrix, norms) = (self.matrix(role), norms.map(|role| self.matrix(role)));
            let token = |(position, x): (usize, &Vec<f64>)| {
                let flat = apply(&matrix, &norm(x, scale, config.rms_eps));
                let head = |head: &[f64]| {
                    let normed = |head: &[f64]| match &norms {
                        Some(weights) => norm(head, &weights[0], config.rms_eps),
                        None => head.to_vec(),
                    };
                    match (rotated, self.wrong) {
                        (false, _) => head.to_vec(),
                        (true, Some(Wrong::HeadNorms)) => normed(&self.rotate(head, position)),
                        (true, _) => self.rotate(&normed(head), position),
                    }
                };
                flat.chunks(dim).map(head).collect()
            };
            x.iter().enumerate().map(token).collect()
        };
        let norms = |role: Role| config.qk_norm.then_some(role);
        let q = heads(Role::Q(layer), norms(Role::QNorm(layer)), true);
        let k = heads(Role::K(layer), norms(Role::KNorm(layer)), true);
        let v = heads(Role::V(layer), None, false);
        let o = self.matrix(Role::O(layer));
        let last = x.len() - 1;
        for (t, x) in x.iter_mut().enumerate() {
            let mut attended = Vec::new();
            for (h, query) in q[t].iter().enumerate() {
                let kv = match self.wrong {
                    Some(Wrong::Groups) => h % config.n_kv,
                    _ => h / (config.n_q / config.n_kv),
                };
                let first = usize::from(self.wrong == Some(Wrong::Mask) && t == last && t > 0);
                let score = |s: usize| dot(query, &k[s][kv]) / (dim as f64).sqrt();
                let weights: Vec<f64> = (first..=t).map(|s| score(s).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let mixed = |i: usize| {
                    let parts = (first..=t).zip(&weights).map(|(s, w)| w * v[s][kv][i]);
                    parts.sum::<f64>() / sum
                };
                attended.extend((0..dim).map(mixed));
            }
            add(x, &apply(&o, &attended));
        }
    }

    fn rotate(&self, head: &[f64], position: usize) -> Vec<f64> {
        let (half, mut out) = (head.len() / 2, head.to_vec());
        for i in 0..half {
            let (a, b) = match self.wrong {
                Some(Wrong::Pairs) => (2 * i, 2 * i + 1),
                _ => (i, i + half),
            };
            let position = match self.wrong {
                Some(Wrong::Positions) => 2 * position + 1,
                _ => position,
            };
            let frequency = self.config().rope_base.powf(-(i as f64) / half as f64);
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            out[a] = head[a] * cos - head[b] * sin;
            out[b] = head[b] * cos + head[a] * sin;
        }
        out
    }

    fn feed_forward(&self, layer: usize, x: &mut [Vec<f64>]) {
        let scale = &self.matrix(Role::FfnNorm(layer))[0];
        let (mut gate, mut up) = (self.matrix(Role::Gate(layer)), self.matrix(Role::Up(layer)));
        if self.wrong == Some(Wrong::Gate) {
            std::mem::swap(&mut gate, &mut up);
        }
        let down = self.matrix(Role::Down(layer));
        for x in x {
            let normed = norm(x, scale, self.config().rms_eps);
            let (gate, up) = (apply(&gate, &normed), apply(&up, &normed));
            let gated = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u);
            add(x, &apply(&down, &gated.collect::<Vec<_>>()));
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn apply(matrix: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, x)).collect()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

fn norm(x: &[f64], weight: &[f64], eps: f32) -> Vec<f64> {
    let mean = dot(x, x) / x.len() as f64;
    let root = (mean + f64::from(eps)).sqrt();
    x.iter().zip(weight).map(|(x, w)| x / root * w).collect()
}
