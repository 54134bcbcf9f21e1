"""The encoders that releases name, each loaded once, when something first needs it."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

from anyio import to_thread

from app.services.encoding import Encoding, TextEncoder
from app.services.release_types import Release
from app.settings import Settings
from embeddings.artifact import TOKENIZER
from embeddings.encoder import Encoder
from embeddings.engine import EncoderEngine
from embeddings.errors import ModelDamaged
from retrieval.chunking import Chunker

MODELS = "models"


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """tokenizer: the encoder's tokenizer.json, in whose tokens chunks are measured."""

    encoder: TextEncoder
    tokenizer: Path


EncoderLoader = Callable[[Path], LoadedEncoder]


@dataclass(frozen=True, slots=True)
class RayUse:
    """The cluster that encodes releases. min_chars: of texts; what is less is encoded by this process, in
    less time than actors take to start; actors: None: one a processor but for one.
    """

    address: str
    min_chars: int = 2_000_000
    actors: int | None = None


def load_encoder(folder: Path) -> LoadedEncoder:
    """Load the encoder of a model's folder. Raises ModelDamaged."""
    # One thread for a run: as many runs as there may be threads go on at a time.
    return LoadedEncoder(Encoder.load(folder, threads=1), folder / TOKENIZER)


class AbsentEncoder:
    """In the encoder's place where nothing is encoded: loading one takes longer than most commands."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"{name} was asked of an encoder that was not loaded; see load_retrieval_models")


class OpenEncoder:
    """An encoder that works: texts to vectors through its queue, and texts to chunks in its tokens."""

    def __init__(self, loaded: LoadedEncoder, settings: Settings) -> None:
        limits = (settings.threads, settings.max_waiting_texts, settings.max_waiting_queries)
        self.encoding = Encoding(loaded.encoder, EncoderEngine(loaded.encoder, *limits))
        self.chunker = lru_cache(maxsize=8)(self._make_chunker)
        self._tokenizer = loaded.tokenizer

    @property
    def encoder(self) -> TextEncoder:
        """The encoder itself."""
        return self.encoding.encoder

    @property
    def folder(self) -> Path:
        """Where the encoder was loaded from."""
        return self._tokenizer.parent

    def passage_tokens(self) -> int:
        """Tokens of a passage that the encoder sees, without those that it adds: prompt and special ones."""
        (added,) = self.encoder.tokenize([self.encoder.spec.prompts.get("passage", "")], "", "start")
        return self.encoder.max_tokens - added.count

    def tokenizer_hash(self) -> str:
        """SHA-256, hex, of the tokenizer: where it differs, the same settings cut other chunks."""
        return hashlib.sha256(self._tokenizer.read_bytes()).hexdigest()

    def close(self) -> None:
        """End the threads that encode."""
        self.encoding.engine.close()

    def _make_chunker(self, max_tokens: int, overlap_tokens: int) -> Chunker:
        return Chunker(self._tokenizer, max_tokens=max_tokens, overlap_tokens=overlap_tokens)


class Encoders:
    """The encoder that the settings name, and those of the releases that name their own.

    A release holds a folder as seen from the data folder, so that it still fits when the data folder moves.
    """

    def __init__(self, settings: Settings, default: LoadedEncoder, load: EncoderLoader) -> None:
        self.default = OpenEncoder(default, settings)
        # Set by the worker and by commands: the service itself never works on a cluster.
        self.ray: RayUse | None = None
        self._settings = settings
        self._load = load
        self._open: dict[str, OpenEncoder] = {}
        self._loading = asyncio.Lock()

    async def of(self, release: Release) -> OpenEncoder:
        """The encoder of a release. Raises ModelDamaged, also when the folder now holds another model."""
        if release.encoder is None:
            return self.default
        found = await self.open(release.encoder)
        if release.model_id not in (None, found.encoder.model_id):
            raise ModelDamaged(
                f"release {release.number} was made with another encoder than {release.encoder} holds now",
                field="encoder",
                found=found.encoder.model_id,
                expected=release.model_id,
                next_step="put that model back into the folder, or reindex with the present one",
            )
        return found

    async def open(self, folder: str) -> OpenEncoder:
        """The encoder in this folder, seen from the data folder. Raises ModelDamaged."""
        async with self._loading:
            if folder not in self._open:
                loaded = await to_thread.run_sync(self._load, self._settings.home / folder)
                self._open[folder] = await to_thread.run_sync(OpenEncoder, loaded, self._settings)
            return self._open[folder]

    @property
    def opened(self) -> tuple[OpenEncoder, ...]:
        """All that are open, the one that the settings name first."""
        return (self.default, *self._open.values())

    def model_id(self, release: Release) -> str | None:
        """The model whose vectors the release searches; None when that is not known."""
        return self.default.encoder.model_id if release.encoder is None else release.model_id

    def name_folder(self, given: str) -> str:
        """What a release holds for the folder that a client names: a name under models/, or a path."""
        home = self._settings.home.resolve()
        bundled = home / MODELS / given
        folder = bundled if bundled.is_dir() else Path(given).expanduser().resolve()
        return str(folder.relative_to(home) if folder.is_relative_to(home) else folder)

    def close(self) -> None:
        """End the threads of every encoder."""
        for each in self.opened:
            each.close()
