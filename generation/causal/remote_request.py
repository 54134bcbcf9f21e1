"""Requests as OpenAI-compatible servers read them.

Beyond OpenAI's own fields, vLLM and llama.cpp take those of `_EXTENSIONS`; one is only sent when a request
asks for it, because a strict server refuses fields that it does not know.
"""

from collections.abc import Sequence
from typing import Any

from embeddings.errors import InvalidInput
from generation.causal.chat import ChatMessage, JsonObjectFormat, JsonSchemaFormat, ResponseFormat
from generation.sampling import SamplingSettings

_PLAIN = ("presence_penalty", "frequency_penalty", "n")
_EXTENSIONS = ("top_k", "min_p", "typical_p", "repetition_penalty", "ignore_eos")
# Settings that no such server has.
UNSUPPORTED = ("beams", "no_repeat_ngram", "length_penalty")
_OFF = SamplingSettings()


def chat_body(
    model: str, messages: Sequence[ChatMessage], sampling: SamplingSettings, response: ResponseFormat | None
) -> dict[str, Any]:
    """The body of /chat/completions. Raises InvalidInput for what no such server does."""
    body = _body(model, sampling) | _response_format(response)
    body["messages"] = [{"role": message.role, "content": message.content} for message in messages]
    if sampling.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    return body


def completion_body(
    model: str, prompt: str, sampling: SamplingSettings, response: ResponseFormat | None
) -> dict[str, Any]:
    """The body of /completions. Raises InvalidInput for what no such server does."""
    body = _body(model, sampling) | _response_format(response) | {"prompt": prompt}
    if sampling.logprobs is not None:
        body["logprobs"] = sampling.logprobs
    return body


def _body(model: str, sampling: SamplingSettings) -> dict[str, Any]:
    sampling.refuse(UNSUPPORTED, "a decoder on another server")
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    changed = (name for name in _PLAIN + _EXTENSIONS if getattr(sampling, name) != getattr(_OFF, name))
    body |= {name: getattr(sampling, name) for name in changed}
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logit_bias:
        body["logit_bias"] = {str(token_id): bias for token_id, bias in sampling.logit_bias}
    return body


def _response_format(response: ResponseFormat | None) -> dict[str, Any]:
    match response:
        case None:
            return {}
        case JsonObjectFormat():
            return {"response_format": {"type": "json_object"}}
        case JsonSchemaFormat(schema, name):
            wanted = {"name": name, "schema": dict(schema), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": wanted}}
    raise _unsupported("response_format", type(response).__name__.removesuffix("Format").lower())


def _unsupported(field: str, found: str) -> InvalidInput:
    return InvalidInput(
        f"a decoder on another server cannot be asked for {field} {found}",
        field=field,
        found=found,
        expected="it left out",
        next_step="leave it out, or serve a decoder of your own with FOOTNOTE_DECODER",
    )
