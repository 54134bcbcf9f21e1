import pytest
from tokenizers import Tokenizer

from generation.causal.token_bytes import token_bytes
from tests.generation.causal.small_tokenizers import SENTENCES, byte_fallback, byte_level, metaspace


@pytest.mark.parametrize("text", [*SENTENCES, "é — 😀 \n\t x"])
@pytest.mark.parametrize(("tokenizer", "begin"), [(byte_level(), ""), (byte_fallback(), " ")])
def test_the_bytes_of_the_tokens_are_those_of_the_text(tokenizer: Tokenizer, begin: str, text: str) -> None:
    data_of = token_bytes(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert b"".join(map(data_of, ids)) == (begin + text).encode()


@pytest.mark.parametrize("text", SENTENCES)
def test_a_blank_before_a_word_belongs_to_its_token(text: str) -> None:
    tokenizer = metaspace()
    data_of = token_bytes(tokenizer)
    assert b"".join(data_of(token_id) for token_id in tokenizer.encode(text).ids) == f" {text}".encode()


def test_special_and_unknown_ids_have_their_own_text_and_none() -> None:
    data_of = token_bytes(byte_level())
    assert data_of(0) == b"<|end|>"
    assert data_of(100_000) == b""
