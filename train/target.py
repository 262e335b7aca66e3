"""What a head takes from its target: hyper-parameters, embedding, output head and a first guess."""

import json
from pathlib import Path

import torch


class Target:
    """A Llama- or Qwen3-family model, read from a GGUF file or a folder of safetensors."""

    def __init__(self, path: Path):
        if not path.exists():
            raise SystemExit(f"{path}: no such file or folder; give the model the texts were recorded from")
        source = _Folder(path) if path.is_dir() else _Gguf(path)
        self._source = source
        self.config = source.config
        self.eps = source.config["rms_norm_eps"]
        self.context = source.config["max_position_embeddings"]
        self.embedding = source.tensor("embed_tokens").to(torch.bfloat16)
        output = source.tensor("lm_head")
        self.output = self.embedding if output is None else output.to(torch.bfloat16)
        self.output_norm = source.tensor("norm").float()
        self.vocab = self.embedding.shape[0]

    def shape(self) -> dict:
        """The head's hyper-parameters: the target's own."""
        names = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
                 "head_dim", "rms_norm_eps", "rope_theta")
        return {name: self.config[name] for name in names} | {"vocab_size": self.vocab}

    def initial_head(self) -> dict:
        """The target's last layer, fed with the last recorded states; its first layer's attention
        reads the embedding."""
        last, h = self.config["num_hidden_layers"] - 1, self.config["hidden_size"]
        layer = lambda n, name: self._source.tensor(f"layers.{n}.{name}").float()
        state = {
            "fc.weight": torch.cat([torch.zeros(h, 2 * h), torch.eye(h)], 1),
            "norm.weight": self.output_norm,
            "midlayer.input_layernorm.weight": layer(0, "input_layernorm.weight"),
            "midlayer.hidden_norm.weight": layer(last, "input_layernorm.weight"),
            "midlayer.post_attention_layernorm.weight": layer(last, "post_attention_layernorm.weight"),
            "midlayer.self_attn.o_proj.weight": layer(last, "self_attn.o_proj.weight"),
        }
        for name in ("q", "k", "v"):
            name = f"self_attn.{name}_proj.weight"
            state[f"midlayer.{name}"] = torch.cat([layer(0, name) / 2, layer(last, name)], 1)
        for name in ("gate", "up", "down"):
            name = f"mlp.{name}_proj.weight"
            state[f"midlayer.{name}"] = layer(last, name)
        return state


class _Folder:
    """A folder as models are published."""

    def __init__(self, path: Path):
        from safetensors import safe_open

        self.config = json.loads((path / "config.json").read_text())
        self.config.setdefault("head_dim", self.config["hidden_size"] // self.config["num_attention_heads"])
        self.config.setdefault("rope_theta", 10000.0)
        self._files = [safe_open(file, "pt") for file in sorted(path.glob("*.safetensors"))]

    def tensor(self, name: str):
        full = {"lm_head": "lm_head.weight", "embed_tokens": "model.embed_tokens.weight",
                "norm": "model.norm.weight"}.get(name, f"model.{name}")
        for file in self._files:
            if full in file.keys():
                return file.get_tensor(full)
        if name == "lm_head":
            return None
        raise SystemExit(f"tensor {full} is missing")


class _Gguf:
    """A GGUF file; quantised tensors are dequantised."""

    NAMES = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }

    def __init__(self, path: Path):
        from gguf import GGUFReader

        reader = GGUFReader(path)
        self._tensors = {tensor.name: tensor for tensor in reader.tensors}
        field = lambda key: reader.fields[key].contents() if key in reader.fields else None
        self._arch = arch = field("general.architecture")
        hidden, heads = field(f"{arch}.embedding_length"), field(f"{arch}.attention.head_count")
        self.config = {
            "hidden_size": hidden,
            "intermediate_size": field(f"{arch}.feed_forward_length"),
            "num_attention_heads": heads,
            "num_key_value_heads": field(f"{arch}.attention.head_count_kv") or heads,
            "head_dim": field(f"{arch}.attention.key_length") or hidden // heads,
            "rms_norm_eps": field(f"{arch}.attention.layer_norm_rms_epsilon"),
            "rope_theta": field(f"{arch}.rope.freq_base") or 10000.0,
            "num_hidden_layers": field(f"{arch}.block_count"),
            "max_position_embeddings": field(f"{arch}.context_length"),
        }

    def tensor(self, name: str):
        from gguf import dequantize

        if name in ("embed_tokens", "norm", "lm_head"):
            full = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}[name] + ".weight"
        else:
            _, layer, rest = name.split(".", 2)
            full = f"blk.{layer}.{self.NAMES[rest.removesuffix('.weight')]}.weight"
        if full not in self._tensors:
            if name == "lm_head":
                return None
            raise SystemExit(f"tensor {full} is missing")
        stored = self._tensors[full]
        values = torch.from_numpy(dequantize(stored.data, stored.tensor_type).copy())
        if self._arch == "llama" and ("attn_q" in full or "attn_k" in full):
            # This family's files hold the two halves of a rotated pair side by side.
            dim = self.config["head_dim"]
            values = values.view(-1, dim // 2, 2, values.shape[-1]).transpose(1, 2).reshape(values.shape)
        return values
