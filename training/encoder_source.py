"""An encoder as sentence-transformers opens it, and what its conversion needs of it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import AutoModel
from transformers.utils import logging

from embeddings.artifact import EncoderSpec
from embeddings.errors import InvalidInput, ModelDamaged
from embeddings.tokens import ROLES
from training.encoder_modules import SentenceEncoder, assemble
from training.encoder_tokenizer import fast_tokenizer, token_limit
from training.siamese.layer_mixing import open_encoder

MODEL_TYPES = frozenset(
    {
        *("albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet"),
        *("roberta", "xlm-roberta"),
    }
)
# What models call the two prompts that Footnote asks for; the first that a model has.
_SYNONYMS = {"query": ("search_query",), "passage": ("document", "corpus", "search_document")}


@dataclass(frozen=True, slots=True)
class EncoderSource:
    """original: as sentence-transformers runs it; encoder: the module to export; notes: what a person who
    converts it should know.
    """

    original: SentenceTransformer
    encoder: SentenceEncoder
    tokenizer: Tokenizer
    spec: EncoderSpec
    notes: tuple[str, ...] = ()


def read_source(
    folder: Path, prompts: Mapping[str, str] | None = None, matryoshka: tuple[int, ...] = ()
) -> EncoderSource:
    """Open a folder that sentence-transformers or transformers saved.

    prompts: by name, besides and before the model's own; matryoshka: smaller dimensions that it was trained
    for. Raises ModelDamaged for a folder or a model that cannot be converted, InvalidInput for a dimension
    that is not a smaller one.
    """
    with quiet_transformers():
        original = _open(folder)
        _check_architecture(original, folder)
        _check_weights(folder)
    named = _prompts({**original.prompts, **(prompts or {})})
    assembly = assemble(list(original), has_prompts=bool(named))
    spec = EncoderSpec(
        dimension=assembly.dimension,
        max_tokens=token_limit(original),
        pooling=assembly.description,
        prompts=named,
        matryoshka_dimensions=_smaller(matryoshka or _cut_dimension(original), assembly.dimension),
    )
    tokenizer = fast_tokenizer(original)
    notes = _notes(original, folder, spec)
    _make_comparable(original, spec)
    return EncoderSource(original, assembly.encoder, tokenizer, spec, notes)


def _check_weights(folder: Path) -> None:
    """Refuse a transformer of which the folder holds a part only: the rest would be random numbers."""
    _, loading = AutoModel.from_pretrained(
        _transformer_folder(folder), output_loading_info=True, local_files_only=True
    )
    # Some architectures end in a pooler that sentence vectors do not use.
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))
    if missing:
        found = f"no weights for {missing[0]}, one of {len(missing)}"
        raise _refused(folder, found, "the weights of every layer")


def _transformer_folder(folder: Path) -> Path:
    modules = folder / "modules.json"
    return folder / json.loads(modules.read_bytes())[0]["path"] if modules.is_file() else folder


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' bars and warnings: what matters of them is checked here."""
    log: Any = logging  # its functions are not typed
    level, had_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if had_bars:
            log.enable_progress_bar()


def _open(folder: Path) -> SentenceTransformer:
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise _refused(
            folder,
            "neither modules.json nor config.json",
            "a folder of sentence-transformers or transformers",
        )
    # Attention that can be exported: not every architecture's default can.
    model = {"attn_implementation": "eager", "dtype": torch.float32}
    try:
        return open_encoder(folder, model_kwargs=model)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError) as error:
        raise _refused(folder, _first_line(error), "a model that sentence-transformers can open") from error


def _check_architecture(original: SentenceTransformer, folder: Path) -> None:
    config: Any = getattr(original[0], "config", None)
    found = getattr(config, "model_type", type(original[0]).__name__)
    if found not in MODEL_TYPES:
        raise _refused(folder, f"architecture {found!r}", f"one of {', '.join(sorted(MODEL_TYPES))}")
    if getattr(config, "is_decoder", False):
        raise _refused(folder, "a decoder, which sees only what stands before a token", "an encoder")


def _prompts(prompts: Mapping[str, str | None]) -> dict[str, str]:
    """The prompts that say something, by name; "query" and "passage" stand for their synonyms too."""
    named = {name: prompt for name, prompt in prompts.items() if prompt}
    for role in ROLES:
        synonym = next((name for name in _SYNONYMS[role] if name in named), None)
        if synonym and role not in named:
            named[role] = named[synonym]
    return named


def _cut_dimension(original: SentenceTransformer) -> tuple[int, ...]:
    return (original.truncate_dim,) if original.truncate_dim else ()


def _smaller(dimensions: tuple[int, ...], dimension: int) -> tuple[int, ...]:
    if wrong := [size for size in dimensions if not 0 < size < dimension]:
        raise InvalidInput(
            f"{wrong[0]} is not a smaller dimension of this model",
            field="matryoshka",
            found=str(wrong[0]),
            expected=f"1 to {dimension - 1}",
        )
    return tuple(sorted(set(dimensions), reverse=True))


def _notes(original: SentenceTransformer, folder: Path, spec: EncoderSpec) -> tuple[str, ...]:
    notes = []
    if not (folder / "modules.json").is_file():
        notes.append(f"the folder does not say how to pool: {spec.pooling} is assumed")
    if original.similarity_fn_name not in (None, "cosine"):
        notes.append(f"the model compares by {original.similarity_fn_name}, Footnote by cosine")
    if original.truncate_dim:
        notes.append(
            f"the model is set to {original.truncate_dim} dimensions; Footnote keeps all {spec.dimension}"
            " and can cut to fewer"
        )
    if original.default_prompt_name:
        notes.append(
            f"the model's default prompt {original.default_prompt_name!r} is used where it is asked for by"
            " name only"
        )
    return tuple(notes)


def _make_comparable(original: SentenceTransformer, spec: EncoderSpec) -> None:
    """Let the original see what the graph sees: whole vectors, the same length, padding on the right.

    A model with absolute positions that is padded on the left gives vectors that depend on the batch.
    """
    original.truncate_dim = None
    original.default_prompt_name = None
    original.max_seq_length = spec.max_tokens
    tokenizer: Any = original.tokenizer
    tokenizer.padding_side = "right"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _refused(folder: Path, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"cannot convert {folder}: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="save the model again with sentence-transformers, or choose another",
    )
