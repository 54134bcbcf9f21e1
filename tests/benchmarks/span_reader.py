"""The span extractor as a reader."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer

from generation.sampling import SamplingSettings
from generation.types import Passage, Reading
from tests.benchmarks.answer_baselines import PASSAGE_LIMIT, reading_of
from tests.benchmarks.span_extractor import CHECKPOINT
from tests.benchmarks.span_windows import Window, collate, cut_windows
from training.minilm import minilm_directory

MAX_ANSWER_TOKENS = 30
BATCH_WINDOWS = 8


class SpanReader:
    """Answers with the likeliest span, as sure as that is likelier than no answer.

    Source: Devlin et al., NAACL 2019: the difference of span and null score, the lowest null of all windows.
    """

    model_id = "minilm-span-extractor@baseline"
    passage_limit = PASSAGE_LIMIT

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer

    @classmethod
    def load(cls, checkpoints: Path) -> "SpanReader":
        """The last checkpoint of a run. Raises FileNotFoundError."""
        model = AutoModelForQuestionAnswering.from_config(AutoConfig.from_pretrained(minilm_directory()))
        model.load_state_dict(torch.load(checkpoints / CHECKPOINT, weights_only=True)["model"])
        return cls(model, AutoTokenizer.from_pretrained(minilm_directory()))

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        windows = cut_windows(self._tokenizer, question, [passage.text for passage in passages])
        null, best, chosen = math.inf, -math.inf, (0, 0, 0)
        for first in range(0, len(windows), BATCH_WINDOWS):
            batch = windows[first : first + BATCH_WINDOWS]
            with torch.inference_mode():
                output = self._model(**collate(batch))
            for window, starts, ends in zip(batch, output.start_logits, output.end_logits, strict=True):
                null = min(null, float(starts[0] + ends[0]))
                score, span = best_span(window, starts, ends)
                if span is not None and score > best:
                    best, chosen = score, (window.passage, *span)
        place, start, end = chosen
        sure = (
            0.0 if best == -math.inf else float(torch.sigmoid(torch.tensor(best - null, dtype=torch.float64)))
        )
        yield reading_of(passages[place] if end else None, start, end, sure, refuse_below)


def best_span(window: Window, starts: Tensor, ends: Tensor) -> tuple[float, tuple[int, int] | None]:
    """The highest sum of logits of a span in the passage, and its code points; None without a passage."""
    inside = [place for place, offset in enumerate(window.offsets) if offset is not None]
    if not inside:
        return -math.inf, None
    first, last = inside[0], inside[-1] + 1
    sums = starts[first:last, None] + ends[None, first:last]
    allowed = torch.ones_like(sums, dtype=torch.bool).triu().tril(MAX_ANSWER_TOKENS - 1)
    flat = int(sums.masked_fill(~allowed, -math.inf).argmax())
    start, end = first + flat // sums.shape[1], first + flat % sums.shape[1]
    begins, ended = window.offsets[start], window.offsets[end]
    if begins is None or ended is None:
        raise ValueError("a token inside the passage has no offsets")
    return float(sums.flatten()[flat]), (begins[0], ended[1])
