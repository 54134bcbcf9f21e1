"""How the next token is chosen: the fields that chat and text completions share, OpenAI's and, under the
names that vLLM gave them, those of other servers.

Sources: platform.openai.com/docs/api-reference/chat/create; docs.vllm.ai, OpenAI-compatible server, extra
parameters.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict

from embeddings.errors import InvalidInput
from generation.causal.chat import (
    ChoiceFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from generation.causal.spec import GenerationDefaults
from generation.sampling import SamplingSettings

Unused = Meta(description="Accepted and not used")


class StreamOptions(Struct, frozen=True):
    """What a stream tells beside the text."""

    include_usage: Annotated[
        bool | None, Meta(description="End with a chunk that has no choices and the usage of all")
    ] = None


class NamedSchema(Struct, frozen=True, rename={"body": "schema"}):
    """A JSON schema with the client's name for it."""

    body: Annotated[dict[str, Any] | None, Meta(description="The schema")] = None
    name: str = "response"
    description: Annotated[str | None, Unused] = None
    strict: Annotated[bool | None, Meta(description="Not needed: the text always fits the schema")] = None


class AskedFormat(Struct, frozen=True, forbid_unknown_fields=True):
    """What the text has to be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class SamplingFields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The shared fields. What is not given is off, or where the decoder was published with values, those."""

    temperature: Annotated[float | None, Meta(description="0 is greedy; at most 2")] = None
    top_p: Annotated[
        float | None,
        Meta(description="Sample among tokens of this total probability; 1 is off"),
    ] = None
    n: Annotated[int | None, Meta(description="How many choices; 1 unless given")] = None
    seed: Annotated[int | None, Meta(description="Seed of this request's own random generator")] = None
    stop: Annotated[
        str | list[str] | None, Meta(description="Texts that end a choice, not part of it; at most 16")
    ] = None
    max_tokens: Annotated[int | None, Meta(description="Longest choice, in the decoder's tokens")] = None
    presence_penalty: Annotated[
        float | None, Meta(description="-2 to 2: taken from the logit of each token that was written")
    ] = None
    frequency_penalty: Annotated[
        float | None, Meta(description="-2 to 2: taken as often as the token was written")
    ] = None
    logit_bias: Annotated[
        dict[str, float] | None, Meta(description="Token id: what is added to its logit, -100 to 100")
    ] = None
    response_format: Annotated[
        AskedFormat | None, Meta(description="`text`, `json_object` or `json_schema`")
    ] = None
    stream: Annotated[bool | None, Meta(description="Answer with server-sent events")] = None
    stream_options: Annotated[
        StreamOptions | None, Meta(description="What a stream tells beside the text")
    ] = None
    top_k: Annotated[
        int | None, Meta(description="Extension: sample among the k most probable tokens; 0 or -1 is off")
    ] = None
    min_p: Annotated[
        float | None,
        Meta(description="Extension: drop tokens below this share of the best one's probability; 0 is off"),
    ] = None
    typical_p: Annotated[
        float | None, Meta(description="Extension: locally typical sampling with this mass; 1 is off")
    ] = None
    repetition_penalty: Annotated[
        float | None, Meta(description="Extension: above 1 makes tokens of prompt and answer rarer; 1 is off")
    ] = None
    no_repeat_ngram_size: Annotated[
        int | None, Meta(description="Extension: no run of so many tokens twice; 0 is off")
    ] = None
    use_beam_search: Annotated[bool | None, Meta(description="Extension: the n best of `best_of` beams")] = (
        None
    )
    best_of: Annotated[int | None, Meta(description="Extension: how many beams; n unless given")] = None
    length_penalty: Annotated[
        float | None, Meta(description="Extension: exponent of the length that divides a beam's score")
    ] = None
    ignore_eos: Annotated[bool | None, Meta(description="Extension: go on after the end-of-text token")] = (
        None
    )
    guided_json: Annotated[
        dict[str, Any] | None, Meta(description="Extension: the text fits this JSON schema")
    ] = None
    guided_regex: Annotated[
        str | None, Meta(description="Extension: the whole text matches this pattern")
    ] = None
    guided_choice: Annotated[list[str] | None, Meta(description="Extension: the text is one of these")] = None
    user: Annotated[str | None, Unused] = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


# As much text as a stop may hold is held back from a stream.
MAX_STOP_CHARACTERS = 500
_TOKEN_ID = re.compile("[0-9]{1,9}")
# Fields of SamplingSettings that go by another name here.
_WIRE_NAMES = {"no_repeat_ngram": "no_repeat_ngram_size", "beams": "best_of"}
_SAME_NAMES = (
    "temperature", "top_p", "n", "seed", "presence_penalty", "frequency_penalty", "min_p", "typical_p",
    "repetition_penalty", "length_penalty", "ignore_eos",
)  # fmt: skip


def read_sampling(
    asked: SamplingFields,
    max_tokens: int | None,
    logprobs: int | None,
    defaults: GenerationDefaults | None = None,
) -> SamplingSettings:
    """The settings that a request asks for.

    max_tokens, logprobs: as this route reads them. defaults: of the decoder, for what the request leaves
    open; beam search, which does not sample, has none.
    Raises InvalidInput, with the field's name in SamplingSettings.
    """
    given = {name: getattr(asked, name) for name in _SAME_NAMES}
    given |= {
        "max_tokens": max_tokens,
        "logprobs": logprobs,
        "stop": _stops(asked.stop),
        "top_k": 0 if asked.top_k == -1 else asked.top_k,
        "no_repeat_ngram": asked.no_repeat_ngram_size,
        "logit_bias": _biases(asked.logit_bias),
        "beams": _beams(asked),
    }
    if given["beams"] is not None and logprobs is not None:
        raise InvalidInput(
            "beam search tells no log-probabilities of tokens",
            field="logprobs",
            found="logprobs with use_beam_search",
            expected="one of them",
        )
    settled = {name: value for name, value in given.items() if value is not None}
    left_open = {} if given["beams"] is not None or defaults is None else asdict(defaults)
    return SamplingSettings(**(left_open | settled))


@contextmanager
def in_wire_names(names: Mapping[str, str]) -> Iterator[None]:
    """Name the fields of refusals as the request does. names: what a route calls fields in its own way."""
    try:
        yield
    except InvalidInput as error:
        if error.field is not None:
            error.field = ({**_WIRE_NAMES, **names}).get(error.field, error.field)
        raise


def _stops(given: str | list[str] | None) -> tuple[str, ...] | None:
    stops = (given,) if isinstance(given, str) else tuple(given or ())
    longest = max(map(len, stops), default=0)
    if longest > MAX_STOP_CHARACTERS:
        raise InvalidInput(
            f"stop holds a text of {longest} characters; at most {MAX_STOP_CHARACTERS} are looked for",
            field="stop",
            found=f"{longest} characters",
            expected=f"at most {MAX_STOP_CHARACTERS} characters",
        )
    return stops or None


def _biases(given: dict[str, float] | None) -> tuple[tuple[int, float], ...] | None:
    if not given:
        return None
    wrong = next((token for token in given if not _TOKEN_ID.fullmatch(token)), None)
    if wrong is not None:
        raise InvalidInput(
            f"logit_bias has the key {wrong!r:.80}; its keys are token ids",
            field="logit_bias",
            found=repr(wrong)[:80],
            expected="a token id of the decoder, written as a number",
        )
    return tuple((int(token), bias) for token, bias in given.items())


def _beams(asked: SamplingFields) -> int | None:
    """How many beams. OpenAI's own best_of, which samples more choices than it returns, is not to be had."""
    choices = asked.n or 1
    if asked.use_beam_search:
        return choices if asked.best_of is None else asked.best_of
    if asked.best_of not in {None, 1, choices}:
        raise InvalidInput(
            f"best_of is {asked.best_of}; without use_beam_search every choice is returned",
            field="best_of",
            found=str(asked.best_of),
            expected=f"{choices}, as n",
            next_step="leave it out, or ask for beam search with use_beam_search",
        )
    return None


def read_format(asked: SamplingFields) -> ResponseFormat | None:
    """What the text has to be; None for free text. Raises InvalidInput when it is to be two things."""
    formats = {
        "response_format": _response_format(asked.response_format),
        "guided_json": None if asked.guided_json is None else JsonSchemaFormat(asked.guided_json),
        "guided_regex": None if asked.guided_regex is None else RegexFormat(asked.guided_regex),
        "guided_choice": None if asked.guided_choice is None else ChoiceFormat(tuple(asked.guided_choice)),
    }
    named = {name: form for name, form in formats.items() if form is not None}
    if len(named) > 1:
        raise InvalidInput(
            " and ".join(named) + " cannot both hold",
            field=list(named)[-1],
            found=", ".join(named),
            expected="one of them",
        )
    return next(iter(named.values()), None)


def _response_format(asked: AskedFormat | None) -> ResponseFormat | None:
    if asked is None or asked.type == "text":
        return None
    if asked.type == "json_object":
        return JsonObjectFormat()
    if asked.json_schema is None or asked.json_schema.body is None:
        raise InvalidInput(
            "response_format has the type json_schema and no schema",
            field="response_format.json_schema.schema",
            found="nothing",
            expected="a JSON schema",
        )
    return JsonSchemaFormat(asked.json_schema.body, asked.json_schema.name)
