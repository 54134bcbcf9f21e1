"""Text to token ids, with the model's prompt and within its length; never cut without saying so."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embeddings.errors import InvalidInput

TokenIds = NDArray[np.int32]
Keep = Literal["start", "end"]

# Footnote asks for these two of any model; one that was trained without prompts has neither.
ROLES = ("query", "passage")
# Texts tokenised at a time: a tokenizer's result is some 50 times larger than the ids kept of it.
_WINDOW = 512
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """What the graph is given of a text.

    ids: with prompt and special tokens, cut to the model's length; count: tokens before the cut.
    """

    ids: TokenIds
    count: int

    @property
    def truncated(self) -> bool:
        """Whether the model sees only a part of the text."""
        return self.count > len(self.ids)


class TextTokenizer:
    """A model's tokenizer, with its prompts and its length. Safe to share between threads."""

    def __init__(self, tokenizer: Tokenizer, prompts: Mapping[str, str], max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._prompts = prompts
        self._max_tokens = max_tokens
        self._leading, self._trailing = _special_tokens(tokenizer)

    def tokenize(self, texts: Sequence[str], prompt: str, keep: Keep) -> list[TokenizedText]:
        """Token ids of each text, in the order given.

        prompt: a name among the model's prompts, "query", "passage", or "" for none; keep: which end of an
        over-long text the model gets to see.
        Raises InvalidInput for an unknown prompt name.
        """
        prefix = self._prefix(prompt)
        return [self._fit(ids, keep) for ids in self._ids([prefix + without_surrogates(t) for t in texts])]

    def _prefix(self, prompt: str) -> str:
        if prompt in self._prompts:
            return self._prompts[prompt]
        if prompt and prompt not in ROLES:
            known = ", ".join(sorted({*self._prompts, *ROLES}))
            raise InvalidInput(
                f"the model has no prompt {prompt!r}", field="prompt", found=prompt, expected=known
            )
        return ""

    def _ids(self, texts: list[str]) -> Iterator[TokenIds]:
        for start in range(0, len(texts), _WINDOW):
            for encoding in self._tokenizer.encode_batch_fast(texts[start : start + _WINDOW]):
                yield np.asarray(encoding.ids, dtype=np.int32)

    def _fit(self, ids: TokenIds, keep: Keep) -> TokenizedText:
        if len(ids) <= self._max_tokens:
            return TokenizedText(ids, len(ids))
        # A view of the whole would keep a book in memory for its first page; concatenate copies.
        cut = self._max_tokens - (self._trailing if keep == "start" else self._leading)
        parts = (ids[:cut], ids[len(ids) - self._trailing :])
        if keep == "end":
            parts = (ids[: self._leading], ids[len(ids) - cut :])
        return TokenizedText(np.concatenate(parts), len(ids))


def read_tokenizer(path: Path) -> Tokenizer:
    """Open a tokenizer.json so that it neither cuts nor pads, whatever the file asks for."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def without_surrogates(text: str) -> str:
    """Lone surrogates, which no UTF-8 can carry and the tokenizer refuses, become U+FFFD; lengths stay."""
    return _SURROGATES.sub("\ufffd", text)


def _special_tokens(tokenizer: Tokenizer) -> tuple[int, int]:
    """How many special tokens the tokenizer puts before and after a text."""
    mask = tokenizer.encode("a").special_tokens_mask
    first = mask.index(0) if 0 in mask else len(mask)
    last = mask[::-1].index(0) if 0 in mask else 0
    return first, last
