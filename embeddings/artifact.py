"""The model artifact: an immutable directory of weights, tokenizer and a manifest that says what they are."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from embeddings.errors import ModelDamaged

BUNDLED_ENCODER = Path(__file__).resolve().parent / "bundled"
MANIFEST = "manifest.json"
WEIGHTS = "model.onnx"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.json"

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class ArtifactFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file of the artifact has to be. size_bytes: tells a truncated file from a changed one."""

    size_bytes: Annotated[int, msgspec.Meta(ge=0)]
    sha256: _Sha256


class EncoderSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to run an encoder. Its graph ends in the pooled row, before any normalisation.

    max_tokens: with the special tokens; pooling: what the graph does with the token states, for people;
    prompts: text that goes before an input, by name, as the model was trained (`query: `);
    matryoshka_dimensions: smaller sizes that the model was trained to be cut to.
    """

    dimension: _Positive
    max_tokens: _Positive
    pooling: str
    prompts: dict[str, str] = {}
    matryoshka_dimensions: tuple[_Positive, ...] = ()


class RerankerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to run a cross-encoder. Its graph ends in one number a pair, before any sigmoid.

    max_tokens: of query and text together, with the special tokens; segments: the graph is told by
    `token_type_ids` which tokens are the query's and which the text's.
    """

    max_tokens: _Positive
    segments: bool


class ModelManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of manifest.json.

    source, licence: where the weights come from and on what terms; files: by name, all in the directory
    itself; parity: figures of the conversion's gate; encoder, reranker: for models of that kind only;
    graph: for decoders only, read by their engine.
    """

    name: Annotated[str, msgspec.Meta(min_length=1)]
    kind: Literal["encoder", "reranker", "decoder"]
    source: str
    licence: str
    precision: str
    files: dict[str, ArtifactFile]
    weights: str = WEIGHTS
    parity: dict[str, Any] = {}
    encoder: EncoderSpec | None = None
    reranker: RerankerSpec | None = None
    graph: dict[str, Any] = {}

    @property
    def model_id(self) -> str:
        """Name and first 12 hex digits of the weights' SHA-256: two models never share one."""
        return f"{self.name}@{self.files[self.weights].sha256[:12]}"


def describe_file(path: Path) -> ArtifactFile:
    """Measure a file for a manifest."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ArtifactFile(size_bytes=path.stat().st_size, sha256=digest)


def write_manifest(directory: Path, manifest: ModelManifest) -> None:
    """Write manifest.json into the directory, formatted for people."""
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (directory / MANIFEST).write_bytes(encoded + b"\n")


def load_manifest(directory: Path) -> ModelManifest:
    """Read the manifest and verify every file it names, in size and SHA-256.

    Raises ModelDamaged when the manifest is absent or malformed, or a file is absent or differs.
    """
    manifest = read_manifest(directory)
    if manifest.weights not in manifest.files:
        raise _damaged(directory, f"the manifest lists no {manifest.weights}", "its weights among `files`")
    for name, expected in manifest.files.items():
        _verify(directory, name, expected)
    return manifest


def read_manifest(directory: Path) -> ModelManifest:
    """Read the manifest as it stands; no file that it names is looked at. Raises ModelDamaged."""
    path = directory / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=ModelManifest)
    except OSError as error:
        raise _damaged(directory, error.strerror or str(error), f"a readable {MANIFEST}") from error
    except msgspec.MsgspecError as error:
        raise _damaged(directory, f"{MANIFEST}: {error}", "a manifest of this version of Footnote") from error


def _verify(directory: Path, name: str, expected: ArtifactFile) -> None:
    if Path(name).name != name:
        raise _damaged(directory, f"the file name {name!r}", "names without folders")
    path = directory / name
    if not path.is_file():
        raise _damaged(directory, f"no {name}", f"{expected.size_bytes:,} bytes")
    size_bytes = path.stat().st_size
    if size_bytes != expected.size_bytes:
        raise _damaged(directory, f"{name} of {size_bytes:,} bytes", f"{expected.size_bytes:,} bytes")
    found = describe_file(path)
    if found.sha256 != expected.sha256:
        raise _damaged(directory, f"{name} with SHA-256 {found.sha256}", expected.sha256)


def _damaged(directory: Path, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"the model in {directory} is damaged: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="restore the directory from its source, or convert the model again",
    )
