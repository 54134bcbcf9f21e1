"""How close generated texts come to references, as machine translation measures it."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

from embeddings.errors import FootnoteError

# sacrebleu's names: 13a is mteval's of the WMT tasks; zh cuts Chinese into characters; char cuts every
# script so; none takes texts that are words and blanks already.
BleuTokenizer = Literal["13a", "zh", "char", "none"]


def corpus_bleu(
    predictions: Sequence[str], references: Sequence[Sequence[str]], tokenizer: BleuTokenizer
) -> float:
    """BLEU of all predictions together, 0 to 100. Raises FootnoteError without sacrebleu.

    Source: Papineni et al., ACL 2002, as computed by Post, WMT 2018 (sacrebleu).
    """
    most = max(map(len, references))
    # sacrebleu wants the first references of all, then the second of all; None where one has fewer.
    streams = [[row[place] if place < len(row) else None for row in references] for place in range(most)]
    score: float = sacrebleu().corpus_bleu(list(predictions), streams, tokenize=tokenizer).score
    return score


def sacrebleu() -> Any:
    """The library. Raises FootnoteError where it is not installed."""
    try:
        return import_module("sacrebleu")
    except ImportError as error:
        raise FootnoteError(
            "measuring generated texts needs the library sacrebleu",
            found="it is not installed",
            expected="the extra `eval`",
            next_step="pip install 'footnote[eval]'",
        ) from error
