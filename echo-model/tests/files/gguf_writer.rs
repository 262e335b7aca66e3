//! Writes GGUF files, broken ones too: nothing is checked.

/// A metadata value as its type id and payload.
pub(crate) type Raw = (u32, Vec<u8>);

pub(crate) fn u32(value: u32) -> Raw {
    (4, value.to_le_bytes().to_vec())
}

pub(crate) fn f32(value: f32) -> Raw {
    (6, value.to_le_bytes().to_vec())
}

pub(crate) fn flag(value: u8) -> Raw {
    (7, vec![value])
}

pub(crate) fn string(value: &[u8]) -> Raw {
    (8, counted(value))
}

pub(crate) fn array(kind: u32, n: u64, payload: &[u8]) -> Raw {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(n.to_le_bytes());
    bytes.extend(payload);
    (9, bytes)
}

pub(crate) fn strings(values: &[&str]) -> Raw {
    let payload: Vec<u8> = values.iter().flat_map(|value| counted(value.as_bytes())).collect();
    array(8, values.len() as u64, &payload)
}

pub(crate) fn ints(values: &[i32]) -> Raw {
    let payload: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    array(5, values.len() as u64, &payload)
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    let mut out = (bytes.len() as u64).to_le_bytes().to_vec();
    out.extend(bytes);
    out
}

/// A tensor as declared and as stored.
#[derive(Clone)]
pub(crate) struct RawTensor {
    pub(crate) name: Vec<u8>,
    pub(crate) dims: Vec<u64>,
    pub(crate) kind: u32,
    /// Declared offset; `None` for where the bytes really are.
    pub(crate) offset: Option<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// A file under construction. All fields are written as they are.
#[derive(Clone)]
pub(crate) struct GgufWriter {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) keys: Vec<(Vec<u8>, Raw)>,
    pub(crate) tensors: Vec<RawTensor>,
    /// Declared counts; `None` for the true ones.
    pub(crate) n_keys: Option<u64>,
    pub(crate) n_tensors: Option<u64>,
    pub(crate) alignment: usize,
}

impl GgufWriter {
    pub(crate) fn new() -> Self {
        GgufWriter {
            magic: *b"GGUF",
            version: 3,
            keys: Vec::new(),
            tensors: Vec::new(),
            n_keys: None,
            n_tensors: None,
            alignment: 32,
        }
    }

    pub(crate) fn key(mut self, key: impl AsRef<[u8]>, value: Raw) -> Self {
        self.keys.push((key.as_ref().to_vec(), value));
        self
    }

    /// Replaces the value of `key`.
    pub(crate) fn set(mut self, key: &str, value: Raw) -> Self {
        self.keys.retain(|(other, _)| other != key.as_bytes());
        self.key(key, value)
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(other, _)| other != key.as_bytes());
        self
    }

    /// Adds a tensor of singles; `dims` has the innermost first.
    pub(crate) fn floats(self, name: &str, dims: &[u64], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.raw(name, dims, 0, bytes)
    }

    pub(crate) fn raw(mut self, name: &str, dims: &[u64], kind: u32, bytes: Vec<u8>) -> Self {
        let (name, dims) = (name.as_bytes().to_vec(), dims.to_vec());
        self.tensors.push(RawTensor { name, dims, kind, offset: None, bytes });
        self
    }

    /// Changes the last tensor.
    pub(crate) fn last(mut self, change: impl FnOnce(&mut RawTensor)) -> Self {
        change(self.tensors.last_mut().expect("there is a tensor"));
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.n_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.n_keys.unwrap_or(self.keys.len() as u64).to_le_bytes());
        for (key, (kind, payload)) in &self.keys {
            out.extend(counted(key));
            out.extend(kind.to_le_bytes());
            out.extend(payload);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            out.extend(counted(&tensor.name));
            out.extend((tensor.dims.len() as u32).to_le_bytes());
            tensor.dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            data.resize(usize::next_multiple_of(data.len(), self.alignment), 0);
            out.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
        }
        if !self.tensors.is_empty() {
            out.resize(out.len().next_multiple_of(self.alignment), 0);
        }
        out.extend(data);
        out
    }
}

/// A whole Llama: 1 layer, width 8, 2 query heads and 1 key-value head of 4, vocabulary of 6.
pub(crate) fn tiny_llama() -> GgufWriter {
    let ramp = |n: usize| (0..n).map(|i| i as f32).collect::<Vec<f32>>();
    GgufWriter::new()
        .key("general.architecture", string(b"llama"))
        .key("llama.block_count", u32(1))
        .key("llama.context_length", u32(64))
        .key("llama.embedding_length", u32(8))
        .key("llama.feed_forward_length", u32(12))
        .key("llama.attention.head_count", u32(2))
        .key("llama.attention.head_count_kv", u32(1))
        .key("llama.attention.layer_norm_rms_epsilon", f32(1e-5))
        .key("llama.rope.freq_base", f32(10_000.0))
        .key("tokenizer.ggml.model", string(b"gpt2"))
        .key("tokenizer.ggml.pre", string(b"smollm"))
        .key("tokenizer.ggml.tokens", strings(&["<end>", "a", "b", "ab", "<user>", "Ġ"]))
        .key("tokenizer.ggml.token_type", ints(&[3, 1, 1, 1, 4, 1]))
        .key("tokenizer.ggml.merges", strings(&["a b"]))
        .key("tokenizer.ggml.eos_token_id", u32(0))
        .key("tokenizer.ggml.add_bos_token", flag(0))
        .key("tokenizer.chat_template", string(b"{{ messages[0]['content'] }}"))
        .floats("token_embd.weight", &[8, 6], &ramp(48))
        .floats("output_norm.weight", &[8], &ramp(8))
        .floats("blk.0.attn_norm.weight", &[8], &ramp(8))
        .floats("blk.0.attn_q.weight", &[8, 8], &ramp(64))
        .floats("blk.0.attn_k.weight", &[8, 4], &ramp(32))
        .floats("blk.0.attn_v.weight", &[8, 4], &ramp(32))
        .floats("blk.0.attn_output.weight", &[8, 8], &ramp(64))
        .floats("blk.0.ffn_norm.weight", &[8], &ramp(8))
        .floats("blk.0.ffn_gate.weight", &[8, 12], &ramp(96))
        .floats("blk.0.ffn_up.weight", &[8, 12], &ramp(96))
        .floats("blk.0.ffn_down.weight", &[12, 8], &ramp(96))
}
