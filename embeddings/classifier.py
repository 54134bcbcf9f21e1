"""A text classifier: an encoder, and on its vectors a linear head that gives each label a probability.

NAME/classifier.json   what it is: labels, terms, figures, which encoder
NAME/head.npz          weights (labels, dimension) and bias (labels,)
NAME/encoder/          the encoder's artifact
NAME/README.md         the same for people
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from embeddings.artifact import ArtifactFile, describe_file
from embeddings.encoder import Encoder
from embeddings.errors import InvalidInput, ModelDamaged
from embeddings.vectors import unit_rows

CLASSIFIER = "classifier.json"
HEAD = "head.npz"
ENCODER = "encoder"

Vectors = NDArray[np.float32]

# Of cosines to the means of labels, before the softmax. With 8 examples of each label of Banking77 the mean
# -log p of the right one is 1.26 at 10, .73 at 20, .72 at 30 and .82 at 40.
CENTROID_SCALE = 25.0


class ClassifierManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of classifier.json.

    source, licence: where the weights come from and on what terms; prompt: of the encoder, by name; encoder:
    the id of the model that the head was fitted on; training: data and settings; figures: what was measured,
    on texts that were not trained on.
    """

    name: Annotated[str, msgspec.Meta(min_length=1)]
    source: str
    licence: str
    labels: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    encoder: str
    head: ArtifactFile
    prompt: str = ""
    training: dict[str, Any] = {}
    figures: dict[str, Any] = {}

    @property
    def classifier_id(self) -> str:
        """Name and first 12 hex digits of the head's SHA-256: two classifiers never share one."""
        return f"{self.name}@{self.head.sha256[:12]}"


@dataclass(frozen=True, slots=True)
class Head:
    """Softmax regression. labels: k; weights: (k, dimension); bias: (k,)."""

    labels: tuple[str, ...]
    weights: Vectors
    bias: Vectors

    def probabilities(self, vectors: Vectors) -> Vectors:
        """(n, dimension) unit rows to (n, k), each row of sum 1."""
        scores = vectors @ self.weights.T + self.bias
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Vectors = powers / powers.sum(axis=1, keepdims=True)
        return shares


def centroid_head(vectors: Vectors, labels: Sequence[str], scale: float = CENTROID_SCALE) -> Head:
    """A head without training: a text belongs where the mean of a label's examples is nearest.

    vectors: (n, dimension) unit rows of examples; labels: n. Raises InvalidInput for fewer than two labels.
    """
    names = tuple(sorted(set(labels)))
    require_two(names)
    places = np.array([names.index(label) for label in labels])
    means = np.stack([vectors[places == place].mean(axis=0) for place in range(len(names))])
    return Head(names, scale * unit_rows(means), np.zeros(len(names), np.float32))


def require_two(labels: Sequence[str]) -> None:
    """Raise InvalidInput for fewer than two different labels."""
    if len(set(labels)) < 2:
        raise InvalidInput(
            "a classifier chooses between labels: it needs examples of at least two",
            field="examples",
            found=", ".join(sorted(set(labels))) or "no examples",
            expected="at least two labels",
        )


def write_classifier(
    folder: Path, head: Head, describe: "ManifestFields", figures: dict[str, Any] | None = None
) -> ClassifierManifest:
    """Write the head and the manifest beside the encoder that stands in the folder already."""
    np.savez(folder / HEAD, weights=head.weights, bias=head.bias)
    manifest = ClassifierManifest(
        name=describe.name,
        source=describe.source,
        licence=describe.licence,
        labels=head.labels,
        encoder=describe.encoder,
        head=describe_file(folder / HEAD),
        prompt=describe.prompt,
        training=describe.training,
        figures=figures or {},
    )
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / CLASSIFIER).write_bytes(encoded + b"\n")
    return manifest


@dataclass(frozen=True, slots=True)
class ManifestFields:
    """What a head does not know of itself: fields of `ClassifierManifest`."""

    name: str
    source: str
    licence: str
    encoder: str
    prompt: str
    training: dict[str, Any]


def read_manifest(folder: Path) -> ClassifierManifest:
    """What stands in classifier.json. Raises ModelDamaged."""
    try:
        return msgspec.json.decode((folder / CLASSIFIER).read_bytes(), type=ClassifierManifest)
    except OSError as error:
        raise _damaged(folder, error.strerror or str(error), f"a readable {CLASSIFIER}") from error
    except msgspec.MsgspecError as error:
        raise _damaged(folder, f"{CLASSIFIER}: {error}", "one of this version of Footnote") from error


def read_head(folder: Path, manifest: ClassifierManifest) -> Head:
    """The head, verified against the manifest. Raises ModelDamaged."""
    path = folder / HEAD
    if not path.is_file() or describe_file(path) != manifest.head:
        found = "another file" if path.is_file() else "no file"
        raise _damaged(folder, f"{found} as {HEAD}", f"SHA-256 {manifest.head.sha256}")
    with np.load(path, allow_pickle=False) as stored:
        head = Head(manifest.labels, stored["weights"], stored["bias"])
    rows = len(manifest.labels)
    if head.weights.shape[:1] != (rows,) or head.bias.shape != (rows,) or head.weights.ndim != 2:
        shapes = f"weights {head.weights.shape} and bias {head.bias.shape}"
        raise _damaged(folder, shapes, f"{rows} rows of each")
    return head


def require_encoder(folder: Path, manifest: ClassifierManifest, head: Head, encoder: Any) -> None:
    """Raise ModelDamaged where the encoder of the folder is not the one that the head was fitted on.

    encoder: anything with `model_id` and `dimension`.
    """
    found = f"{encoder.model_id}, {encoder.dimension} numbers"
    expected = f"{manifest.encoder}, {head.weights.shape[1]} numbers"
    if found != expected:
        raise _damaged(folder, f"the encoder {found}", expected)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier for work outside the service, which encodes through its queue."""

    manifest: ClassifierManifest
    head: Head
    encoder: Encoder

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> Self:
        """Open a verified folder. Raises ModelDamaged."""
        manifest = read_manifest(folder)
        head = read_head(folder, manifest)
        encoder = Encoder.load(folder / ENCODER, threads)
        require_encoder(folder, manifest, head, encoder)
        return cls(manifest, head, encoder)

    def probabilities(self, texts: Sequence[str]) -> Vectors:
        """(len(texts), labels) in the manifest's order. Of a long text the encoder sees the beginning."""
        return self.head.probabilities(self.encoder.encode(texts, self.manifest.prompt))


def _damaged(folder: Path, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"the classifier in {folder} is damaged: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="restore the folder, or make it again with `footnote train classifier`",
    )
