"""How a question and its passages are put to a chat decoder: data, of which a collection may have its own.

Few-shot examples stand in a template as turns of a conversation that went before: none, one or a few
(Brown et al., NeurIPS 2020).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from embeddings.errors import InvalidInput
from generation.scripts import Language, language_of

PROMPTS = Path(__file__).resolve().parent / "prompts"
MAX_EXAMPLES = 16
MAX_CHARS = 20_000

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class PromptExample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question that was answered well, to be imitated."""

    question: str
    answer: Annotated[str, Meta(description="The right answer, with its marks; may hold {not_found}")]
    passages: Annotated[tuple[str, ...], Meta(description="Texts of its passages, numbered from 1")] = ()


class PromptTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The texts around a question and its passages, with places in braces that are filled in."""

    name: Annotated[str, Meta(description="How answers name it", examples=["cited-en"])]
    system: Annotated[str, Meta(description="What the decoder is told first; may hold {not_found}")]
    not_found: Annotated[str, Meta(description="What the decoder writes when the passages lack the answer")]
    passage: Annotated[str, Meta(description="One passage: {number} and {text}, and {title} if you like")] = (
        "[{number}] {text}"
    )
    question: Annotated[str, Meta(description="The user's turn: {passages} and {question}")] = (
        "{passages}\n\n{question}"
    )
    examples: Annotated[tuple[PromptExample, ...], Meta(description="Few-shot examples, best first")] = ()
    decoding: Annotated[
        Literal["auto", "grounded", "free"],
        Meta(
            description="grounded: only text of the passages and marks; free: the decoder's own words; "
            "auto: grounded where the decoder can be held to it"
        ),
    ] = "auto"


def check_prompt(template: PromptTemplate, field: str) -> None:
    """Raise InvalidInput for a template that can't be filled in, or that leaves no room for passages.

    field: where it stands in a request.
    """
    _check_places(template.system, f"{field}.system", {"not_found"}, set())
    _check_places(template.passage, f"{field}.passage", {"number", "text", "title"}, {"number", "text"})
    _check_places(template.question, f"{field}.question", {"passages", "question"}, {"passages", "question"})
    for number, example in enumerate(template.examples):
        _check_places(example.answer, f"{field}.examples[{number}].answer", {"not_found"}, set())
    for name in ("name", "not_found"):
        if not any(map(str.isalnum, getattr(template, name))):
            raise _invalid(f"{field}.{name}", "no word", "a text")
    if len(template.examples) > MAX_EXAMPLES:
        found = f"{len(template.examples)} examples"
        raise _invalid(f"{field}.examples", found, f"at most {MAX_EXAMPLES} examples")
    length = len(msgspec.json.encode(template).decode())
    if length > MAX_CHARS:
        raise _invalid(field, f"{length} characters as JSON", f"at most {MAX_CHARS} characters")


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its places filled in, once: braces in what is filled in stay as they are."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def default_prompt(question: str) -> PromptTemplate:
    """The shipped template in the question's language: English, Russian or Chinese."""
    return shipped_prompt(language_of(question))


@lru_cache
def shipped_prompt(language: Language) -> PromptTemplate:
    """The template that comes with Footnote for a language."""
    return msgspec.toml.decode((PROMPTS / f"{language}.toml").read_bytes(), type=PromptTemplate)


def read_prompt(path: Path) -> PromptTemplate:
    """A template of a TOML file, or of a JSON file by its suffix. Raises InvalidInput."""
    decode = msgspec.json.decode if path.suffix == ".json" else msgspec.toml.decode
    try:
        template = decode(path.read_bytes(), type=PromptTemplate)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"cannot read the prompt {path}: {error}",
            field="prompt",
            found=str(path),
            expected="a TOML or JSON file with name, system, not_found and what else a prompt has",
            next_step="the guide's page on answers shows one",
        ) from error
    check_prompt(template, "prompt")
    return template


def _check_places(text: str, field: str, allowed: set[str], required: set[str]) -> None:
    found = set(_PLACEHOLDER.findall(text))
    if unknown := sorted(found - allowed):
        raise _invalid(field, f"{{{unknown[0]}}}", " or ".join(f"{{{name}}}" for name in sorted(allowed)))
    if missing := sorted(required - found):
        raise _invalid(
            field, f"no {{{missing[0]}}}", " and ".join(f"{{{name}}}" for name in sorted(required))
        )


def _invalid(field: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{field}: found {found}; expected {expected}", field=field, found=found, expected=expected
    )
