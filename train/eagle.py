"""The EAGLE-3 draft head (Li et al., arXiv 2503.01840) in PyTorch.

One decoder layer whose attention reads [norm(embedding) ; norm(hidden)]. Entry t of a draft takes the
token at t + 1 and the target's hidden states at t, and predicts the token at t + 2.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters of a head, under the names of the target's config.json."""

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    vocab_size: int
    draft_vocab_size: int


class RMSNorm(nn.Module):
    """Unit mean square, then a weight per column."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.eps)


def rotate(x, positions, theta: float):
    """Rotates column i of each head against column i + dim / 2. `x` is [batch, heads, n, dim]."""
    half = x.shape[-1] // 2
    rate = theta ** (-torch.arange(half, dtype=torch.float32, device=x.device) / half)
    angle = positions.float()[..., None] * rate
    cos, sin = angle.cos(), angle.sin()
    a, b = x.float().split(half, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class Attention(nn.Module):
    """Attention of the draft's k-th entry at t: to the first entries up to t, and to its own
    earlier entries at t, whose keys and values `past` collects entry by entry."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        q, kv = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
        self.q_proj = nn.Linear(2 * shape.hidden_size, q, bias=False)
        self.k_proj = nn.Linear(2 * shape.hidden_size, kv, bias=False)
        self.v_proj = nn.Linear(2 * shape.hidden_size, kv, bias=False)
        self.o_proj = nn.Linear(q, shape.hidden_size, bias=False)

    def forward(self, x, past):
        batch, n, _ = x.shape
        s, step = self.shape, len(past)
        positions = torch.arange(n, device=x.device) + step
        several, few = s.num_attention_heads, s.num_key_value_heads
        weight = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        heads = F.linear(x, weight).view(batch, n, -1, s.head_dim).transpose(1, 2)
        turned, v = heads.split([several + few, few], 1)
        q, k = rotate(turned, positions, s.rope_theta).split([several, few], 1)
        past.append([y.repeat_interleave(several // few, 1) for y in (k, v)])
        q = q * s.head_dim**-0.5
        first, *own = past
        # Numbers as small as q's own throughout: of n * n of them the memory is the bound.
        mask = torch.full((n, n), -torch.inf, dtype=q.dtype, device=q.device).triu(1)
        scores = [q @ first[0].transpose(-1, -2) + mask]
        scores += [(q * key).sum(-1, keepdim=True, dtype=q.dtype) for key, _ in own]
        shares = torch.cat(scores, -1).softmax(-1, dtype=q.dtype).split([n] + [1] * len(own), -1)
        out = shares[0] @ first[1]
        for share, (_, value) in zip(shares[1:], own):
            out = out + share * value
        return self.o_proj(out.transpose(1, 2).reshape(batch, n, -1))


class Layer(nn.Module):
    """The decoder layer, under the names of published checkpoints."""

    def __init__(self, shape: Shape):
        super().__init__()
        h, eps = shape.hidden_size, shape.rms_norm_eps
        self.input_layernorm = RMSNorm(h, eps)
        self.hidden_norm = RMSNorm(h, eps)
        self.post_attention_layernorm = RMSNorm(h, eps)
        self.self_attn = Attention(shape)
        self.mlp = nn.ModuleDict({
            "gate_proj": nn.Linear(h, shape.intermediate_size, bias=False),
            "up_proj": nn.Linear(h, shape.intermediate_size, bias=False),
            "down_proj": nn.Linear(shape.intermediate_size, h, bias=False),
        })

    def forward(self, embedding, hidden, past):
        x = torch.cat([self.input_layernorm(embedding), self.hidden_norm(hidden)], -1)
        hidden = hidden + self.self_attn(x, past)
        x = self.post_attention_layernorm(hidden)
        return hidden + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](x)) * self.mlp["up_proj"](x))


class Head(nn.Module):
    """The draft head. `embed` and `lm_head` are tables: trained only if they are parameters."""

    def __init__(self, shape: Shape):
        super().__init__()
        h = shape.hidden_size
        self.shape = shape
        self.fc = nn.Linear(3 * h, h, bias=False)
        self.midlayer = Layer(shape)
        self.norm = RMSNorm(h, shape.rms_norm_eps)

    def entry(self, embedding, hidden, past):
        """The hidden state after the next entry: what the following entry takes, and what the
        output norm and lm_head read."""
        return self.midlayer(embedding, hidden, past)
