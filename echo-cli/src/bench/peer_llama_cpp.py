"""The other side of `echo-llm bench --peer llama.cpp`: one JSON request a line in, seconds out.

Arguments: model file, threads. Uses the low-level calls of llama-cpp-python, so that what is timed is
llama.cpp's own forward and nothing else; prompts are read before the clock starts.
"""

import json
import sys
import time

import llama_cpp as L
import numpy as np
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

MODEL, THREADS = sys.argv[1], int(sys.argv[2])
# The context is divided among the sequences; each must hold a prompt of 512 tokens and its answer.
SEQS, CONTEXT = 32, 32768

L.llama_backend_init()
silence = L.llama_log_callback(lambda level, text, data: None)
L.llama_log_set(silence, None)
model = L.llama_model_load_from_file(MODEL.encode(), L.llama_model_default_params())
params = L.llama_context_default_params()
params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = CONTEXT, 1024, 512, SEQS
params.n_threads = params.n_threads_batch = THREADS
context = L.llama_init_from_model(model, params)
vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(model))
batch = L.llama_batch_init(1024, 0, 1)


def forward(rows):
    """Runs (token, position, sequence, wants logits) rows as one batch."""
    batch.n_tokens = len(rows)
    for i, (token, position, seq, wanted) in enumerate(rows):
        batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, seq
    if L.llama_decode(context, batch) != 0:
        raise RuntimeError("llama_decode failed")


def likeliest(row):
    logits = np.ctypeslib.as_array(L.llama_get_logits_ith(context, row), shape=(vocab,))
    return int(logits.argmax())


def clear():
    L.llama_memory_clear(L.llama_get_memory(context), True)


def read(tokens, seq):
    forward([(t, i, seq, i == len(tokens) - 1) for i, t in enumerate(tokens)])
    return likeliest(len(tokens) - 1)


def decode(prompts, n):
    """Seconds for `n` more tokens of each prompt after its first, all prompts at once."""
    clear()
    last = [read(prompt, seq) for seq, prompt in enumerate(prompts)]
    lengths = [len(prompt) for prompt in prompts]
    start = time.perf_counter()
    for step in range(n):
        forward([(t, lengths[s] + step, s, True) for s, t in enumerate(last)])
        last = [likeliest(s) for s in range(len(last))]
    return time.perf_counter() - start


def rows(n, kv_len):
    """Seconds for a forward of `n` rows, each with logits, behind `kv_len` cached tokens."""
    clear()
    forward([(1 + i % 100, i, 0, i == kv_len - 1) for i in range(kv_len)])
    start = time.perf_counter()
    forward([(1 + i % 100, kv_len + i, 0, True) for i in range(n)])
    likeliest(n - 1)
    return time.perf_counter() - start


def prefill(tokens):
    clear()
    start = time.perf_counter()
    read(tokens, 0)
    return time.perf_counter() - start


def lookup(prompt, n):
    """Seconds for `n` more tokens after the first with the package's own prompt lookup."""
    if not hasattr(lookup, "llama"):
        lookup.llama = L.Llama(
            MODEL, n_ctx=4096, n_threads=THREADS, n_threads_batch=THREADS, logits_all=True,
            draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4), verbose=False,
        )
    lookup.llama.reset()
    start = None
    for i, _ in enumerate(lookup.llama.generate(prompt, temp=0.0)):
        start = start or time.perf_counter()
        if i == n:
            return time.perf_counter() - start


print(json.dumps({"version": L.__version__}), flush=True)
OPERATIONS = {"decode": decode, "rows": rows, "prefill": prefill, "lookup": lookup}
for line in sys.stdin:
    request = json.loads(line)
    seconds = OPERATIONS[request.pop("op")](**request)
    print(json.dumps({"seconds": seconds}), flush=True)
