"""The folders that decoders are opened from, each made once: the model, and what is converted from it."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.environments import WORKPLACE, PeerUnavailable, interpreter

HOME = WORKPLACE / "decoder"
BUILDER = "onnxruntime_genai.models.builder"


def source_folder() -> Path:
    """A Qwen3-shaped decoder of transformers with random weights."""
    folder = HOME / "qwen3"
    if not (folder / "model.safetensors").is_file():
        from tests.benchmarks.decoder_model import make_qwen3_folder  # noqa: PLC0415  loads torch

        make_qwen3_folder(folder)
    return folder.resolve()


def footnote_folder(precision: str) -> Path:
    """The artifact that `footnote models convert` makes."""
    folder = HOME / f"footnote-{precision}"
    if not (folder / "manifest.json").is_file():
        convert = ("-m", "app", "models", "convert", str(source_folder()), "--kind", "decoder")
        _run(sys.executable, *convert, "--precision", precision, "--output", str(folder), "--overwrite")
    return folder.resolve()


def genai_folder(precision: str, threads: int) -> Path:
    """What onnxruntime-genai's own builder makes, told to use so many threads."""
    folder = HOME / f"genai-{precision}"
    config = folder / "genai_config.json"
    if not config.is_file():
        output = ("-o", str(folder), "-p", precision, "-e", "cpu", "-c", str(HOME / "cache"))
        _run(str(interpreter("genai")), "-m", BUILDER, "-i", str(source_folder()), *output)
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings["model"]["decoder"].setdefault("session_options", {})["intra_op_num_threads"] = threads
    config.write_text(json.dumps(settings, indent=4), encoding="utf-8")
    return folder.resolve()


def _run(*command: str) -> None:
    print(f"making {command[-1]}: {' '.join(command[1:5])}", file=sys.stderr)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    if done.returncode:
        raise PeerUnavailable(f"{' '.join(command[1:5])} failed: {done.stderr.strip()[-800:]}")
