"""Citation marks in what a decoder writes: taken out of the text, so that only checked citations are told."""

import re

# As decoders write them: [1], [1, 2], [1][2], and in Chinese 【1】 and ［1］. A year in brackets is none.
_OPEN, _CLOSE, _COMMA = r"[\[【［]", r"[\]】］]", "[,，、;]"
_MARK = re.compile(rf"\s*{_OPEN}\s*(\d{{1,3}}(?:\s*{_COMMA}\s*\d{{1,3}})*)\s*{_CLOSE}")
_MAYBE_MARK = re.compile(rf"\s*(?:{_OPEN}(?:\d|\s|{_COMMA}){{0,40}})?\Z")


class MarkReader:
    """Splits a stream of text into text without marks, and the marks.

    text: what was told so far, without space at its head. marks: for each the offset in `text` that it stands
    at, and its number as the decoder wrote it.
    """

    def __init__(self) -> None:
        self.text = ""
        self.marks: list[tuple[int, int]] = []
        self._held = ""

    def push(self, piece: str) -> str:
        """Take the next piece and return what may be told: space and what may become a mark are held back."""
        self._held += piece
        told = ""
        while mark := _MARK.search(self._held):
            told += self._tell(self._held[: mark.start()])
            self.marks += [(len(self.text), int(number)) for number in re.findall(r"\d+", mark[1])]
            self._held = self._held[mark.end() :]
        maybe = _MAYBE_MARK.search(self._held)
        length = len(self._held) if maybe is None else maybe.start()
        told += self._tell(self._held[:length])
        self._held = self._held[length:] if self.text else self._held[length:].lstrip()
        return told

    def flush(self) -> str:
        """What is held back, at the end of the text, without the space behind it."""
        held, self._held = self._held.rstrip(), ""
        return self._tell(held)

    def _tell(self, piece: str) -> str:
        told = piece if self.text else piece.lstrip()
        self.text += told
        return told
