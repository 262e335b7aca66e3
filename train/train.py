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
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from eagle import Head, Shape
from loss import soft_cross_entropy
from target import Target


class Texts:
    """The recorded texts of a folder, read file by file."""

    def __init__(self, folder: Path):
        self.files = [safe_open(path, "pt") for path in sorted(folder.glob("*.safetensors"))]
        if not self.files:
            raise SystemExit(f"{folder}: no recordings; make some with `echo-llm harvest {folder}`")
        self.about = self.files[0].metadata()
        self.tokens = [file.get_tensor("tokens").long() for file in self.files]
        self.starts = [file.get_tensor("starts").tolist() for file in self.files]
        self.texts = [
            (f, first, end)
            for f, starts in enumerate(self.starts)
            for first, end in zip(starts, starts[1:])
            if end - first >= 16
        ]
        self.rows = sum(end - first for _, first, end in self.texts)

    def batch(self, texts, device):
        """Tokens [n, length] and hidden [n, length, width], padded at the end, and lengths [n]."""
        lengths = torch.tensor([end - first for _, first, end in texts])
        longest = int(lengths.max())
        tokens = torch.zeros(len(texts), longest, dtype=torch.long)
        hidden = None
        for i, (f, first, end) in enumerate(texts):
            part = self.files[f].get_slice("hidden")[first:end]
            if hidden is None:
                hidden = torch.zeros(len(texts), longest, part.shape[-1], dtype=part.dtype)
            hidden[i, : end - first] = part
            tokens[i, : end - first] = self.tokens[f][first:end]
        return tokens.to(device), hidden.to(device).float(), lengths.to(device)


def batches(texts, rows: int, random):
    """Groups texts of like length, about `rows` rows in each, in random order."""
    order = sorted(random.permutation(len(texts)).tolist(), key=lambda i: (texts[i][2] - texts[i][1]) // 32)
    groups, group = [], []
    for i in order:
        longest = max([texts[j][2] - texts[j][1] for j in group + [i]])
        if group and longest * (len(group) + 1) > rows:
            groups.append(group)
            group = []
        group.append(i)
    groups.append(group)
    random.shuffle(groups)
    return [[texts[i] for i in group] for group in groups]


def draft_vocab(texts: Texts, training, size: int, vocab: int, start: Path | None):
    """The `size` tokens the target wrote most often, or those of the head at `start`, in order of id."""
    counts = torch.zeros(vocab, dtype=torch.long)
    for f, first, end in training:
        counts += torch.bincount(texts.tokens[f][first:end], minlength=vocab)
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
        self.place = torch.full((target.embedding.shape[0],), -1, device=device)
        self.place[self.kept] = torch.arange(len(kept), device=device)

    def laws(self, last):
        """The target's probabilities over the draft vocabulary, from its last layer."""
        x = last * torch.rsqrt(last.pow(2).mean(-1, keepdim=True) + self.eps) * self.output_norm
        return F.linear(x.to(self.output.dtype), self.output).float().softmax(-1)


def unroll(head, tables, batch, entries: int, autocast):
    """Yields per entry what the output head reads, `[n, length, width]`, and which rows count,
    `[n, length]`. The label of row t of entry k is the target's law at t + 1 + k."""
    tokens, states, lengths = batch
    length = tokens.shape[1]
    with autocast():
        hidden = head.fc(states)
        past = []
        at = torch.arange(length, device=tokens.device)
        for k in range(entries):
            ahead = (at + 1 + k).clamp(max=length - 1)
            embedding = tables.embedding[tokens[:, ahead]]
            hidden = head.entry(embedding, hidden, past)
            yield head.norm(hidden), (at + 1 + k)[None] < lengths[:, None]


@torch.no_grad()
def laws_of(tables, batch):
    """The target's law after each token of a batch, `[n * length, vocab]`."""
    last = batch[1][..., -tables.output.shape[1] :]
    return tables.laws(last.flatten(0, 1))


def train_step(head, tables, batch, entries, decay, autocast):
    total, parts, laws = 0.0, [], laws_of(tables, batch)
    for k, (x, counts) in enumerate(unroll(head, tables, batch, entries, autocast)):
        at = counts.flatten().nonzero()[:, 0] + 1 + k
        loss = soft_cross_entropy(x[counts], tables.output, laws, at)
        total = total + decay**k * loss
        parts.append(loss.item())
    total.backward()
    return parts


@torch.no_grad()
def evaluate(head, tables, texts, held_out, entries, rows, device, autocast):
    """Share of entries whose best and whose four best tokens hold the target's best, per depth, and
    the chance that a chain of best tokens holds up to that depth."""
    top1, top4, chain = (torch.zeros(entries) for _ in range(3))
    total = torch.zeros(entries)
    for group in batches(held_out, rows, np.random.default_rng(0)):
        batch = texts.batch(group, device)
        alive = None
        favourites = laws_of(tables, batch).argmax(-1).view(batch[0].shape)
        for k, (x, counts) in enumerate(unroll(head, tables, batch, entries, autocast)):
            logits = F.linear(x.to(tables.output.dtype), tables.output)
            best = favourites.roll(-1 - k, 1)
            four = logits.topk(4).indices == best[..., None]
            hit = four[..., 0] & counts
            # A deeper entry was fed the text; it holds only where the text is the target's best.
            alive = hit if alive is None else alive & hit
            top1[k] += hit.sum().item()
            top4[k] += (four.any(-1) & counts).sum().item()
            chain[k] += alive.sum().item()
            total[k] += counts.sum().item()
    return [(a / total).tolist() for a in (top1, top4, chain)]


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


def make_optimizers(head, lr: float):
    """Muon for matrices, which needs far fewer steps than AdamW; AdamW for norms."""
    matrices = [p for p in head.parameters() if p.ndim == 2]
    vectors = [p for p in head.parameters() if p.ndim < 2]
    return [
        torch.optim.Muon(matrices, lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(vectors, lr, betas=(0.9, 0.95), weight_decay=0.0),
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
    # The last text of every 40 is never trained on.
    held_out = texts.texts[39::40]
    training = [text for i, text in enumerate(texts.texts) if i % 40 != 39]
    kept, covered = draft_vocab(texts, training, args.draft_vocab, target.vocab, args.start)
    print(f"{texts.rows} rows in {len(texts.texts)} texts; {len(kept)} draft tokens cover {covered:.2%}")
    shape = Shape(**target.shape(), draft_vocab_size=len(kept))
    head = Head(shape)
    head.load_state_dict(head_weights(args.start) if args.start else target.initial_head())
    head.to(device)
    tables = Tables(target, kept, device)
    optimizers = make_optimizers(head, args.lr)
    epoch_steps = len(batches(training, args.rows, np.random.default_rng(0)))
    steps = max(1, int(args.epochs * epoch_steps))
    step, spent, state = 0, 0.0, args.out / "state.pt"
    if state.exists():
        saved = torch.load(state, weights_only=True)
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
    while step < steps:
        epoch = step // epoch_steps
        order = batches(training, args.rows, np.random.default_rng(args.seed + epoch))
        for group in order[step % epoch_steps :]:
            done = max(step / steps, (time.time() - started) / 60 / args.minutes)
            if done >= 1 or step >= steps:
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
                losses = " ".join(f"{x:.3f}" for x in parts)
                print(f"step {step}/{steps} {spent / 60:.1f} min, loss {losses}", flush=True)
            if step % 200 == 0:
                report()
        if (time.time() - started) / 60 >= args.minutes:
            break
    report()


if __name__ == "__main__":
    main()
