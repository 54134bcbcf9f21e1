"""What the bundled decoder is trained with: the layout, the settings, what training never sees."""

import zlib
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from generation.prompt import PromptLayout
from training.decoder_data import QaRecord, load_records

# Ids of BERT's uncased vocabulary; [unused0] is 1. The markers stand for passage numbers.
LAYOUT = PromptLayout(
    start=101,
    separator=102,
    begin=10,
    begin_sentences=12,
    begin_question=13,
    ask=14,
    refuse=11,
    accept=15,
    passage_tokens=(1, 2, 3, 4, 5, 6, 7, 8),
    answer_position=448,
    max_question_tokens=64,
    max_answer_tokens=160,
)
# Sets with an open licence only: the weights are shipped.
SPAN_FILES = ("squad/train.jsonl.gz", "nq_gold/train.jsonl.gz", "fairytaleqa/train.jsonl.gz")
# Never trained on: the graph's gate and the confidence are measured on them.
HELD_OUT_GROUPS = frozenset({"Chloroplast", "Steam_engine"})
_HELD_OUT_REMAINDER = 8  # no further article of SQuAD has it
_HELD_OUT_SHARE = 16  # one in so many of the other groups


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """batch_tokens: padded tokens a step."""

    batch_tokens: int = 4096
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    seed: int = 7
    checkpoint_every: int = 200


def held_out(group: str) -> bool:
    """Whether training must not see the group (article, page or story)."""
    return group in HELD_OUT_GROUPS or zlib.crc32(group.encode()) % _HELD_OUT_SHARE == _HELD_OUT_REMAINDER


def held_out_records(data: Path) -> list[QaRecord]:
    """Questions that training never sees, in the order of the files."""
    return [record for record in _records(data) if held_out(record.group)]


def trained_on(data: Path) -> list[QaRecord]:
    """The questions of people that training sees, in the order of the files."""
    return [record for record in _records(data) if not held_out(record.group)]


def _records(data: Path) -> list[QaRecord]:
    return [record for name in SPAN_FILES for record in load_records(existing(data, name))]


def existing(data: Path, name: str) -> Path:
    """The path of a set. Raises FileNotFoundError."""
    if not (data / name).is_file():
        raise FileNotFoundError(f"{data / name} is missing; point --data at the folder of training sets")
    return data / name


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a model folder, without the padding and truncation that its file may carry."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
