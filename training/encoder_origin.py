"""Where an encoder to convert comes from: a folder of this machine, or a model hub."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import snapshot_download

from embeddings.artifact import describe_file
from embeddings.errors import NotFound

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LICENCE = re.compile(r"\A---\n(?:.*\n)*?license: *(\S+) *\n(?:.*\n)*?---\n")
# Other forms of the same weights, and pictures.
_NOT_NEEDED = ["onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.tflite", "*.png", "*.gguf", "coreml/*"]

Fetch = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the manifest says of the weights' origin."""

    name: str
    source: str
    licence: str


def fetch_from_hub(model: str) -> Path:
    """The folder of a model of the Hugging Face hub, from the cache of this machine or the network."""
    return Path(snapshot_download(model, ignore_patterns=_NOT_NEEDED))


def locate(source: str, fetch: Fetch = fetch_from_hub) -> Path:
    """The folder that `source` names: a path where there is one, else a hub's model, which is fetched.

    Raises NotFound for what is neither, or cannot be fetched.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.exists() or not _HUB_ID.fullmatch(source):
        raise _absent(source, "a file" if path.exists() else "no such folder", "name the model's folder")
    try:
        return fetch(source)
    except (OSError, ValueError) as error:
        raise _absent(
            source,
            str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            f"on a machine with a network, `hf download {source} --local-dir FOLDER`; then name that folder",
        ) from error


def trace(source: str, folder: Path, name: str | None = None) -> Provenance:
    """What is known of the origin of the model in `folder`, which `source` named."""
    stem = name or (folder.resolve().name if Path(source).is_dir() else source.rpartition("/")[2])
    return Provenance(
        stem, f"{stem if Path(source).is_dir() else source}{_checksum(folder)}", _licence(folder)
    )


def _checksum(folder: Path) -> str:
    weights = next(iter(sorted(folder.rglob("model*.safetensors"))), None)
    return f", {weights.name} with SHA-256 {describe_file(weights).sha256}" if weights is not None else ""


def _licence(folder: Path) -> str:
    card = folder / "README.md"
    found = _LICENCE.match(card.read_text(encoding="utf-8")) if card.is_file() else None
    return found.group(1) if found else "not stated"


def _absent(source: str, found: str, next_step: str) -> NotFound:
    return NotFound(
        f"cannot open the model {source!r}: {found}",
        field="source",
        found=found,
        expected="a folder of sentence-transformers or transformers, or the id of a model on the hub",
        next_step=next_step,
    )
