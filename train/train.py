#!/usr/bin/env python3
"""Trains an EAGLE-3 head on what `echo-llm harvest` recorded.

    python train.py RECORDINGS --target MODEL.gguf|FOLDER --out HEAD

Each step feeds the draft its own outputs several entries deep (training-time test, section 3.2 of
the paper); labels are the target's own distributions. The run is resumed from `HEAD/state.pt` if
that is there. See README.md beside this file.
"""

import argparse
import json
import math
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from eagle import Head, Shape
from loss import mean_rows, soft_cross_entropy
from target import Target
from texts import Texts, batches, epochs, send


def draft_vocab(texts: Texts, training, size: int, vocab: int, start: Path | None):
    """The `size` tokens the target wrote most often, or those of the head at `start`, in order of id."""
    written = torch.cat([texts.tokens[f][first:end] for f, first, end in training])
    counts = torch.bincount(written, minlength=vocab)
    if start:
        with safe_open(start / "model.safetensors", "pt") as file:
            offsets = file.get_tensor("d2t").long()
            kept = offsets + torch.arange(len(offsets))
    else:
        kept = counts.topk(min(size, vocab)).indices.sort().values
    return kept, counts[kept].sum().item() / counts.sum().item()


class Tables:
    """What the head shares with its target, on the device."""

    def __init__(self, target: Target, kept, device):
        self.kept = kept.to(device)
        self.embedding = target.embedding.to(device)
        self.output = target.output[kept].to(device)
        self.output_norm = target.output_norm.to(device)
        self.eps = target.eps

    def read(self, states):
        """What the target's output head reads, `[rows, width]`: its last layer, normed."""
        last = states[..., -self.output.shape[1] :].flatten(0, 1)
        return F.rms_norm(last, self.output_norm.shape, self.output_norm, self.eps)


def unroll(head, tables, tokens, states, entries: int, autocast):
    """Yields per entry what the output head reads, `[n, length, width]`. The label of row t of
    entry k is the target's law at t + 1 + k."""
    length = tokens.shape[1]
    with autocast():
        hidden = head.fc(states)
        past = []
        at = torch.arange(length, device=tokens.device)
        for k in range(entries):
            ahead = (at + 1 + k).clamp(max=length - 1)
            embedding = tables.embedding[tokens[:, ahead]]
            hidden = head.entry(embedding, hidden, past)
            yield head.norm(hidden)


def train_step(head, tables, batch, entries, decay, autocast):
    tokens, states, lengths = batch
    # The rows that have a label, found here: the device is never waited for.
    left = lengths[:, None] - torch.arange(tokens.shape[1])
    rows = [(left > 1 + k).flatten().nonzero()[:, 0] for k in range(entries)]
    rows = send(torch.cat(rows), tokens.device.type).split([len(at) for at in rows])
    with torch.no_grad():
        _, laws = mean_rows(tables.read(states), tables.output)
    total, parts = 0.0, []
    for k, x in enumerate(unroll(head, tables, tokens, states, entries, autocast)):
        x = x.flatten(0, 1).index_select(0, rows[k])
        loss = soft_cross_entropy(x, tables.output, laws.index_select(0, rows[k] + 1 + k))
        total = total + decay**k * loss
        parts.append(loss.detach())
    total.backward()
    return parts


@torch.no_grad()
def evaluate(head, tables, texts, held_out, entries, rows, device, autocast):
    """Share of entries whose best and whose four best tokens hold the target's best, per depth, and
    the chance that a chain of best tokens holds up to that depth."""
    found = torch.zeros(entries, 4, device=device)
    for group in batches(held_out, rows, np.random.default_rng(0)):
        tokens, states, lengths = texts.batch(group, device)
        left = lengths.to(device)[:, None] - torch.arange(tokens.shape[1], device=device)
        favourites = F.linear(tables.read(states).to(tables.output.dtype), tables.output).argmax(-1)
        alive = True
        for k, x in enumerate(unroll(head, tables, tokens, states, entries, autocast)):
            logits = F.linear(x.to(tables.output.dtype), tables.output)
            counts = left > 1 + k
            four = logits.topk(4).indices == favourites.view(tokens.shape).roll(-1 - k, 1)[..., None]
            hit = four[..., 0] & counts
            # A deeper entry was fed the text; it holds only where the text is the target's best.
            alive = hit & alive
            found[k] += torch.stack([x.sum() for x in (hit, four.any(-1) & counts, alive, counts)])
    return (found[:, :3] / found[:, 3:]).T.tolist()


def save(head, tables, args, target, texts, report, out: Path):
    """Writes the head as published heads are laid out."""
    half = lambda x: x.detach().cpu().to(torch.bfloat16).contiguous()
    tensors = {name: half(value) for name, value in head.state_dict().items()}
    kept = tables.kept.cpu()
    t2d = torch.zeros(head.shape.vocab_size, dtype=torch.bool)
    t2d[kept] = True
    tensors["d2t"] = (kept - torch.arange(len(kept))).to(torch.int64)
    tensors["t2d"] = t2d
    if args.with_lm_head:
        tensors["lm_head.weight"] = half(tables.output)
    layers = [int(layer) for layer in texts.about["layers"].split(",")]
    config = {
        "architectures": ["LlamaForCausalLMEagle3"],
        "model_type": "llama",
        "num_hidden_layers": 1,
        "hidden_act": "silu",
        "tie_word_embeddings": not args.with_lm_head,
        **vars(head.shape),
        "max_position_embeddings": target.context,
        # As SGLang counts: the layers whose output is read, from 0.
        "eagle_config": {"eagle_aux_hidden_state_layer_ids": layers},
        "echo": report,
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / "model.safetensors.part", {"format": "pt"})
    (out / "model.safetensors.part").rename(out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_optimizers(head, lr: float, device):
    """Muon for matrices, which needs far fewer steps than AdamW; AdamW for norms."""
    matrices = [p for p in head.parameters() if p.ndim == 2]
    vectors = [p for p in head.parameters() if p.ndim < 2]
    return [
        torch.optim.Muon(matrices, lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(vectors, lr, betas=(0.9, 0.95), weight_decay=0.0, fused=device == "cuda"),
    ]


def head_weights(folder: Path) -> dict:
    """The weights of a head that was trained before."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = [name for name in file.keys() if name not in ("d2t", "t2d", "lm_head.weight")]
        return {name: file.get_tensor(name).float() for name in names}


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("recordings", type=Path, help="folder that `echo-llm harvest` filled")
    p.add_argument("--target", type=Path, required=True, help="the model: a .gguf file or a folder")
    p.add_argument("--out", type=Path, required=True, help="folder of the head")
    p.add_argument("--start", type=Path, help="begin with the weights of this head")
    p.add_argument("--draft-vocab", type=int, default=8192)
    p.add_argument("--entries", type=int, default=5, help="entries fed back in training")
    p.add_argument("--epochs", type=float, default=2.0)
    p.add_argument("--rows", type=int, default=4096, help="rows of one batch")
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--decay", type=float, default=0.8, help="weight of an entry against the one before")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--minutes", type=float, default=math.inf, help="end after this time, with a head")
    p.add_argument("--evaluate-every", type=int, default=200, help="steps; the state is saved then")
    p.add_argument("--with-lm-head", action="store_true", help="write lm_head.weight, which is the target's")
    p.add_argument("--threads", type=int, default=0)
    return p.parse_args()


def main():
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    autocast = lambda: torch.autocast(device, dtype=torch.bfloat16)
    texts, target = Texts(args.recordings), Target(args.target)
    if device == "cuda":
        texts.hold(device, 0.6 * torch.cuda.mem_get_info()[0])
    # The last text of every 40 is never trained on.
    held_out = texts.texts[39::40]
    training = [text for i, text in enumerate(texts.texts) if i % 40 != 39]
    kept, covered = draft_vocab(texts, training, args.draft_vocab, target.vocab, args.start)
    print(f"{texts.rows} rows in {len(texts.texts)} texts, {'held on' if texts.held else 'fed to'} {device};"
          f" {len(kept)} draft tokens cover {covered:.2%}")
    shape = Shape(**target.shape(), draft_vocab_size=len(kept))
    head = Head(shape)
    head.load_state_dict(head_weights(args.start) if args.start else target.initial_head())
    head.to(device)
    tables = Tables(target, kept, device)
    optimizers = make_optimizers(head, args.lr, device)
    epoch_steps = len(batches(training, args.rows, np.random.default_rng(0)))
    steps = max(1, int(args.epochs * epoch_steps))
    step, spent, state = 0, 0.0, args.out / "state.pt"
    if state.exists():
        saved = torch.load(state, map_location=device, weights_only=True)
        head.load_state_dict(saved["head"])
        for optimizer, own in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(own)
        step, spent = saved["step"], saved["spent"]
        print(f"resumed at step {step}")

    def report():
        top1, top4, chain = evaluate(head, tables, texts, held_out, 5, args.rows, device, autocast)
        show = lambda xs: " ".join(f"{x:.3f}" for x in xs)
        print(f"  held out: top-1 {show(top1)} | in top-4 {show(top4)} | chain {show(chain)}", flush=True)
        found = {"rows": texts.rows, "texts": len(texts.texts), "steps": step, "seed": args.seed,
                 "entries": args.entries, "covered": covered, "target": texts.about["model"],
                 "top1": top1, "top4": top4, "chain": chain}
        save(head, tables, args, target, texts, found, args.out)
        torch.save({"head": head.state_dict(), "optimizers": [o.state_dict() for o in optimizers],
                    "step": step, "spent": spent}, state)

    started = time.time() - spent
    for group in islice(epochs(training, args.rows, args.seed), step, steps):
        done = max(step / steps, (time.time() - started) / 60 / args.minutes)
        if done >= 1:
            break
        warm = min(1.0, (step + 1) / 40)
        rate = args.lr * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
        for optimizer in optimizers:
            for parameters in optimizer.param_groups:
                parameters["lr"] = rate
        head.zero_grad(set_to_none=True)
        parts = train_step(head, tables, texts.batch(group, device), args.entries, args.decay, autocast)
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        spent = time.time() - started
        if step % 20 == 0:
            losses = " ".join(f"{x:.3f}" for x in torch.stack(parts).tolist())
            print(f"step {step}/{steps} {spent / 60:.1f} min, loss {losses}", flush=True)
        if step % args.evaluate_every == 0:
            report()
    report()


if __name__ == "__main__":
    main()
