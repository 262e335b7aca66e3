"""Writes tokenizer.json: texts and their token ids by an independent tokenizer (llama.cpp).

usage: python tokenizer.py MODEL.gguf > tokenizer.json     (needs llama-cpp-python)

`plain` treats the names of control tokens as ordinary text, `parse` as those tokens.
"""

import json
import sys

import llama_cpp

TEXTS = [
    "", " ", "  ", "a", " a", "  a", "a ", "\n", "\n\n", "\n\n\n a", "\t", "\t\tx", " \n ", "\r\n", "a\r\nb",
    "Hello, world!", "hello world", "The quick brown fox jumps over the lazy dog.",
    "I'm you're he'd we'll they've it's don't", "I'M YOU'RE HE'D WE'LL THEY'VE IT'S", "rock'n'roll 'quoted'",
    "0", "7 12 345 6789", "1234567890", "3.14159", "-1e-9", "0xDEADBEEF", "2024-02-29T23:59:59Z", "x2y3z4", "١٢٣ ४५६ ½²",
    "def f(x):\n    return x ** 2\n", "fn main() {\n\tprintln!(\"{:?}\", vec![1, 2, 3]);\n}\n",
    "for (int i=0;i<10;++i){a[i]+=b[i];}", "SELECT * FROM t WHERE a <> 'b' -- c", "<div class=\"x\">&amp;</div>",
    "{\"a\": [1, 2.5, null], \"b\": {\"c\": true}}", "https://example.org/a/b?c=d&e=f#g", "C:\\dir\\file.txt", "a_b-c.d/e",
    "        eight spaces", "tabs\t\tand   spaces   \n   mixed\n\n\n", "trailing   ", "a  b   c    d     e",
    "naïve café Übergröße", "Привет, мир!", "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก",
    "你好，世界！", "こんにちは世界", "안녕하세요 세계", "日本語テキスト123",
    "😀", "👍🏽 👨‍👩‍👧‍👦 🇩🇪", "a😀b", "\u200b\u200d\ufeff", "e\u0301 vs é", "\u0000\u0001\u007f", "ﬁ ﷺ 𝕳𝖊𝖑𝖑𝖔",
    "!!!???...", "-----=====*****", "((([[[{{{", "a!b?c", " ,", "…—–“”‘’", "$100 €50 £20 50%",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababab", "AbCdEfGhIjKlMnOp", "antidisestablishmentarianism",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "x<|im_end|>y", "<|endoftext|>", " <|im_end|> ",
    "<|im_start|", "<|im_end|><|im_end|>", "<repo_name>a/b<file_sep>c.py", "im_end <| |>",
]


def main() -> None:
    model = llama_cpp.Llama(sys.argv[1], vocab_only=True, verbose=False)
    ids = lambda text, special: model.tokenize(text.encode("utf-8"), add_bos=False, special=special)
    cases = [{"text": t, "plain": ids(t, False), "parse": ids(t, True)} for t in TEXTS]
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
    print(f'{{"by":"llama-cpp-python {llama_cpp.__version__}","cases":[\n{lines}\n]}}')


main()
