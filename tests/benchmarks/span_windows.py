"""Questions with their passages as windows of tokens, the way transformers' own question answering cuts them.

Source: Devlin et al., NAACL 2019 (windows with a stride; no answer is a span at [CLS]).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from training.decoder_data import QaRecord

MAX_TOKENS = 384
STRIDE_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Window:
    """A question with a part of a passage. ids, types: (n,) for the model; offsets: code points of the
    passage for each token, None outside of it. passage: index of the passage; start, end: token span to
    learn, both 0 (at [CLS]) where the part does not hold the whole answer.
    """

    ids: list[int]
    types: list[int]
    offsets: list[tuple[int, int] | None]
    passage: int = 0
    start: int = 0
    end: int = 0

    def __len__(self) -> int:
        return len(self.ids)


def cut_windows(tokenizer: Any, question: str, passages: Sequence[str]) -> list[Window]:
    """All windows of a question's passages. tokenizer: a fast one of transformers."""
    encoded = tokenizer(
        [question.strip()] * len(passages),
        list(passages),
        truncation="only_second",
        max_length=MAX_TOKENS,
        stride=STRIDE_TOKENS,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    windows = []
    for row, passage in enumerate(encoded["overflow_to_sample_mapping"]):
        inside = [part == 1 for part in encoded.sequence_ids(row)]
        pairs = zip(encoded["offset_mapping"][row], inside, strict=True)
        offsets = [tuple(offset) if within else None for offset, within in pairs]
        windows.append(Window(encoded["input_ids"][row], encoded["token_type_ids"][row], offsets, passage))
    return windows


def training_windows(tokenizer: Any, records: Iterable[QaRecord]) -> Iterator[Window]:
    """The windows of some records with their first answer as the span to learn."""
    for record in records:
        for window in cut_windows(tokenizer, record.question, [record.context]):
            start, end = _token_span(window, record.answers[0]) if record.answers else (0, 0)
            yield replace(window, start=start, end=end)


def _token_span(window: Window, answer: tuple[int, int]) -> tuple[int, int]:
    """First and last token of the answer; (0, 0) where it is not whole in the window."""
    text = [(place, offset) for place, offset in enumerate(window.offsets) if offset is not None]
    if not text or text[0][1][0] > answer[0] or text[-1][1][1] < answer[1]:
        return 0, 0
    touched = [place for place, offset in text if offset[0] < answer[1] and offset[1] > answer[0]]
    return (touched[0], touched[-1]) if touched else (0, 0)


def collate(windows: Sequence[Window]) -> dict[str, Tensor]:
    """Padded tensors (batch, longest) for the model."""
    longest = max(map(len, windows))

    def padded(rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])

    return {
        "input_ids": padded([window.ids for window in windows]),
        "token_type_ids": padded([window.types for window in windows]),
        "attention_mask": padded([[1] * len(window) for window in windows]),
    }
