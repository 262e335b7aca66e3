//! A draft head's files, checked.

use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::folder::Folder;
use crate::tensor::Tensor;
use echo_core::Token;
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;

/// An EAGLE-3 head in a folder, as published: `config.json` and `model.safetensors` with `fc`,
/// one decoder layer, `norm`, `lm_head`, `d2t` and `t2d`.
///
/// `lm_head.weight` and `embed_tokens.weight` may be missing: they are then the target's. The
/// configuration may be that of vLLM's speculators, with the layer's own in
/// `transformer_layer_config`.
#[derive(Debug)]
pub struct Head {
    folder: Folder,
    config: ModelConfig,
    layers: Option<[usize; 3]>,
    /// Whether the layer adds to the norm of its state, not to the state.
    adds_to_norm: bool,
    /// What the layer's tensors are called before the dot.
    layer_name: &'static str,
    /// The target's token of each draft token.
    tokens: Vec<Token>,
}

impl Head {
    /// Opens and checks the folder at `path`.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let has = |name: &str| path.join(name).exists();
        let refuse =
            |why: &str| Err(ModelError::NotAHead { path: path.to_owned(), why: why.into() });
        if !has("config.json") {
            return refuse("has no config.json");
        }
        if has("pytorch_model.bin") && !has("model.safetensors") {
            return refuse(
                "has its tensors in pytorch_model.bin, which is not read; load that with torch and \
                 write it with safetensors.torch.save_file",
            );
        }
        Self::new(Folder::open(path)?)
    }

    /// A head that the program carries; `name` is for messages.
    pub fn built_in(name: &str, config: &str, tensors: &'static [u8]) -> Result<Self, ModelError> {
        Self::new(Folder::built_in(name, config, tensors)?)
    }

    fn new(folder: Folder) -> Result<Self, ModelError> {
        let path = folder.path().to_owned();
        let file = path.join("config.json");
        let json = folder.config_json();
        let layer = json.get("transformer_layer_config").unwrap_or(json);
        let mut config = ModelConfig::from_json(&file, layer)?;
        let layers = tapped_layers(&file, json)?;
        let name = "norm_before_residual";
        let adds_to_norm = match &json[name] {
            Value::Null => false,
            Value::Bool(flag) => *flag,
            other => {
                return Err(ModelError::config(&file, name, format!("is {other}, not a flag")));
            }
        };
        let names = ["midlayer", "layers.0"];
        let has = |name: &&str| folder.names().any(|own| own.starts_with(&format!("{name}.")));
        let layer_name = names.into_iter().find(has).ok_or_else(|| ModelError::MissingTensor {
            path,
            tensor: "midlayer.self_attn.q_proj.weight".into(),
        })?;
        // Where the one layer is named so, some publish the target's count beside it.
        if layer_name != "midlayer" && config.n_layers != 1 {
            let why = format!("is {}; an EAGLE-3 head has one layer", config.n_layers);
            return Err(ModelError::config(&file, "num_hidden_layers", why));
        }
        config.n_layers = 1;
        let tokens = Vec::new();
        let mut head = Head { folder, config, layers, adds_to_norm, layer_name, tokens };
        head.tokens = head.draft_tokens()?;
        head.check_tensors()?;
        Ok(head)
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The hyper-parameters of its layer; `vocab` is the target's.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Whether the layer adds to the norm of its state, not to the state (`norm_before_residual`).
    pub(super) fn adds_to_norm(&self) -> bool {
        self.adds_to_norm
    }

    /// The target's token of each draft token, ascending or not, each once.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The layers of a target whose output it reads, counted from 0. Published heads read the
    /// input of the third layer, of the middle one and of the third from the end.
    pub fn layers(&self, target: &ModelConfig) -> Result<[usize; 3], ModelError> {
        let n = target.n_layers;
        let usual = || [1, (n / 2).wrapping_sub(1), n.wrapping_sub(4)];
        let layers = self.layers.unwrap_or_else(usual);
        if layers.iter().any(|&layer| layer >= n) {
            let why = format!("reads layers {layers:?}; the target has {n}");
            return Err(self.mismatch("eagle_aux_hidden_state_layer_ids", &why));
        }
        Ok(layers)
    }

    /// Refuses a target the head was not trained for, as far as sizes tell.
    pub fn check_fits(&self, target: &ModelConfig) -> Result<(), ModelError> {
        let sizes = [
            ("hidden_size", self.config.hidden, target.hidden),
            ("vocab_size", self.config.vocab, target.vocab),
        ];
        for (field, own, wanted) in sizes {
            if own != wanted {
                let why = format!("is {own}, the target's is {wanted}");
                return Err(self.mismatch(field, &why));
            }
        }
        self.layers(target).map(|_| ())
    }

    /// The tensor called `name`, one of the layer's if it begins with a dot; checked to be
    /// `[rows, cols]`.
    pub(super) fn tensor(
        &self,
        name: &str,
        (rows, cols): (usize, usize),
    ) -> Result<Tensor<'_>, ModelError> {
        self.optional(name, (rows, cols))?.ok_or_else(|| ModelError::MissingTensor {
            path: self.path().to_owned(),
            tensor: self.full_name(name),
        })
    }

    /// The same, or nothing if the head has none of its own.
    pub(super) fn optional(
        &self,
        name: &str,
        expected: (usize, usize),
    ) -> Result<Option<Tensor<'_>>, ModelError> {
        let name = self.full_name(name);
        let Some(stored) = self.folder.tensor(&name)? else {
            return Ok(None);
        };
        let (cols, rows) = stored.shape.split_last().map_or((1, &[][..]), |(c, r)| (*c, r));
        let found = (rows.iter().product(), cols);
        if found != expected {
            let path = self.path().to_owned();
            return Err(ModelError::Shape { path, tensor: name, found, expected });
        }
        let bytes = Cow::Borrowed(stored.bytes);
        let (rows, cols) = expected;
        Ok(Some(Tensor { name: name.into(), dtype: stored.dtype, rows, cols, bytes }))
    }

    fn full_name(&self, name: &str) -> String {
        let layer = if name.starts_with('.') { self.layer_name } else { "" };
        format!("{layer}{name}")
    }

    fn mismatch(&self, field: &str, why: &str) -> ModelError {
        let why = format!("{why}; give the head that was trained for this target");
        ModelError::config(&self.path().join("config.json"), field, why)
    }

    /// Reads `d2t`, the distance from a draft token's number to the target's.
    fn draft_tokens(&self) -> Result<Vec<Token>, ModelError> {
        let path = self.path();
        let json = &self.folder.config_json()["draft_vocab_size"];
        let vocab = self.config.vocab;
        let size = json.as_u64().map_or(vocab, |n| n as usize);
        let Some(distance) = self.folder.integers("d2t")? else {
            if size == vocab {
                return Ok((0..vocab as Token).collect());
            }
            return Err(ModelError::MissingTensor { path: path.to_owned(), tensor: "d2t".into() });
        };
        let fault = |why| ModelError::Safetensors { path: path.join("model.safetensors"), why };
        if distance.len() != size || size == 0 || size > vocab {
            let why = format!("`d2t` has {} entries, draft_vocab_size is {json}", distance.len());
            return Err(fault(why));
        }
        let mut seen = vec![false; vocab];
        let mut tokens = Vec::with_capacity(size);
        for (draft, &distance) in distance.iter().enumerate() {
            let token = (draft as i64).checked_add(distance).map(usize::try_from);
            match token {
                Some(Ok(token)) if token < vocab && !seen[token] => {
                    seen[token] = true;
                    tokens.push(token as Token);
                }
                _ => {
                    let why = format!(
                        "`d2t` maps draft token {draft} by {distance}: outside the vocabulary of \
                         {vocab}, or onto a token that has one already"
                    );
                    return Err(fault(why));
                }
            }
        }
        Ok(tokens)
    }

    /// Every tensor must be there and have its shape before a device takes any.
    fn check_tensors(&self) -> Result<(), ModelError> {
        for (name, shape) in self.shapes() {
            self.tensor(name, shape)?;
        }
        let table = (self.tokens.len(), self.config.hidden);
        self.optional("lm_head.weight", table)?;
        self.optional("embed_tokens.weight", (self.config.vocab, self.config.hidden))?;
        let mut known: Vec<String> =
            self.shapes().iter().map(|(name, _)| self.full_name(name)).collect();
        known.extend(["lm_head.weight", "embed_tokens.weight", "d2t", "t2d"].map(str::to_owned));
        // What the configuration says, too, and some files repeat.
        known.push(self.full_name(".self_attn.rotary_emb.inv_freq"));
        match self.folder.names().find(|name| !known.iter().any(|own| own == name)) {
            None => Ok(()),
            Some(other) => {
                let why = format!("`{other}` has no part in an EAGLE-3 head of the known kind");
                Err(ModelError::Safetensors { path: self.path().join("model.safetensors"), why })
            }
        }
    }

    /// Names and shapes of the tensors that every head has.
    pub(super) fn shapes(&self) -> [(&'static str, (usize, usize)); 12] {
        let ModelConfig { hidden, ffn, head_dim, n_q, n_kv, .. } = self.config;
        let (q, kv) = (n_q * head_dim, n_kv * head_dim);
        [
            ("fc.weight", (hidden, 3 * hidden)),
            ("norm.weight", (1, hidden)),
            (".input_layernorm.weight", (1, hidden)),
            (".hidden_norm.weight", (1, hidden)),
            (".post_attention_layernorm.weight", (1, hidden)),
            (".self_attn.q_proj.weight", (q, 2 * hidden)),
            (".self_attn.k_proj.weight", (kv, 2 * hidden)),
            (".self_attn.v_proj.weight", (kv, 2 * hidden)),
            (".self_attn.o_proj.weight", (hidden, q)),
            (".mlp.gate_proj.weight", (ffn, hidden)),
            (".mlp.up_proj.weight", (ffn, hidden)),
            (".mlp.down_proj.weight", (hidden, ffn)),
        ]
    }
}

/// The layers whose output the head says that it reads, counted from 0. Most heads count so
/// themselves, in `eagle_config` (`SGLang` and `ModelOpt` write and read it so); those of vLLM's
/// speculators, which have the same name at the top, count the layers whose *input* is read.
fn tapped_layers(file: &Path, json: &Value) -> Result<Option<[usize; 3]>, ModelError> {
    let name = "eagle_aux_hidden_state_layer_ids";
    let (ids, first) = match &json["eagle_config"][name] {
        Value::Null => (&json[name], 1),
        ids => (ids, 0),
    };
    if ids.is_null() {
        return Ok(None);
    }
    let layer = |id: &Value| id.as_u64()?.checked_sub(first).map(|layer| layer as usize);
    let layers: Option<Vec<usize>> = ids.as_array().and_then(|ids| ids.iter().map(layer).collect());
    match layers.as_deref() {
        Some(&[low, middle, high]) => Ok(Some([low, middle, high])),
        _ => Err(ModelError::config(
            file,
            name,
            format!("is {ids}, not three layers from {first} on"),
        )),
    }
}
