"""Texts to labels: with a classifier that was trained, or from a few examples that come with the request."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from anyio import to_thread

from app.encoders import MODELS, EncoderLoader, OpenEncoder
from app.services.encoding import EmbeddedTexts, Encoding
from app.settings import Settings
from embeddings.classifier import (
    CLASSIFIER,
    ENCODER,
    ClassifierManifest,
    Head,
    centroid_head,
    read_head,
    read_manifest,
    require_encoder,
    require_two,
)
from embeddings.errors import ModelDamaged, NotFound

# Each holds an encoder of some 60 MB; the one that was asked least recently goes for a fifth.
MAX_OPEN = 4
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Example:
    """A text and the label it has."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class LabelProbability:
    """A label and how likely it is, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class ClassifiedText:
    """labels: the likeliest first; truncated: the model saw only the beginning of the text."""

    labels: tuple[LabelProbability, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Classified:
    """model: id of the classifier, or of the encoder where examples came with the request."""

    model: str
    texts: tuple[ClassifiedText, ...]


class _Open:
    """A classifier at work. users: requests that are with it; retired: closed when the last of them ends."""

    def __init__(
        self, state: tuple[int, ...], manifest: ClassifierManifest, head: Head, encoder: OpenEncoder
    ) -> None:
        self.state = state
        self.manifest = manifest
        self.head = head
        self.encoder = encoder
        self.users = 0
        self.retired = False

    def retire(self) -> None:
        self.retired = True
        self.close_if_unused()

    def close_if_unused(self) -> None:
        """End its threads, by a thread: they may be in a run of the graph."""
        if self.retired and not self.users:
            asyncio.get_running_loop().run_in_executor(None, self.encoder.close)


class ClassificationService:
    """The classifiers under models/ of the data folder, each opened when it is first asked for.

    A folder whose classifier was made again is opened again.
    """

    def __init__(self, settings: Settings, encoding: Encoding, load: EncoderLoader) -> None:
        self._settings = settings
        self._encoding = encoding
        self._load = load
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._opening = asyncio.Lock()

    async def list(self) -> tuple[ClassifierManifest, ...]:
        """The classifiers that are there, by name; a damaged one is left out."""
        return await to_thread.run_sync(list_classifiers, self._settings.home)

    async def classify(self, name: str, texts: Sequence[str], most: int | None = None) -> Classified:
        """The likeliest labels of each text. most: labels of each; None: all.

        name: of a classifier, or its id. Raises NotFound, ModelDamaged and Overloaded.
        """
        async with self._opened(name) as classifier:
            encoded = await classifier.encoder.encoding.embed(
                texts, prompt=classifier.manifest.prompt, truncate=True
            )
            found = await to_thread.run_sync(_decide, classifier.head, encoded, most)
            return Classified(classifier.manifest.classifier_id, found)

    async def classify_like(
        self, examples: Sequence[Example], texts: Sequence[str], most: int | None = None
    ) -> Classified:
        """The same without a classifier: where the mean of a label's examples is nearest to a text.

        Raises InvalidInput for examples of fewer than two labels, and Overloaded.
        """
        labels = [example.label for example in examples]
        require_two(labels)
        given = [example.text for example in examples]
        encoded = await self._encoding.embed([*given, *texts], truncate=True)
        found = await to_thread.run_sync(_decide_like, encoded, labels, most)
        return Classified(self._encoding.encoder.model_id, found)

    def close(self) -> None:
        """End the threads of every encoder."""
        for each in self._open.values():
            each.encoder.close()

    @asynccontextmanager
    async def _opened(self, name: str) -> AsyncIterator[_Open]:
        async with self._opening:
            held = await self._find(name)
            held.users += 1
        try:
            yield held
        finally:
            held.users -= 1
            held.close_if_unused()

    async def _find(self, given: str) -> _Open:
        folder = await to_thread.run_sync(find_classifier, self._settings.home, given)
        state = _state(folder)
        held = self._open.get(folder.name)
        if held is None or held.state != state:
            opened = await to_thread.run_sync(self._open_folder, folder, state)
            if held is not None:
                held.retire()
            self._open[folder.name] = held = opened
        self._open.move_to_end(folder.name)
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].retire()
        return held

    def _open_folder(self, folder: Path, state: tuple[int, ...]) -> _Open:
        manifest = read_manifest(folder)
        head = read_head(folder, manifest)
        loaded = self._load(folder / ENCODER)
        require_encoder(folder, manifest, head, loaded.encoder)
        return _Open(state, manifest, head, OpenEncoder(loaded, self._settings))


def list_classifiers(home: Path) -> tuple[ClassifierManifest, ...]:
    """The classifiers in a data folder, by name; a damaged one is left out."""
    found = []
    for path in sorted((home / MODELS).glob(f"*/{CLASSIFIER}")):
        try:
            found.append(read_manifest(path.parent))
        except ModelDamaged:  # asked for by name it says what is wrong
            continue
    return tuple(found)


def find_classifier(home: Path, given: str) -> Path:
    """The folder of the classifier of this name or id. Raises NotFound."""
    name, _, _ = given.partition("@")
    folder = home / MODELS / name
    is_plain = Path(name).name == name and name not in {"", ".", ".."}
    if not (is_plain and (folder / CLASSIFIER).is_file()):
        raise _unknown(home, given)
    if given not in {name, read_manifest(folder).classifier_id}:
        raise _unknown(home, given)
    return folder


def _state(folder: Path) -> tuple[int, ...]:
    """What tells that a classifier was made again."""
    status = (folder / CLASSIFIER).stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _unknown(home: Path, given: str) -> NotFound:
    names = [manifest.name for manifest in list_classifiers(home)]
    named = " or ".join(names[:_NAMED]) + (f" or one of {len(names) - _NAMED} more" if names[_NAMED:] else "")
    return NotFound(
        f"there is no classifier {given[:100]!r}",
        field="classifier",
        found=given[:100],
        expected=named or "a classifier; there is none yet",
        next_step="make one with `footnote train classifier`, or send `examples`",
    )


def _decide_like(
    encoded: EmbeddedTexts, labels: Sequence[str], most: int | None
) -> tuple[ClassifiedText, ...]:
    """encoded: the examples, whose labels these are, and then the texts."""
    head = centroid_head(encoded.vectors[: len(labels)], labels)
    texts = EmbeddedTexts(
        encoded.vectors[len(labels) :],
        encoded.token_counts[len(labels) :],
        encoded.truncated[len(labels) :],
    )
    return _decide(head, texts, most)


def _decide(head: Head, encoded: EmbeddedTexts, most: int | None) -> tuple[ClassifiedText, ...]:
    probabilities = head.probabilities(encoded.vectors)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    return tuple(
        ClassifiedText(
            tuple(LabelProbability(head.labels[place], float(row[place])) for place in places), truncated
        )
        for row, places, truncated in zip(probabilities, order, encoded.truncated, strict=True)
    )
