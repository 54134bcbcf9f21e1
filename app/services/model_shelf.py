"""The models of this service: those that the settings name, and those that lie in the data folder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from app.encoders import MODELS
from app.services.release_types import ReleaseState
from app.settings import Settings
from embeddings.artifact import MANIFEST, ModelManifest, read_manifest
from embeddings.errors import FootnoteError

CARD = "README.md"
MAX_CARD_BYTES = 64 * 1024


class ModelRole(StrEnum):
    """What the settings use a model for."""

    ENCODER = "encoder"
    DECODER = "decoder"
    RERANKER = "reranker"


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A release that searches with the model."""

    collection: str
    number: int
    state: ReleaseState


@dataclass(frozen=True, slots=True)
class ShelvedModel:
    """A model that lies here. name: of its folder. role: what the settings use it for, if they do.

    parity: figures of its conversion's gate. dimension, max_tokens: None for what has none. card: what its
    maker tells of it, Markdown. uses: releases of collections; size_bytes: of all its files.
    error: why it cannot be read; then the rest is empty.
    """

    name: str
    id: str | None = None
    kind: str | None = None
    role: ModelRole | None = None
    source: str = ""
    licence: str = ""
    precision: str = ""
    size_bytes: int = 0
    dimension: int | None = None
    smaller_dimensions: tuple[int, ...] = ()
    max_tokens: int | None = None
    parity: Mapping[str, Any] | None = None
    card: str | None = None
    uses: tuple[ModelUse, ...] = ()
    error: str | None = None


def find_models(settings: Settings, uses: Mapping[str, Sequence[ModelUse]]) -> tuple[ShelvedModel, ...]:
    """Every model, those of the settings first. uses: by the model's id. It reads files: run it in a thread.

    Checksums are not looked at, which would take a second for each gigabyte; loading does it.
    """
    named = list(_named_folders(settings))
    seen = {folder.resolve() for _, folder in named}
    others = [(None, folder) for folder in _folders(settings.home / MODELS) if folder.resolve() not in seen]
    return tuple(_describe(folder, role, uses) for role, folder in [*named, *others])


def _named_folders(settings: Settings) -> Iterable[tuple[ModelRole, Path]]:
    yield ModelRole.ENCODER, settings.encoder
    if settings.decoder_url is None and (settings.decoder / MANIFEST).is_file():
        yield ModelRole.DECODER, settings.decoder
    if settings.reranker is not None:
        yield ModelRole.RERANKER, settings.reranker


def _folders(shelf: Path) -> list[Path]:
    """Folders that begin with a dot are models on their way in."""
    if not shelf.is_dir():
        return []
    return sorted(path for path in shelf.iterdir() if path.is_dir() and not path.name.startswith("."))


def _describe(folder: Path, role: ModelRole | None, uses: Mapping[str, Sequence[ModelUse]]) -> ShelvedModel:
    try:
        manifest = read_manifest(folder)
        model_id = manifest.model_id
    except (FootnoteError, KeyError) as error:
        told = error.message if isinstance(error, FootnoteError) else f"{MANIFEST} lists no weights"
        return ShelvedModel(folder.name, role=role, error=told)
    spec = manifest.encoder
    longest = manifest.encoder or manifest.reranker
    return ShelvedModel(
        name=folder.name,
        id=model_id,
        kind=manifest.kind,
        role=role,
        source=manifest.source,
        licence=manifest.licence,
        precision=manifest.precision,
        size_bytes=sum(file.size_bytes for file in manifest.files.values()),
        dimension=None if spec is None else spec.dimension,
        smaller_dimensions=() if spec is None else spec.matryoshka_dimensions,
        max_tokens=_context_tokens(manifest) if longest is None else longest.max_tokens,
        parity=manifest.parity,
        card=_card(folder),
        uses=tuple(uses.get(model_id, ())),
    )


def _context_tokens(manifest: ModelManifest) -> int | None:
    found = manifest.graph.get("context_tokens")
    return found if isinstance(found, int) else None


def _card(folder: Path) -> str | None:
    try:
        with (folder / CARD).open("rb") as file:
            return file.read(MAX_CARD_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return None
