"""Log-probabilities of the default model by an independent implementation (llama.cpp).

    python logits.py MODEL.gguf            writes logits.json beside this file
    python logits.py MODEL.gguf DIR        also writes tokens.txt and the full log-probabilities
                                           (float32, [tokens, vocab]) to DIR, to be compared whole

Needs llama-cpp-python 0.3.36, gguf 0.19 and numpy. The weights are dequantised first and keys and
values kept as F32, so that no rounding of activations is in the result. The text is logits.txt, cut
into windows of 512 tokens that are evaluated apart. logits.json holds the first 256 tokens and, at
every fourth position, the eight likeliest next tokens.
"""

import json
import pathlib
import struct
import sys
import tempfile

import numpy as np
from gguf import GGUFReader, dequantize
from llama_cpp import GGML_TYPE_F32, Llama

WINDOW = 512
ALIGNMENT = 32
here = pathlib.Path(__file__).parent


def padding(n):
    return b"\0" * (-n % ALIGNMENT)


def write_dequantised(source, out):
    """The same GGUF file with every tensor as F32."""
    tensors = GGUFReader(source).tensors
    metadata_end = min(int(tensor.field.offset) for tensor in tensors)
    with open(source, "rb") as file:
        out.write(file.read(metadata_end))
    at = 0
    for tensor in tensors:
        name, dims = tensor.name.encode(), [int(n) for n in tensor.shape]
        out.write(struct.pack("<Q", len(name)) + name)
        out.write(struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, GGML_TYPE_F32, at))
        size = 4 * int(np.prod(dims))
        at += size + len(padding(size))
    out.write(padding(out.tell()))
    for tensor in tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).tobytes()
        out.write(values + padding(len(values)))
    out.flush()


def log_probs(model, window):
    model.reset()
    model.eval(window)
    logits = np.asarray(model.scores[: len(window)], dtype=np.float64)
    top = logits.max(axis=1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))


def main():
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        write_dequantised(sys.argv[1], file)
        kv = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32}
        size = {"n_ctx": WINDOW, "n_batch": WINDOW, "n_threads": 2}
        model = Llama(file.name, logits_all=True, verbose=False, **size, **kv)
    text = (here / "logits.txt").read_bytes()
    tokens = model.tokenize(text, add_bos=False, special=False)

    first = tokens[:256]
    rows = log_probs(model, first)
    golden = []
    for at in range(3, 256, 4):
        best = np.argsort(-rows[at], kind="stable")[:8]
        top = [[int(token), round(float(rows[at, token]), 4)] for token in best]
        golden.append({"position": at, "top": top})
    lines = ",\n".join("  " + json.dumps(row) for row in golden)
    written = f'{{"tokens": {json.dumps(first)},\n "rows": [\n{lines}\n]}}\n'
    (here / "logits.json").write_text(written)
    print(f"{len(tokens)} tokens")

    if len(sys.argv) > 2:
        folder = pathlib.Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokens.txt").write_text(" ".join(map(str, tokens)))
        with open(folder / "reference.f32", "wb") as out:
            for start in range(0, len(tokens), WINDOW):
                window = tokens[start : start + WINDOW]
                out.write(log_probs(model, window).astype(np.float32).tobytes())


main()
