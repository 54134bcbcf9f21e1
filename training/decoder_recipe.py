"""What the bundled decoder is trained on and how: the layout, the sets, the schedule."""

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
    refuse=11,
    passage_tokens=(1, 2, 3, 4, 5, 6, 7, 8),
    answer_position=448,
    max_question_tokens=64,
    max_answer_tokens=60,
)
# Sets with an open licence only: the weights are shipped.
TRAINING_FILES = ("squad/train.jsonl.gz", "nq_gold/train.jsonl.gz", "fairytaleqa/train.jsonl.gz")
# Two articles that training never sees: the int8 graph is compared with fp32 on them.
HELD_OUT_GROUPS = frozenset({"Chloroplast", "Steam_engine"})


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """steps: optimiser steps in all; batch_tokens: padded tokens a step; rates: peak learning rates."""

    steps: int = 2000
    batch_tokens: int = 4096
    learning_rate: float = 2.5e-4
    head_learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    dropout: float = 0.1
    seed: int = 7
    checkpoint_every: int = 200


def training_records(data: Path) -> tuple[list[QaRecord], list[QaRecord]]:
    """Records to train on, and the held-out ones. Raises FileNotFoundError naming the missing set."""
    records: list[QaRecord] = []
    for name in TRAINING_FILES:
        if not (data / name).is_file():
            raise FileNotFoundError(f"{data / name} is missing; point --data at the folder of training sets")
        records += load_records(data / name)
    held_out = [record for record in records if record.group in HELD_OUT_GROUPS]
    return [record for record in records if record.group not in HELD_OUT_GROUPS], held_out


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a model folder, without the padding and truncation that its file may carry."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
