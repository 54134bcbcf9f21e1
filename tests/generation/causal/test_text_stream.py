"""Text is told as soon as it is certain, and no sooner."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from generation.causal.text_stream import TextStream
from tests.generation.causal.small_tokenizers import SENTENCES, byte_fallback, byte_level, metaspace

TEXTS = [
    *SENTENCES,
    "Emoji 👩‍🚀 and 🇫🇷, é and e\u0301.",
    "две  строки\n\n第二行  ",
    "a" * 200,
]
MakeTokenizer = Callable[[], Tokenizer]
ALL_BYTES: list[MakeTokenizer] = [byte_level, byte_fallback]


def pieces(tokenizer: Tokenizer, token_ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    stream = TextStream(tokenizer, stop)
    return [*map(stream.push, token_ids), stream.flush()]


@pytest.mark.parametrize("make", ALL_BYTES)
@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_of_any_text_add_up_to_it_and_hold_no_half_character(
    make: MakeTokenizer, text: str
) -> None:
    told = pieces(make(), make().encode(text).ids)
    assert "".join(told) == text
    assert not any("\ufffd" in piece for piece in told)


@pytest.mark.parametrize("text", SENTENCES)
def test_the_blank_before_the_first_word_alone_is_left_out(text: str) -> None:
    told = pieces(metaspace(), metaspace().encode(text).ids)
    assert "".join(told) == text
    assert not told[0].startswith(" ")


@pytest.mark.parametrize("make", ALL_BYTES)
@settings(deadline=None)
@given(text=st.text(st.sampled_from("ab .é中🇷яЮ\n"), max_size=30))
def test_random_texts_round_trip(make: MakeTokenizer, text: str) -> None:
    assert "".join(pieces(make(), make().encode(text).ids)) == text


def test_each_word_is_told_at_once() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("The tower is tall").ids
    assert pieces(tokenizer, ids) == [*(tokenizer.decode([i]) for i in ids), ""]


@pytest.mark.parametrize("make", ALL_BYTES)
def test_the_bytes_of_an_emoji_are_held_until_the_last(make: MakeTokenizer) -> None:
    tokenizer = make()
    ids = tokenizer.encode("a😀").ids[-4:]
    assert tokenizer.decode(ids) == "😀"
    assert pieces(tokenizer, ids) == ["", "", "", "😀", ""]


@pytest.mark.parametrize("make", ALL_BYTES)
def test_a_character_that_is_never_finished_is_told_at_the_end(make: MakeTokenizer) -> None:
    tokenizer = make()
    ids = tokenizer.encode("ok 😀").ids[:-1]
    told = pieces(tokenizer, ids)
    assert "".join(told[:-1]) == "ok "
    assert set(told[-1]) == {"\ufffd"}


@pytest.mark.parametrize("make", ALL_BYTES)
def test_broken_bytes_are_not_held_for_ever(make: MakeTokenizer) -> None:
    tokenizer = make()
    broken = tokenizer.encode("😀").ids[-1]
    told = pieces(tokenizer, [broken] * 40 + tokenizer.encode("a").ids)
    assert "\ufffd" in "".join(told[:40])
    assert "".join(told).rstrip("\ufffd").endswith("a")


def test_special_tokens_are_no_text() -> None:
    tokenizer = byte_level()
    assert "".join(pieces(tokenizer, [0, *tokenizer.encode("tower").ids, 0])) == "tower"


@pytest.mark.parametrize("make", [byte_level, byte_fallback, metaspace])
def test_a_stop_sequence_over_several_tokens_is_not_told(make: MakeTokenizer) -> None:
    tokenizer = make()
    stream = TextStream(tokenizer, ("is 330",))
    told = [stream.push(token_id) for token_id in tokenizer.encode(SENTENCES[0]).ids]
    assert "".join(told) + stream.flush() == "The tower in Paris "
    assert stream.stopped


def test_a_stop_sequence_of_chinese_counts_from_its_first_byte() -> None:
    tokenizer = byte_level()
    assert (
        "".join(pieces(tokenizer, tokenizer.encode(SENTENCES[2]).ids, ("，建",))) == "巴黎的铁塔高三百三十米"
    )


def test_the_beginning_of_a_stop_sequence_is_told_when_the_answer_ends_there() -> None:
    tokenizer = byte_level()
    told = pieces(tokenizer, tokenizer.encode("tall, and").ids, ("and it",))
    assert "".join(told) == "tall, and"
    assert told[-1] == "and"
