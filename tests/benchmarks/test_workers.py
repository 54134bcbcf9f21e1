"""Workers answer commands; what goes wrong in them is told."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.workers import Worker, WorkerFailed

FAKE = """
import numpy as np
def load(model, variant, threads, batch_texts):
    print("noise that a library prints")
    return lambda texts: np.full((len(texts), 2), len(variant) + batch_texts, dtype=np.float32)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    (tmp_path / "fake_adapter.py").write_text(FAKE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Worker.of(Path(sys.executable), "fake_adapter", tmp_path / "log", threads=1) as started:
        yield started


def test_worker_loads_encodes_and_writes_vectors(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text(json.dumps(["a", "b", "c"]))
    worker.ask("load", model=".", variant="ab", threads=1, batch_texts=1)
    assert worker.ask("texts", name="t", path=str(tmp_path / "texts.json")) == {"texts": 3}
    assert worker.ask("encode", texts="t")["rows"] == 3
    assert len(worker.ask("singles", texts="t", calls=5)["seconds"]) == 5
    assert worker.ask("memory")["peak_mb"] > 1
    worker.ask("vectors", texts="t", path=str(tmp_path / "rows.npy"))
    assert np.load(tmp_path / "rows.npy").tolist() == [[3, 3]] * 3


def test_command_before_its_model_says_what_to_send(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text("[]")
    worker.ask("texts", name="t", path=str(tmp_path / "texts.json"))
    with pytest.raises(WorkerFailed, match="send the command `load` first"):
        worker.ask("encode", texts="t")


def test_worker_that_ended_is_told_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such library')"]
    with Worker(command, tmp_path / "log", threads=1) as ended, pytest.raises(WorkerFailed, match="no such"):
        ended.ask("memory")
