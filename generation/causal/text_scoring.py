"""Scores of texts, as the tokenizer cuts them: perplexity, bits per byte, continuations of a context."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from embeddings.errors import InvalidInput
from generation.causal.model import CausalModel
from generation.causal.scoring import SlotReader, TokenScorer
from generation.text_score import NOTHING_SCORED, TextScore


class TextScorer:
    """Scores texts with a decoder and its tokenizer.

    start_token: read before a continuation that has no context, as the LM evaluation harness does; None: such
    continuations are refused.
    """

    def __init__(self, scorer: TokenScorer, tokenizer: Tokenizer, start_token: int | None) -> None:
        self._scorer = scorer
        self._tokenizer = tokenizer
        self._start_token = start_token

    @classmethod
    def of(cls, model: CausalModel, context_tokens: int | None = None) -> "TextScorer":
        """A scorer that reads at most `context_tokens` at once; None: the model's context."""
        spec = model.spec
        context = min(context_tokens or spec.context_tokens, spec.context_tokens)
        scorer = TokenScorer(SlotReader(model, context), context, spec.vocabulary_size)
        start_token = spec.bos if spec.bos is not None else next(iter(spec.eos), None)
        return cls(scorer, model.tokenizer, start_token)

    def score_text(self, text: str, stride: int | None = None) -> TextScore:
        """Score a text of any length.

        The first token is not scored unless the tokenizer puts one before it that begins a text. stride: in
        tokens; None: half of the context.
        """
        encoding = self._tokenizer.encode(text)
        scores = self._scorer.score_windows(encoding.ids, stride or max(1, self._scorer.context_tokens // 2))
        if not len(scores):
            return NOTHING_SCORED
        scored = text[encoding.offsets[0][1] :]
        return TextScore(
            scores.logprob, len(scores), len(scored.encode()), len(scored), bool(scores.greedy.all())
        )

    def score_continuations(self, context: str, continuations: Sequence[str]) -> list[TextScore]:
        """Score texts that may follow `context`, which is read once for all of them.

        Blanks at the end of the context are counted to the continuations, which tokenizers expect to begin
        with one. A context that is too long loses its beginning.
        Raises InvalidInput for an empty continuation, or one longer than the decoder reads.
        Source: Gao et al., LM evaluation harness (`TemplateLM._encode_pair`).
        """
        kept = context.rstrip()
        blanks = context[len(kept) :]
        if not all(continuations):
            raise InvalidInput("a choice is empty", field="choices", found="an empty text", expected="a text")
        pairs = [self._encode_pair(kept, blanks + text) for text in continuations]
        cut = self._overlong(pairs)
        scores = self._scorer.score_continuations(
            [ids[cut:] for ids, _ in pairs], [first - cut for _, first in pairs]
        )
        return [
            TextScore(
                each.logprob, len(each), len(text.encode()), len(text), bool(each.greedy.all()), cut > 0
            )
            for each, text in zip(scores, continuations, strict=True)
        ]

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], int]:
        """All token ids, and the index of the first that belongs to the continuation."""
        ids: list[int] = self._tokenizer.encode(context + continuation).ids
        first = min(len(self._tokenizer.encode(context).ids), len(ids) - 1)
        return (ids, first) if first > 0 else ([self._required_start(), *ids], 1)

    def _required_start(self) -> int:
        if self._start_token is None:
            raise InvalidInput(
                "nothing stands before the continuation, and the decoder has no token that begins a text",
                field="context",
                found="an empty context",
                expected="a context",
            )
        return self._start_token

    def _overlong(self, pairs: Sequence[tuple[list[int], int]]) -> int:
        """How many tokens at the beginning have to go so that the longest fits."""
        context = self._scorer.context_tokens
        cut = max(0, max(len(ids) for ids, _ in pairs) - context)
        if cut >= min(first for _, first in pairs):
            longest = max(len(ids) - first for ids, first in pairs)
            raise InvalidInput(
                f"a continuation of {longest} tokens does not fit into a context of {context}",
                field="choices",
                found=f"{longest} tokens",
                expected=f"fewer than {context} tokens",
            )
        return cut
