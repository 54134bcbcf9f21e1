"""Answers drawn from random logits under a constraint are what the constraint says."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from embeddings.errors import InvalidInput
from generation.causal.choosing import TokenChooser
from generation.causal.constraints import Constraint, ConstraintCompiler
from generation.sampling import SamplingSettings
from tests.generation.causal.small_tokenizers import SENTENCES, byte_fallback, byte_level, metaspace

COLUMNS = 512  # more than the tokenizers have tokens, as padded output layers do
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "height": {"type": "integer", "minimum": -5, "maximum": 900},
        "tags": {"type": "array", "items": {"enum": ["башня", "塔", 'a"b']}, "maxItems": 3},
        "open": {"type": ["boolean", "null"]},
    },
    "required": ["name", "height", "tags"],
    "additionalProperties": False,
}


def compiler() -> ConstraintCompiler:
    return ConstraintCompiler(byte_level(), COLUMNS, [0])


def write(
    constraint: Constraint, seed: int, tokenizer: Tokenizer, eos: int = 0, max_tokens: int = 400
) -> str:
    """Sample from random logits until the end; the end and closing characters are made likely, so that there
    is one.
    """
    rng = np.random.default_rng(seed)
    chooser = TokenChooser(SamplingSettings(temperature=1.0, seed=seed), [])
    closing = [eos, *(tokenizer.token_to_id(each) for each in '"}]' if tokenizer.token_to_id(each))]
    token_ids: list[int] = []
    while not constraint.finished:
        assert len(token_ids) < max_tokens
        logits = rng.normal(0, 2, COLUMNS).astype(np.float32)
        logits[closing] += 3
        chosen = chooser.choose(logits, constraint.mask()).token_id
        constraint.accept(chosen)
        token_ids += [chosen] * (chosen != eos)
    return str(tokenizer.decode(token_ids))


def accept_all(constraint: Constraint, token_ids: Sequence[int]) -> None:
    for token_id in token_ids:
        constraint.mask()
        constraint.accept(token_id)


@pytest.mark.parametrize("seed", range(12))
def test_an_answer_under_a_schema_is_valid(seed: int) -> None:
    found = json.loads(write(compiler().json_schema(SCHEMA), seed, byte_level()))
    assert list(found)[:3] == ["name", "height", "tags"]
    assert set(found) <= set(SCHEMA["properties"])
    assert isinstance(found["name"], str)
    assert len(found["name"]) <= 12
    assert isinstance(found["height"], int)
    assert -5 <= found["height"] <= 900
    assert len(found["tags"]) <= 3
    assert set(found["tags"]) <= {"башня", "塔", 'a"b'}
    assert found.get("open") in {True, False, None}


@pytest.mark.parametrize("seed", range(8))
def test_a_json_object_parses(seed: int) -> None:
    assert isinstance(json.loads(write(compiler().json_object(), seed, byte_level())), dict)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "pattern",
    [
        r"[a-c]{2,5}-[0-9]+",
        r"(да|нет|是|否)[.!]?",
        r"[0-9]{4}/[01]?[0-9]/\S",
        r"[一-龥]{1,6}。",
        r"yes",
        r"a*",
    ],
)
def test_a_text_under_a_pattern_matches_all_of_it(pattern: str, seed: int) -> None:
    assert re.fullmatch(pattern, write(compiler().regex(pattern), seed, byte_level()))


def test_every_choice_is_written_and_nothing_else() -> None:
    choices = ["yes", "no", "не знаю", "不知道", 'a "quoted" one\n', "yes and no"]
    written = {write(compiler().choice(choices), seed, byte_level()) for seed in range(80)}
    assert written == set(choices)


MARKS = ["[1]", "[2]", "[3]", "[4]"]
_CITED = re.compile(r"\A ?(?:(?P<span>.+?) \[(?P<number>\d)\])(?:[ \n]|\Z)", re.DOTALL)


def cited_spans(answer: str) -> list[tuple[str, int]]:
    """(span, number of its mark) from an answer; all of it must be such."""
    spans = []
    while answer:
        match = _CITED.match(answer)
        assert match, answer
        spans.append((match["span"], int(match["number"])))
        answer = answer[match.end() :]
    return spans


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
@pytest.mark.parametrize("seed", range(6))
def test_grounded_text_is_spans_of_the_passages_each_with_its_own_mark(
    make: Callable[[], Tokenizer], seed: int
) -> None:
    tokenizer, eos = make(), 1 if make is byte_fallback else 0
    constraint = ConstraintCompiler(tokenizer, COLUMNS, [eos]).grounded(SENTENCES, MARKS)
    answer = write(constraint, seed, tokenizer, eos=eos, max_tokens=3_000)
    spans = cited_spans(answer)
    assert spans
    for span, number in spans:
        assert span in SENTENCES[number - 1]
        assert span == span.strip()
        assert re.search(r"\w", span)
        if number <= 2:  # English and Russian: no span begins or ends within a word
            edges = [r"\b" * each.isalnum() for each in (span[0], span[-1])]
            assert re.search(edges[0] + re.escape(span) + edges[1], SENTENCES[number - 1])


@pytest.mark.parametrize("passage", SENTENCES)
def test_a_whole_passage_and_any_word_of_it_may_be_told(passage: str) -> None:
    tokenizer = byte_level()
    words = re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", passage)
    for span in (passage, words[0], words[-1]):
        constraint = compiler().grounded(["nothing here", passage], ["[a]", "[b]"])
        accept_all(constraint, [*tokenizer.encode(f"{span} [b]").ids, 0])
        assert constraint.finished


@pytest.mark.parametrize(
    "wrong", ["tower in Rome [1]", "tower in Paris [2]", "ower [1]", " [1]", ", [1]", "[1]"]
)
def test_what_stands_in_no_passage_or_has_no_mark_of_its_own_cannot_be_told(wrong: str) -> None:
    constraint = compiler().grounded(SENTENCES[:2], MARKS[:2])
    with pytest.raises(ValueError, match="not allowed here"):
        accept_all(constraint, [*byte_level().encode(wrong).ids, 0])


def test_a_passage_that_holds_its_own_mark_may_be_cited_on_both_sides_of_it() -> None:
    constraint = compiler().grounded(["one [1] two"], ["[1]"])
    answer = "one [1] two [1] one [1] two [1]\none [1] [1]"
    accept_all(constraint, [*byte_level().encode(answer).ids, 0])
    assert constraint.finished


@pytest.mark.parametrize("language", ["ab", "ия", "中文"])
def test_many_long_passages_make_one_constraint(language: str) -> None:
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list(language + "xyz"), 6)) for _ in range(200)]
    passages = [" ".join(rng.choice(words, 110)) for _ in range(20)]
    constraint = compiler().grounded(passages, [f"[{place + 1}]" for place in range(20)])
    accept_all(constraint, [*byte_level().encode(f"{passages[19]} [20]").ids, 0])
    assert constraint.finished


def test_a_pattern_that_outgrows_the_automaton_is_given_up_with_an_error() -> None:
    constraint = compiler().regex("(.{1,500}a){500}")
    with pytest.raises(InvalidInput, match="too many"):
        accept_all(constraint, byte_level().encode("ab" * 200).ids)


def test_passages_may_hold_quotes_backslashes_newlines_and_grammar() -> None:
    passage = 'He said "no\\way" /x/ | y\n\tstart: z {a} %regex 😀 end'
    tokenizer = byte_level()
    constraint = compiler().grounded([passage], ["[1]"])
    accept_all(constraint, tokenizer.encode(passage + " [1]").ids)
    assert constraint.mask()[0]


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "nope"}, "nope"),
        ({"type": "string", "pattern": "(a"}, "unclosed"),
        ({"type": "object", "properties": {"a": {"$ref": "#/missing"}}}, "missing"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ],
)
def test_a_schema_that_cannot_be_enforced_says_why(schema: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput, match=named) as raised:
        compiler().json_schema(schema)
    assert raised.value.field == "json_schema"


@pytest.mark.parametrize(
    ("pattern", "named"), [("[a-c", "unclosed"), (r"(a)\1", "backreference"), (r"(?=a)b", "look")]
)
def test_a_pattern_that_is_wrong_says_why(pattern: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named) as raised:
        compiler().regex(pattern)
    assert raised.value.field == "regex"


@pytest.mark.parametrize("choices", [[], ["a", ""], ["x"] * 1001])
def test_choices_that_are_none_or_empty_or_too_many_are_refused(choices: Sequence[str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        compiler().choice(choices)
    assert raised.value.field == "choice"


@pytest.mark.parametrize(("passages", "marks"), [([], []), (["...", " "], MARKS[:2]), (["text"], MARKS)])
def test_passages_without_words_or_marks_are_refused(passages: list[str], marks: list[str]) -> None:
    with pytest.raises(InvalidInput) as raised:
        compiler().grounded(passages, marks)
    assert raised.value.field == "passages"


def test_when_finished_only_an_end_token_may_follow() -> None:
    constraint = ConstraintCompiler(byte_level(), COLUMNS, [0, 5]).choice(["ab"])
    for token_id in byte_level().encode("ab").ids:
        assert not constraint.finished
        constraint.accept(token_id)
    assert constraint.finished
    assert np.flatnonzero(constraint.mask()).tolist() == [0, 5]
    constraint.accept(5)
    assert constraint.finished


def test_every_end_token_may_end_an_answer_and_none_may_cut_it() -> None:
    constraint = ConstraintCompiler(byte_level(), COLUMNS, [0, 5]).regex("a+")
    assert not constraint.mask()[[0, 5]].any()
    constraint.accept(byte_level().token_to_id("a"))
    assert constraint.mask()[[0, 5]].all()
    assert not constraint.finished
    constraint.accept(0)
    assert constraint.finished


def test_a_copy_goes_its_own_way() -> None:
    first = compiler().choice(["ab", "ac"])
    a, b, c = (byte_level().token_to_id(each) for each in "abc")
    first.accept(a)
    second = first.copy()
    first.accept(b)
    assert first.finished
    assert not second.finished
    assert second.mask()[[b, c]].all()


def test_columns_beyond_the_tokenizer_are_never_allowed() -> None:
    mask = compiler().regex("(?s:.)*").mask()
    assert mask.shape == (COLUMNS,)
    assert not mask[byte_level().get_vocab_size() :].any()


def test_sentencepiece_tokens_with_their_blanks_can_be_constrained() -> None:
    tokenizer = metaspace()
    constraint = ConstraintCompiler(tokenizer, COLUMNS, [0]).grounded(SENTENCES, MARKS)
    accept_all(constraint, tokenizer.encode("Башня в Париже").ids)
    allowed = {tokenizer.id_to_token(token_id) for token_id in np.flatnonzero(constraint.mask())}
    assert {"▁", "▁в"} <= allowed
    assert not any("б" in token for token in allowed)


def test_a_tokenizer_of_whole_words_cannot_be_constrained() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "</s>": 2}, unk_token="b"))
    with pytest.raises(InvalidInput, match="cannot be constrained"):
        ConstraintCompiler(words, 3, [2]).regex("a b")


def test_the_library_is_loaded_with_the_first_constraint_only() -> None:
    script = (
        "import sys\n"
        "from generation.causal.constraints import ConstraintCompiler\n"
        "from tests.generation.causal.small_tokenizers import byte_level\n"
        "before = 'llguidance' in sys.modules\n"
        "ConstraintCompiler(byte_level(), 512, [0]).regex('a')\n"
        "print(before, 'llguidance' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.split() == ["False", "True"]
