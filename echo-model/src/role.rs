//! The places a tensor can have in a model, and what they are called in each file format.

use crate::config::{Family, ModelConfig};

/// A tensor's place. Layers count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Token embedding, `[vocab, hidden]`.
    Embedding,
    /// Norm before the output head, `[hidden]`.
    OutputNorm,
    /// Output head, `[vocab, hidden]`; the embedding where the two are tied.
    Output,
    /// Norm before attention, `[hidden]`.
    AttnNorm(usize),
    /// Queries, `[n_q * head_dim, hidden]`.
    Q(usize),
    /// Keys, `[n_kv * head_dim, hidden]`.
    K(usize),
    /// Values, `[n_kv * head_dim, hidden]`.
    V(usize),
    /// Attention output, `[hidden, n_q * head_dim]`.
    O(usize),
    /// Norm of each query head, `[head_dim]`; Qwen3 only.
    QNorm(usize),
    /// Norm of each key head, `[head_dim]`; Qwen3 only.
    KNorm(usize),
    /// Norm before the feed-forward network, `[hidden]`.
    FfnNorm(usize),
    /// Gate, `[ffn, hidden]`.
    Gate(usize),
    /// Up projection, `[ffn, hidden]`.
    Up(usize),
    /// Down projection, `[hidden, ffn]`.
    Down(usize),
}

impl Role {
    /// All tensors a model of this configuration has of its own: the output head only if untied.
    pub fn all(config: &ModelConfig) -> Vec<Role> {
        let mut roles = vec![Role::Embedding, Role::OutputNorm];
        if !config.tied {
            roles.push(Role::Output);
        }
        for i in 0..config.n_layers {
            roles.extend([Role::AttnNorm(i), Role::Q(i), Role::K(i), Role::V(i)]);
            if config.qk_norm {
                roles.extend([Role::QNorm(i), Role::KNorm(i)]);
            }
            roles.extend([Role::O(i), Role::FfnNorm(i)]);
            roles.extend([Role::Gate(i), Role::Up(i), Role::Down(i)]);
        }
        roles
    }

    /// Rows and columns in a model of this configuration; a vector has one row.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let ModelConfig { hidden, head_dim, ffn, .. } = *config;
        let (q, kv) = (config.n_q * head_dim, config.n_kv * head_dim);
        match self {
            Role::Embedding | Role::Output => (config.vocab, hidden),
            Role::OutputNorm | Role::AttnNorm(_) | Role::FfnNorm(_) => (1, hidden),
            Role::Q(_) => (q, hidden),
            Role::K(_) | Role::V(_) => (kv, hidden),
            Role::O(_) => (hidden, q),
            Role::QNorm(_) | Role::KNorm(_) => (1, head_dim),
            Role::Gate(_) | Role::Up(_) => (ffn, hidden),
            Role::Down(_) => (hidden, ffn),
        }
    }

    /// Whether this is a vector of norm weights.
    pub fn is_norm(self) -> bool {
        matches!(
            self,
            Role::OutputNorm
                | Role::AttnNorm(_)
                | Role::QNorm(_)
                | Role::KNorm(_)
                | Role::FfnNorm(_)
        )
    }

    /// Heads whose rows a GGUF file of this family stores in interleaved order.
    pub(crate) fn interleaved_heads(self, config: &ModelConfig) -> Option<usize> {
        match (config.family, self) {
            (Family::Llama, Role::Q(_)) => Some(config.n_q),
            (Family::Llama, Role::K(_)) => Some(config.n_kv),
            _ => None,
        }
    }

    /// Its name in GGUF files.
    pub fn gguf_name(self) -> String {
        let block = |i: usize, part: &str| format!("blk.{i}.{part}.weight");
        match self {
            Role::Embedding => "token_embd.weight".into(),
            Role::OutputNorm => "output_norm.weight".into(),
            Role::Output => "output.weight".into(),
            Role::AttnNorm(i) => block(i, "attn_norm"),
            Role::Q(i) => block(i, "attn_q"),
            Role::K(i) => block(i, "attn_k"),
            Role::V(i) => block(i, "attn_v"),
            Role::O(i) => block(i, "attn_output"),
            Role::QNorm(i) => block(i, "attn_q_norm"),
            Role::KNorm(i) => block(i, "attn_k_norm"),
            Role::FfnNorm(i) => block(i, "ffn_norm"),
            Role::Gate(i) => block(i, "ffn_gate"),
            Role::Up(i) => block(i, "ffn_up"),
            Role::Down(i) => block(i, "ffn_down"),
        }
    }

    /// Its name in safetensors folders.
    pub fn folder_name(self) -> String {
        let layer = |i: usize, part: &str| format!("model.layers.{i}.{part}.weight");
        match self {
            Role::Embedding => "model.embed_tokens.weight".into(),
            Role::OutputNorm => "model.norm.weight".into(),
            Role::Output => "lm_head.weight".into(),
            Role::AttnNorm(i) => layer(i, "input_layernorm"),
            Role::Q(i) => layer(i, "self_attn.q_proj"),
            Role::K(i) => layer(i, "self_attn.k_proj"),
            Role::V(i) => layer(i, "self_attn.v_proj"),
            Role::O(i) => layer(i, "self_attn.o_proj"),
            Role::QNorm(i) => layer(i, "self_attn.q_norm"),
            Role::KNorm(i) => layer(i, "self_attn.k_norm"),
            Role::FfnNorm(i) => layer(i, "post_attention_layernorm"),
            Role::Gate(i) => layer(i, "mlp.gate_proj"),
            Role::Up(i) => layer(i, "mlp.up_proj"),
            Role::Down(i) => layer(i, "mlp.down_proj"),
        }
    }
}
