//! A draft head made up from a seed.

use super::blocks::Words;
use crate::config::ModelConfig;
use crate::eagle::Head;
use safetensors::tensor::{Dtype, TensorView};

/// A head for a model of this configuration: its layer is random, its fused state is the target's
/// last one and its output head the target's, so that some of its guesses are right. Drafts from
/// every second token of the vocabulary.
pub fn tiny_head(config: &ModelConfig, seed: u64) -> Head {
    let ModelConfig { hidden, ffn, head_dim, n_q, n_kv, vocab, .. } = *config;
    let (q, kv, drafted) = (n_q * head_dim, n_kv * head_dim, vocab.div_ceil(2));
    let mut words = Words::new(seed, 0);
    let mut random = |rows: usize, cols: usize| -> Vec<f32> {
        let sd = 1.0 / (cols as f32).sqrt();
        (0..rows * cols).map(|_| sd * 2.0 * words.uniform()).collect()
    };
    let layer = [
        ("self_attn.q_proj", q, 2 * hidden),
        ("self_attn.k_proj", kv, 2 * hidden),
        ("self_attn.v_proj", kv, 2 * hidden),
        ("self_attn.o_proj", hidden, q),
        ("mlp.gate_proj", ffn, hidden),
        ("mlp.up_proj", ffn, hidden),
        ("mlp.down_proj", hidden, ffn),
    ];
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = layer
        .into_iter()
        .map(|(name, rows, cols)| {
            (format!("midlayer.{name}.weight"), vec![rows, cols], random(rows, cols))
        })
        .collect();
    for name in ["input_layernorm", "hidden_norm", "post_attention_layernorm"] {
        tensors.push((format!("midlayer.{name}.weight"), vec![hidden], vec![1.0; hidden]));
    }
    tensors.push(("norm.weight".into(), vec![hidden], vec![1.0; hidden]));
    let last =
        |at: usize| if at % (3 * hidden) == at / (3 * hidden) + 2 * hidden { 1.0 } else { 0.0 };
    let fc = (0..3 * hidden * hidden).map(last).collect();
    tensors.push(("fc.weight".into(), vec![hidden, 3 * hidden], fc));
    // Draft token n is token 2 n.
    let distance: Vec<i64> = (0..drafted as i64).collect();
    let views = tensors.iter().map(|(name, shape, values)| {
        let bytes = bytemuck::cast_slice(values);
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("sizes agree"))
    });
    let bytes = bytemuck::cast_slice(&distance);
    let d2t = TensorView::new(Dtype::I64, vec![drafted], bytes).expect("sizes agree");
    let file = safetensors::serialize(views.chain([("d2t".to_owned(), d2t)]), None);
    let layers = [0, config.n_layers - 1, config.n_layers - 1];
    let json = serde_json::json!({
        "model_type": "llama", "num_hidden_layers": 1, "hidden_size": hidden,
        "intermediate_size": ffn, "num_attention_heads": n_q, "num_key_value_heads": n_kv,
        "head_dim": head_dim, "rms_norm_eps": 1e-5, "vocab_size": vocab,
        "draft_vocab_size": drafted, "max_position_embeddings": config.context,
        "eagle_config": { "eagle_aux_hidden_state_layer_ids": layers },
    });
    let file = Box::leak(file.expect("it fits into memory").into_boxed_slice());
    Head::built_in("a tiny head", &json.to_string(), file).expect("it is right")
}
