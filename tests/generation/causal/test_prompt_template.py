from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from embeddings.errors import InvalidInput
from generation.causal.prompt_template import (
    MAX_EXAMPLES,
    PromptExample,
    PromptTemplate,
    check_prompt,
    default_prompt,
    fill,
    read_prompt,
    shipped_prompt,
)

MINE = PromptTemplate(name="mine", system="Answer.", not_found="Nothing.")


@pytest.mark.parametrize("language", ["en", "ru", "zh"])
def test_a_shipped_template_is_valid_and_shows_an_answer_and_a_refusal(language: str) -> None:
    template = shipped_prompt(language)  # type: ignore[arg-type]
    check_prompt(template, "prompt")
    assert template.name == f"cited-{language}"
    answers = [example.answer for example in template.examples]
    assert "[2]" in answers[0]
    assert answers[1] == "{not_found}"
    assert "{not_found}" in template.system


@pytest.mark.parametrize("language", ["en", "ru", "zh"])
def test_a_shipped_example_says_only_what_its_passages_say(language: str) -> None:
    example = shipped_prompt(language).examples[0]  # type: ignore[arg-type]
    statements = [part.strip() for part in example.answer.split("[2]") if part.strip()]
    assert len(statements) == 2
    assert all(statement in example.passages[1] for statement in statements)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("When are tomatoes planted?", "cited-en"),
        ("Когда сажают томаты сорта Roma?", "cited-ru"),
        ("番茄什么时候种植？", "cited-zh"),
        ("GPU 是什么？", "cited-zh"),
        ("1756?", "cited-en"),
    ],
)
def test_the_default_speaks_the_question_s_language(question: str, name: str) -> None:
    assert default_prompt(question).name == name


def test_places_are_filled_once_whatever_is_put_in() -> None:
    assert fill("{a} and {b}", {"a": "{b}", "b": "{a}"}) == "{b} and {a}"
    assert fill('{"json": {a}}', {"a": "1"}) == '{"json": 1}'


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"system": "Say {nothing}."}, "prompt.system"),
        ({"passage": "{text}"}, "prompt.passage"),
        ({"passage": "{number} {body}"}, "prompt.passage"),
        ({"question": "{question}"}, "prompt.question"),
        ({"name": " "}, "prompt.name"),
        ({"not_found": ""}, "prompt.not_found"),
        ({"examples": (PromptExample("Why?", "{passages}"),)}, "prompt.examples[0].answer"),
        ({"examples": (PromptExample("Why?", "So."),) * (MAX_EXAMPLES + 1)}, "prompt.examples"),
        ({"system": "long " * 5000}, "prompt"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_prompt(msgspec.structs.replace(MINE, **changes), "prompt")
    assert caught.value.field == field


def test_the_shipped_templates_are_packaged() -> None:
    names = {path.name for path in (files("generation.causal") / "prompts").iterdir()}
    languages = ("en", "ru", "zh")
    assert names == {f"{kind}{language}.toml" for kind in ("", "rewrite-") for language in languages}


FILE = """
name = "mine"
system = "Отвечай."
not_found = "没有"
[[examples]]
question = "Why?"
answer = "So."
"""


def test_a_template_is_read_from_toml_or_json(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(FILE, encoding="utf-8")
    template = read_prompt(tmp_path / "a.toml")
    assert template == PromptTemplate(
        name="mine", system="Отвечай.", not_found="没有", examples=(PromptExample("Why?", "So."),)
    )
    (tmp_path / "a.json").write_bytes(msgspec.json.encode(template))
    assert read_prompt(tmp_path / "a.json") == template


@pytest.mark.parametrize(
    "content",
    [b"name = ", b"\xff", b'name = "mine"', FILE.encode() + b"colour = 1", FILE.encode() + b"answer = 1"],
)
def test_a_file_that_is_no_template_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    for path in (tmp_path / "a.toml", tmp_path / "none.toml"):
        with pytest.raises(InvalidInput, match="cannot read the prompt"):
            read_prompt(path)


def test_a_template_of_a_file_is_checked(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(FILE.replace("[[", 'passage = "{text}"\n[['), encoding="utf-8")
    with pytest.raises(InvalidInput) as caught:
        read_prompt(tmp_path / "a.toml")
    assert caught.value.field == "prompt.passage"
