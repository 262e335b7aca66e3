"""Plain and assisted generation by Hugging Face transformers, on the model and questions of the bundle.

    python3 transformers_peer.py MODEL.gguf QUESTIONS.jsonl

Greedy, 48 tokens a question, BF16; a GPU where torch finds one. Plain generation decodes 1, 16 and
64 questions at once, assisted generation (prompt look-up) one, since it knows no batches. Tokens per
second, prompts included, medians of three rounds after one that does not count.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TOKENS = 48
ROUNDS = 3
QUESTIONS = 12


def main():
    model_file, questions = Path(sys.argv[1]), Path(sys.argv[2])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder, name = str(model_file.parent), model_file.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
    model = model.to(device).eval()
    turns = [json.loads(line)["turns"][0] for line in questions.read_text().splitlines()]
    chats = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": turn}], add_generation_prompt=True, tokenize=False
        )
        for turn in turns
    ]

    def generate(batch, **more):
        """Tokens written, and seconds."""
        inputs = tokenizer(batch, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(device)
        start = time.perf_counter()
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False, **more)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        ends = tokenizer.eos_token_id
        written = 0
        for row in out[:, inputs["input_ids"].shape[1] :].tolist():
            written += row.index(ends) + 1 if ends in row else len(row)
        return written, seconds

    def rate(at_once, n, **more):
        asked = [chats[i % len(chats)] for i in range(n)]
        batches = [asked[i : i + at_once] for i in range(0, n, at_once)]
        parts = [generate(batch, **more) for batch in batches]
        return sum(written for written, _ in parts) / sum(seconds for _, seconds in parts)

    rows = [("plain", 1, QUESTIONS, {}), ("plain", 16, 32, {}), ("plain", 64, 64, {})]
    rows.append(("assisted", 1, QUESTIONS, {"prompt_lookup_num_tokens": 4}))
    for what, at_once, n, more in rows:
        rates = [rate(at_once, n, **more) for _ in range(1 + ROUNDS)][1:]
        spread = f"{min(rates):.0f} to {max(rates):.0f}"
        print(f"transformers, {what}, {at_once} at once: {statistics.median(rates):.0f} tokens/s ({spread})", flush=True)


if __name__ == "__main__":
    main()
