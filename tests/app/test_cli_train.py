"""Training runs in a process of its own, and the command line itself stays light."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.train import decoder_arguments, run_training

HEAVY = (
    "torch",
    "transformers",
    "sentence_transformers",
    "ranx",
    "litestar",
    "onnxruntime",
    "faiss",
    "numpy",
    "rich",
)


def test_checkpoints_go_below_the_data_folder_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path))
    assert decoder_arguments(["--steps", "5"]) == [
        "--steps", "5", "--checkpoints", str(tmp_path / "training" / "decoder"),
    ]  # fmt: skip
    assert decoder_arguments(["--checkpoints=here"]) == ["--checkpoints=here"]
    assert decoder_arguments(["--help"]) == ["--help"]


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--no-such-option"], 2)])
def test_exit_code_is_that_of_the_training_program(arguments: list[str], code: int) -> None:
    pytest.importorskip("torch", reason="training needs the development environment: make setup-dev")
    assert run_training("json.tool", arguments) == code


def test_help_imports_nothing_heavy() -> None:
    script = f"import json, sys, app.cli.program; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
