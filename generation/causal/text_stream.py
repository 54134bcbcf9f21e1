"""A growing answer's tokens as text that may be told."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from generation.sampling import StopMatcher

_UNFINISHED = "\ufffd"  # what a decoder of bytes writes for a character of which bytes are missing
# A character has at most 4 bytes. Longer runs of unfinished ones are not text, but the leavings of a model
# that writes broken bytes; they are told as they are rather than held for ever.
_MAX_HELD_TOKENS = 32


class TextStream:
    """Turns token ids into text, piece by piece: never half a character, never part of a stop sequence.

    The pieces add up to what the tokenizer makes of all ids together, special tokens left out, except that
    nothing from a stop sequence on is told. A tokenizer's rule for the beginning of a text, such as the blank
    that SentencePiece strips, is applied once, at the first token.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._matcher = StopMatcher(stop)
        self._window: list[int] = []  # the last piece's tokens, for their context, and those still held
        self._told = ""  # what the window's tokens have given so far
        self._piece_start = 0  # where in the window the last piece's successors begin

    @property
    def stopped(self) -> bool:
        """True once a stop sequence is complete."""
        return self._matcher.stopped

    def push(self, token_id: int) -> str:
        """Take the next token and return the text that may be told now, often empty."""
        self._window.append(token_id)
        text = self._decode(self._window)
        whole = text.rstrip(_UNFINISHED)
        if len(self._window) - self._piece_start > _MAX_HELD_TOKENS:
            whole = text
        piece = whole[len(self._told) :]
        if piece:
            self._told = whole
        if piece and whole == text:
            self._shorten()
        return self._matcher.push(piece)

    def flush(self) -> str:
        """Return what is still held, at the end of the answer; an unfinished character becomes U+FFFD."""
        piece = self._decode(self._window)[len(self._told) :]
        self._told += piece
        return self._matcher.push(piece) + ("" if self.stopped else self._matcher.flush())

    def _shorten(self) -> None:
        """Keep only the last piece as context: its text keeps the next token from looking like the first."""
        latest = self._window[self._piece_start :]
        context = self._decode(latest)
        readable = context and not context.startswith(_UNFINISHED)
        if readable or len(self._window) > 4 * _MAX_HELD_TOKENS:
            self._window, self._told = latest, context
        self._piece_start = len(self._window)

    def _decode(self, token_ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=True))
