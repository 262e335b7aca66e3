//! The default model opens and is what its makers say.

use echo_core::DType;
use echo_model::{Checkpoint, Family, Role, RopeScaling};

use crate::support::default_model;

#[test]
fn the_default_model_opens() {
    let Some(file) = default_model("the_default_model_opens") else { return };
    let checkpoint = Checkpoint::open(&file).expect("the default model is whole");
    let config = checkpoint.config();
    assert_eq!(config.family, Family::Llama);
    assert_eq!((config.vocab, config.hidden, config.n_layers), (49_152, 576, 30));
    assert_eq!((config.n_q, config.n_kv, config.head_dim), (9, 3, 64));
    assert_eq!((config.ffn, config.context), (1536, 8192));
    assert_eq!((config.rope_base, &config.rope_scaling), (100_000.0, &RopeScaling::None));
    assert!(config.tied && !config.qk_norm);

    let head = checkpoint.tensor(Role::Output).unwrap();
    assert_eq!((&*head.name, head.dtype), ("token_embd.weight", DType::Q8_0));
    let q = checkpoint.tensor(Role::Q(29)).unwrap();
    assert_eq!((q.dtype, q.rows, q.cols), (DType::Q4_1, 576, 576));
    assert_eq!(q.bytes.len(), 576 * 360);
    let norm = checkpoint.vector(Role::AttnNorm(0)).unwrap();
    assert!(norm.len() == 576 && norm.iter().all(|w| w.is_finite()));
    assert!(checkpoint.tensor(Role::Q(30)).is_err());
    assert!(checkpoint.tensor(Role::QNorm(0)).is_err());
}
