"""What `echo-llm harvest` recorded, and batches of it."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open


def send(x, device):
    """Copies to the device; this thread goes on meanwhile."""
    return x.pin_memory().to(device, non_blocking=True) if device == "cuda" else x.to(device)


class Texts:
    """The recorded texts of a folder, read text by text unless `hold` has read them all."""

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
        self.held = None

    def hold(self, device, room: float = math.inf):
        """Keeps everything on the device, if `room` bytes hold it: batches are then made there."""
        sizes = [len(tokens) for tokens in self.tokens]
        row = self.files[0].get_slice("hidden")[:1]
        if sum(sizes) * row.nbytes > room:
            return
        hidden = torch.empty(sum(sizes), row.shape[1], dtype=row.dtype, device=device)
        copy = lambda file, into: into.copy_(send(file.get_tensor("hidden"), device))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(copy, self.files, hidden.split(sizes)))
        self.held = torch.cat(self.tokens).to(device), hidden
        self.before = [0, *np.cumsum(sizes).tolist()]

    def batch(self, texts, device):
        """Tokens [n, length] and hidden [n, length, width], padded at the end, on the device, and
        lengths [n], which stay here."""
        lengths = torch.tensor([end - first for _, first, end in texts])
        longest = int(lengths.max())
        if self.held:
            # Eights of columns suit a GPU's matrix units; padding repeats a text's last row.
            at = torch.arange(-(-longest // 8) * 8, device=device)
            firsts = torch.tensor([self.before[f] + first for f, first, _ in texts])
            firsts, lasts = send(torch.stack([firsts, firsts + lengths - 1]), device)[..., None]
            tokens, hidden = (held[torch.minimum(firsts + at, lasts)] for held in self.held)
            return tokens, hidden.float(), lengths
        tokens = torch.zeros(len(texts), longest, dtype=torch.long)
        hidden = None
        for i, (f, first, end) in enumerate(texts):
            part = self.files[f].get_slice("hidden")[first:end]
            if hidden is None:
                hidden = torch.zeros(len(texts), longest, part.shape[-1], dtype=part.dtype)
            hidden[i, : end - first] = part
            tokens[i, : end - first] = self.tokens[f][first:end]
        return tokens.to(device), hidden.to(device).float(), lengths


def batches(texts, rows: int, random):
    """Groups texts of like length, about `rows` rows in each, in random order."""
    order = sorted(random.permutation(len(texts)).tolist(), key=lambda i: (texts[i][2] - texts[i][1]) // 32)
    groups, group, longest = [], [], 0
    for i in order:
        length = texts[i][2] - texts[i][1]
        longest = max(longest, length)
        if group and longest * (len(group) + 1) > rows:
            groups.append(group)
            group, longest = [], length
        group.append(i)
    groups.append(group)
    random.shuffle(groups)
    return [[texts[i] for i in group] for group in groups]


def epochs(texts, rows: int, seed: int):
    """The batches of one epoch after the other, without end."""
    for epoch in count():
        yield from batches(texts, rows, np.random.default_rng(seed + epoch))
