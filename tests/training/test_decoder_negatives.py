from pathlib import Path

import pytest

from training import decoder_negatives
from training.decoder_data import QaRecord
from training.decoder_negatives import near_contexts

CASTLE = "The castle on the hill was built of grey stone in 1871."
TOWER = "The tower of the old castle was restored after the fire."
BREAD = "Bread is baked from flour, water and yeast."
RECORDS = [
    QaRecord("When was the castle built?", CASTLE, "a", ((49, 53),)),
    QaRecord("What was restored?", TOWER, "a", ((0, 9),)),
    QaRecord("What is bread made of?", BREAD, "b", ((20, 25),)),
]


def test_nearest_context_comes_first_and_a_questions_own_never(tmp_path: Path) -> None:
    near = near_contexts(RECORDS, tmp_path / "near.json", count=1)
    assert near["When was the castle built?"] == [TOWER]
    assert all(record.context not in near[record.question] for record in RECORDS)


def test_a_resumed_run_does_not_search_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = near_contexts(RECORDS, tmp_path / "near.json", count=1)
    monkeypatch.delattr(decoder_negatives, "_search")
    assert near_contexts(RECORDS, tmp_path / "near.json", count=1) == first
