"""From word pieces back to text, with the casing, accents and spacing of the passage they speak of."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from generation.sentences import split_sentences

Word = tuple[int, ...]  # the ids of its pieces
_INSIDE = "##"
_NO_SPACE_BEFORE = frozenset(".,;:!?%)]}'’-–/")
_NO_SPACE_BEHIND = frozenset("([{$£€#'’-–/")
_ABBREVIATION = re.compile(r"\b[^\W\d_]\.$")  # "U.S."
_QUOTES = frozenset('"“”')


def writable_ids(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Ids of all tokens that stand for text: not [SEP], [unused1] and the like."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    special = {token for token in vocabulary if len(token) > 2 and token[0] == "[" and token[-1] == "]"}
    return np.sort(np.asarray([i for token, i in vocabulary.items() if token not in special], dtype=np.int64))


def join_pieces(tokenizer: Tokenizer, ids: Sequence[int], passage: str, mark: str) -> str:
    """The text of word pieces about a passage, its first letter a capital, ending in `mark`.

    A word of the passage is written as there (a first word of a sentence in small letters, unless a name
    seems to begin it), and two words that stand together there are spaced as there.
    """
    known = _PassageWords(tokenizer, passage)
    text, quotes, before = "", 0, ""
    for previous, word in pairwise([(), *_words(tokenizer, ids)]):
        shown = known.surface(previous, word) or _spell(tokenizer, word)
        glued = known.glued.get((previous, word), _sticks(before, shown, text, quotes))
        text += shown if glued else " " + shown
        quotes += shown in _QUOTES
        before = shown
    text = text.rstrip(" " + mark).lstrip(" .,;:)-" + mark)
    if not _ABBREVIATION.search(text):
        text = text.rstrip(" .,;:-")
    text += mark
    return text[:1].upper() + text[1:]


class _PassageWords:
    """How the words of a passage are written. glued: whether no space is between two of them."""

    def __init__(self, tokenizer: Tokenizer, passage: str) -> None:
        encoding = tokenizer.encode(passage, add_special_tokens=False)
        words = list(_words(tokenizer, encoding.ids))
        ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        spans = [
            (encoding.offsets[end - len(word)][0], encoding.offsets[end - 1][1])
            for word, end in zip(words, ends.tolist(), strict=True)
        ]
        openings = {start for start, _ in split_sentences(passage)}
        self.glued: dict[tuple[Word, Word], bool] = {}
        self._behind: dict[tuple[Word, Word], str] = {}
        self._alone: dict[Word, str] = {}
        for i, (word, (start, end)) in enumerate(zip(words, spans, strict=True)):
            following = passage[slice(*spans[i + 1])] if i + 1 < len(spans) else ""
            if start not in openings or _begins_name(passage[start:end], following):
                self._note(words[i - 1] if i else (), word, passage[start:end])
            if i:
                self.glued.setdefault((words[i - 1], word), spans[i - 1][1] == start)

    def surface(self, previous: Word, word: Word) -> str | None:
        """As behind the same word there, else as anywhere; None for a word that is not in the passage."""
        return self._behind.get((previous, word)) or self._alone.get(word)

    def _note(self, previous: Word, word: Word, shown: str) -> None:
        self._behind.setdefault((previous, word), shown)
        if shown.islower() or word not in self._alone:
            self._alone[word] = shown


def _begins_name(first: str, second: str) -> bool:
    """Whether the first word of a sentence seems to be written with a capital anywhere."""
    return second[:1].isupper() or not first[1:].islower()


def _words(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[Word]:
    word: list[int] = []
    for token in ids:
        if word and not (tokenizer.id_to_token(token) or "").startswith(_INSIDE):
            yield tuple(word)
            word = []
        word.append(token)
    if word:
        yield tuple(word)


def _spell(tokenizer: Tokenizer, word: Word) -> str:
    return "".join((tokenizer.id_to_token(token) or "").removeprefix(_INSIDE) for token in word)


def _sticks(before: str, word: str, text: str, quotes: int) -> bool:
    """Whether two words that the passage does not show together stand without a space: English rules.

    text: all that stands before; quotes: marks in it.
    """
    if not text:
        return True
    if word in _QUOTES or before in _QUOTES:
        return quotes % 2 == 1
    inside_number = before in ",." and text[-2:-1].isdigit() and word.isdigit()
    return word in _NO_SPACE_BEFORE or before in _NO_SPACE_BEHIND or inside_number
