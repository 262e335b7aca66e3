#!/usr/bin/env python3
"""Makes the golden vectors of the EAGLE-3 head: random weights from a seed, and what PyTorch answers.

    python echo-model/tests/golden/eagle.py

Needs torch and safetensors. Each entry is computed alone, from a list of the entries it sees: slow,
and nothing like the code it checks. Writes config.json, the same head as vLLM's speculators describe
one that adds the normed state (speculators.json), model.safetensors and answers.safetensors.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

OUT = Path(__file__).parent / "eagle"
# No width is a multiple of 32, or the reader would take eight bits for the weights.
HIDDEN, FFN, HEADS, KV_HEADS, DIM, VOCAB, DRAFT = 40, 68, 3, 1, 16, 80, 50
EPS, THETA = 1e-5, 10000.0
TEXT = 21
random = torch.Generator().manual_seed(20)


def matrix(rows, cols, gain=1.0):
    return torch.randn(rows, cols, generator=random) * gain / cols**0.5


def vector():
    return 1 + 0.2 * torch.randn(HIDDEN, generator=random)


q, kv = HEADS * DIM, KV_HEADS * DIM
kept = torch.randperm(VOCAB, generator=random)[:DRAFT].sort().values
weights = {
    "fc.weight": matrix(HIDDEN, 3 * HIDDEN),
    "norm.weight": vector(),
    "lm_head.weight": matrix(DRAFT, HIDDEN, 3.0),
    "embed_tokens.weight": matrix(VOCAB, HIDDEN, 4.0),
    "midlayer.input_layernorm.weight": vector(),
    "midlayer.hidden_norm.weight": vector(),
    "midlayer.post_attention_layernorm.weight": vector(),
    "midlayer.self_attn.q_proj.weight": matrix(q, 2 * HIDDEN, 2.0),
    "midlayer.self_attn.k_proj.weight": matrix(kv, 2 * HIDDEN, 2.0),
    "midlayer.self_attn.v_proj.weight": matrix(kv, 2 * HIDDEN),
    "midlayer.self_attn.o_proj.weight": matrix(HIDDEN, q),
    "midlayer.mlp.gate_proj.weight": matrix(FFN, HIDDEN),
    "midlayer.mlp.up_proj.weight": matrix(FFN, HIDDEN),
    "midlayer.mlp.down_proj.weight": matrix(HIDDEN, FFN),
    "d2t": kept - torch.arange(DRAFT),
    "t2d": torch.isin(torch.arange(VOCAB), kept),
}
layer = lambda name: weights[f"midlayer.{name}.weight"]


def norm(x, weight):
    return x / (x.pow(2).mean() + EPS).sqrt() * weight


def rotate(head, position):
    """Pairs column i with column i + DIM / 2."""
    out = head.clone()
    for i in range(DIM // 2):
        angle = torch.tensor(position * THETA ** (-2 * i / DIM), dtype=torch.float64)
        a, b = head[i], head[i + DIM // 2]
        out[i] = a * angle.cos() - b * angle.sin()
        out[i + DIM // 2] = b * angle.cos() + a * angle.sin()
    return out


def entry(token, state, position, seen, normed):
    """The output of the layer at one entry, and its key and value. `seen` are those before it.
    What is added to is the state, or if `normed` its norm."""
    x = torch.cat([norm(weights["embed_tokens.weight"][token], layer("input_layernorm")),
                   norm(state, layer("hidden_norm"))])
    query, key, value = (layer(f"self_attn.{n}_proj") @ x for n in "qkv")
    key = rotate(key, position)
    seen = seen + [(key, value)]
    heads = []
    for h in range(HEADS):
        own = rotate(query[h * DIM : (h + 1) * DIM], position)
        scores = torch.stack([own @ k for k, _ in seen]) / DIM**0.5
        share = scores.softmax(0)
        heads.append(sum(s * v for s, (_, v) in zip(share, seen)))
    residual = norm(state, layer("hidden_norm")) if normed else state
    hidden = residual + layer("self_attn.o_proj") @ torch.cat(heads)
    x = norm(hidden, layer("post_attention_layernorm"))
    gate, up = layer("mlp.gate_proj") @ x, layer("mlp.up_proj") @ x
    hidden = hidden + layer("mlp.down_proj") @ (gate / (1 + (-gate).exp()) * up)
    return hidden, (key, value)


def law(hidden):
    return (weights["lm_head.weight"] @ norm(hidden, weights["norm.weight"])).log_softmax(0)


def laws_after(tokens, taps, normed):
    """At the root; at its best child and that one's; at its second child and that one's."""
    fused = [weights["fc.weight"] @ tap for tap in taps]
    seen, hidden = [], None
    for p in range(1, TEXT):
        hidden, own = entry(tokens[p], fused[p - 1], p, seen, normed)
        seen.append(own)
    laws = [law(hidden)]
    for token in [kept[i] for i in laws[0].topk(2).indices]:
        below, own = entry(token, hidden, TEXT, seen, normed)
        laws.append(law(below))
        last, _ = entry(kept[laws[-1].argmax()], below, TEXT + 1, seen + [own], normed)
        laws.append(law(last))
    return torch.stack(laws).float()


def main():
    global weights
    single = dict(weights)
    weights = {n: w.double() if w.is_floating_point() else w for n, w in weights.items()}
    tokens = torch.randint(0, VOCAB, (TEXT,), generator=random)
    taps = torch.randn(TEXT - 1, 3 * HIDDEN, generator=random)
    answers = {"tokens": tokens, "taps": taps}
    answers["laws"] = laws_after(tokens, taps.double(), normed=False)
    answers["normed"] = laws_after(tokens, taps.double(), normed=True)
    OUT.mkdir(exist_ok=True)
    save_file(single, OUT / "model.safetensors")
    save_file(answers, OUT / "answers.safetensors")
    shape = {"model_type": "llama", "hidden_act": "silu", "num_hidden_layers": 1,
             "hidden_size": HIDDEN, "intermediate_size": FFN, "num_attention_heads": HEADS,
             "num_key_value_heads": KV_HEADS, "head_dim": DIM, "rms_norm_eps": EPS,
             "rope_theta": THETA, "vocab_size": VOCAB, "max_position_embeddings": 4096}
    config = {"architectures": ["LlamaForCausalLMEagle3"], **shape, "draft_vocab_size": DRAFT,
              "eagle_config": {"eagle_aux_hidden_state_layer_ids": [0, 1, 1]}}
    # Layers are counted by their input.
    speculators = {"architectures": ["Eagle3Speculator"], "speculators_model_type": "eagle3",
                   "transformer_layer_config": shape, "draft_vocab_size": DRAFT,
                   "norm_before_residual": True, "eagle_aux_hidden_state_layer_ids": [1, 2, 2]}
    for name, content in [("config", config), ("speculators", speculators)]:
        (OUT / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
