"""The `openai` package against a server: chats and completions, streamed and not, and errors.

Usage: python3 clients.py http://127.0.0.1:PORT/v1
"""

import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="unused", timeout=300, max_retries=0)
model = client.models.list().data[0].id
messages = [{"role": "user", "content": "Name three colours."}]
sampling = {"model": model, "max_tokens": 24, "temperature": 0.7, "seed": 11}


def chat(**more):
    return client.chat.completions.create(messages=messages, **sampling, **more)


def complete(**more):
    return client.completions.create(prompt="Once upon a time", **sampling, **more)


whole = chat(logprobs=True, top_logprobs=2)
message = whole.choices[0].message
assert message.role == "assistant" and message.content, whole
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
logprobs = whole.choices[0].logprobs.content
assert len(logprobs) == whole.usage.completion_tokens and len(logprobs[0].top_logprobs) == 2

pieces, usage, reasons = [], None, []
for event in chat(stream=True, stream_options={"include_usage": True}):
    usage = event.usage or usage
    for choice in event.choices:
        pieces.append(choice.delta.content or "")
        reasons += [choice.finish_reason] if choice.finish_reason else []
assert "".join(pieces) == message.content, (pieces, message.content)
assert usage.completion_tokens == whole.usage.completion_tokens
assert reasons == [whole.choices[0].finish_reason]

plain = chat(extra_body={"speculative": False})
assert plain.choices[0].message.content == message.content, "drafting changed a text"
assert plain.model_extra["metrics"]["speculative_decoding"]["verified"] == 0

text = complete(n=2, logprobs=1)
assert len(text.choices) == 2 and len(text.choices[0].logprobs.tokens) > 0
streamed = {0: "", 1: ""}
for event in complete(n=2, stream=True):
    for choice in event.choices:
        streamed[choice.index] += choice.text
assert streamed == {choice.index: choice.text for choice in text.choices}, (streamed, text)

scored = client.completions.create(
    model=model, prompt="The sky is blue", max_tokens=1, logprobs=1, echo=True, temperature=0
).choices[0].logprobs
assert scored.token_logprobs[0] is None and all(p < 0 for p in scored.token_logprobs[1:]), scored

stopped = complete(stop=[text.choices[0].text[4:6]])
assert stopped.choices[0].finish_reason == "stop", stopped

for wrong, error in [
    ({"n": 99}, openai.BadRequestError),
    ({"logit_bias": {"999999": 1}}, openai.BadRequestError),
    ({"top_p": -1}, openai.BadRequestError),
]:
    try:
        chat(**wrong)
        raise AssertionError(f"{wrong} was taken")
    except error as refused:
        assert refused.body["message"] and refused.body["type"] == "invalid_request_error", refused
try:
    client.chat.completions.create(model="other", messages=messages)
    raise AssertionError("another model was taken")
except openai.NotFoundError as refused:
    assert refused.param == "model", refused
print("openai", openai.__version__, "is content")
