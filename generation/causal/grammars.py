"""Grammars of the answers that may be written, in the Lark dialect of llguidance."""

import json
import re
from collections.abc import Sequence

# Han, kana, bopomofo, Thai, Lao, Khmer and Burmese are written without blanks between words, so there a span
# may begin and end at any character; elsewhere only at the edge of a word.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_CHUNK = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|\s|[^\w\s]")
# A span begins and ends with something to see, and holds at least one letter or digit.
_SPAN = r"/\S((?s:.)*\S)?/ & /(?s:.)*\w(?s:.)*/"


def grounded_grammar(passages: Sequence[str], marks: Sequence[str]) -> str:
    """Lark grammar of an answer: one or more spans, each followed by a blank and the mark of its passage.

    A blank or a newline separates them, and one blank may come first. A passage without a letter or digit
    gives no span. Raises ValueError when that leaves none, or when there are not as many marks as passages.
    """
    readable = [pair for pair in zip(passages, marks, strict=True) if re.search(r"\w", pair[0])]
    if not readable:
        raise ValueError("no passage holds a word")
    # One terminal for all: between terminals llguidance never goes back, so a blank after a word would always
    # be taken for the passage's next one, and no span could end there.
    rules = [
        "start: ANSWER",
        'ANSWER: " "? PIECE (("\\n" | " ") PIECE)*',
        f"PIECE: {' | '.join(f'PIECE{i}' for i in range(len(readable)))}",
    ]
    for i, (passage, mark) in enumerate(readable):
        chunks = json.dumps({"substring_chunks": _CHUNK.findall(passage)}, ensure_ascii=False)
        rules += [f"PIECE{i}: SPAN{i} {quote(' ' + mark)}", f"SPAN{i}: PASSAGE{i} & {_SPAN}"]
        rules += [f"PASSAGE{i}: %regex {chunks}"]
    return "\n".join(rules)


def choice_grammar(choices: Sequence[str]) -> str:
    """Lark grammar of exactly one of the texts."""
    return f"start: {' | '.join(quote(choice) for choice in choices)}"


def quote(text: str) -> str:
    """A Lark literal."""
    return json.dumps(text, ensure_ascii=False)
