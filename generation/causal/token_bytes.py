"""The bytes that a token stands for, maybe a part of a character, for clients that ask for logprobs."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from tokenizers import Tokenizer

_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"


def token_bytes(tokenizer: Tokenizer) -> Callable[[int], bytes]:
    """A function from a token id to its bytes, for tokenizers of bytes (GPT-2's kind) and of SentencePiece's.

    An id that the tokenizer lacks, as in a padded vocabulary, has none.
    """
    added = {id_: token.content for id_, token in tokenizer.get_added_tokens_decoder().items()}
    kinds = set(_decoder_kinds(json.loads(tokenizer.to_str())["decoder"]))
    of_token = _of_byte_level if "ByteLevel" in kinds else _of_sentence_piece

    def convert(token_id: int) -> bytes:
        if token_id in added:
            return added[token_id].encode()
        token = tokenizer.id_to_token(token_id)
        return b"" if token is None else of_token(token)

    return convert


def _of_sentence_piece(token: str) -> bytes:
    byte = _FALLBACK.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(_SPACE, " ").encode()


def _of_byte_level(token: str) -> bytes:
    if all(letter in _BYTES for letter in token):
        return bytes(_BYTES[letter] for letter in token)
    return token.encode()


def _byte_letters() -> Iterator[tuple[str, int]]:
    """The letter that GPT-2's tokenizer writes for each byte: itself when it can be seen, else the next one
    from U+0100 on. Source: openai/gpt-2, src/encoder.py.
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in visible]
    yield from ((chr(byte), byte) for byte in visible)
    yield from ((chr(256 + index), byte) for index, byte in enumerate(hidden))


_BYTES = dict(_byte_letters())


def _decoder_kinds(decoder: dict[str, Any] | None) -> Iterator[str]:
    if decoder is not None:
        yield decoder["type"]
        for part in decoder.get("decoders", ()):
            yield from _decoder_kinds(part)
