"""`footnote models`: the models in use, and how encoders and rerankers are converted."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, print_fields, print_json
from app.cli.progress import progress_bar
from embeddings.errors import FootnoteError, InvalidInput

if TYPE_CHECKING:
    from embeddings.artifact import ModelManifest
    from training.encoder_conversion import Watcher
    from training.encoder_origin import Provenance
    from training.parity_texts import ParityTexts

commands = typer.Typer(no_args_is_help=True, help="The models that Footnote works with.")


class Kind(StrEnum):
    """What can be converted."""

    ENCODER = "encoder"
    RERANKER = "reranker"


class Precision(StrEnum):
    """How the numbers of a converted model are kept."""

    FP32 = "fp32"
    INT8 = "int8"


@commands.command("show")
def show_models(as_json: AsJson = False) -> None:
    """Verify the models in use against their checksums and show what they are."""
    from app.settings import load_settings
    from embeddings.artifact import load_manifest

    settings = load_settings()
    folders = (settings.encoder, settings.decoder, settings.reranker)
    manifests = [(folder, load_manifest(folder)) for folder in folders if folder is not None]
    if as_json:
        print_json({"models": [{"folder": str(folder), **_fields(each)} for folder, each in manifests]})
        return
    for index, (folder, manifest) in enumerate(manifests):
        if index:
            typer.echo()
        _print_manifest(folder, manifest)


def _fields(manifest: "ModelManifest") -> dict[str, object]:
    import msgspec

    return {"id": manifest.model_id, **msgspec.to_builtins(manifest)}


def _print_manifest(folder: Path, manifest: "ModelManifest") -> None:
    spec = manifest.encoder
    longest = manifest.encoder or manifest.reranker
    sizes = ", ".join(map(str, spec.matryoshka_dimensions)) if spec else ""
    print_fields(
        [
            ("id", manifest.model_id),
            ("kind", manifest.kind),
            ("folder", folder),
            ("source", manifest.source),
            ("licence", manifest.licence),
            ("precision", manifest.precision),
            ("dimension", spec and spec.dimension),
            ("smaller dimensions", sizes or None),
            ("max_tokens", longest and longest.max_tokens),
            ("pooling", spec and spec.pooling),
            *((f"prompt {name}", repr(prompt)) for name, prompt in (spec.prompts if spec else {}).items()),
            *((f"parity {name}", figure) for name, figure in manifest.parity.items()),
            *((f"sha256 {name}", file.sha256) for name, file in manifest.files.items()),
        ]
    )


@commands.command("convert")
def convert(  # noqa: PLR0913, PLR0917 - the options of one conversion
    source: Annotated[
        str,
        typer.Argument(help="A folder of sentence-transformers or transformers, or the id of a hub's model."),
    ],
    output: Annotated[Path, typer.Option(help="The folder to make.")],
    kind: Annotated[Kind, typer.Option(help="What the model is.")] = Kind.ENCODER,
    precision: Annotated[Precision, typer.Option(help="Of its numbers.")] = Precision.INT8,
    name: Annotated[str | None, typer.Option(help="Of the model; the source's by default.")] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="NAME=TEXT, such as 'query=query: '. Repeatable.")
    ] = None,
    matryoshka: Annotated[
        str, typer.Option(help="Smaller dimensions that the model was trained for: 256,128.")
    ] = "",
    texts: Annotated[
        Path | None,
        typer.Option(help="Texts of yours to compare on: one a line, or JSONL with `text`."),
    ] = None,
    judge: Annotated[
        list[Path] | None,
        typer.Option(help="A folder in BEIR form on which ranking is measured. Repeatable."),
    ] = None,
    fp32_difference: Annotated[
        float, typer.Option(min=0, help="Largest difference of the fp32 graph to the original.")
    ] = 1e-4,
    lowest_cosine: Annotated[float, typer.Option(max=1, help="Of int8 to fp32, for the worst text.")] = 0.96,
    mean_cosine: Annotated[float, typer.Option(max=1, help="Of int8 to fp32, over all texts.")] = 0.98,
    top10_overlap: Annotated[
        float, typer.Option(min=0, max=1, help="Share of ten nearest passages that int8 keeps.")
    ] = 0.75,
    ndcg_drop: Annotated[
        float, typer.Option(help="Largest loss of nDCG@10 by int8, in points of a hundred.")
    ] = 0.5,
    order_kept: Annotated[
        float, typer.Option(min=0, max=1, help="Of a reranker: share of candidates int8 keeps in order.")
    ] = 0.9,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert an encoder or a reranker; writes nothing when a figure of the comparison is out of bounds."""
    _require_torch("converting a model")
    from training.encoder_conversion import Conversion, convert_encoder
    from training.encoder_origin import locate, trace
    from training.encoder_parity import ParityBounds
    from training.encoder_source import read_source
    from training.parity_texts import BUILT_IN, given_texts

    prompts, sizes = _prompts(prompt or []), _sizes(matryoshka)
    compared = (given_texts(texts),) if texts else BUILT_IN
    folder = locate(source)
    provenance = trace(source, folder, name)
    if kind is Kind.RERANKER:
        _only_for_encoders(prompt=prompt, matryoshka=matryoshka, judge=judge)
        bounds = (fp32_difference, order_kept)
        _convert_reranker(
            folder, _Target(output, provenance, compared, precision, overwrite), bounds, as_json
        )
        return
    conversion = Conversion(
        output=output,
        provenance=provenance,
        texts=compared,
        precision=precision.value,
        judges=tuple(judge or ()),
        bounds=ParityBounds(fp32_difference, lowest_cosine, mean_cosine, top10_overlap, ndcg_drop / 100),
        overwrite=overwrite,
    )
    with _watcher(as_json) as watcher:
        watcher.announce(f"reading {folder}")
        opened = read_source(folder, prompts, sizes)
        for note in opened.notes:
            watcher.announce(f"note: {note}")
        manifest = convert_encoder(opened, conversion, watcher)
    if as_json:
        print_json({"folder": str(output), **_fields(manifest)})
    else:
        _print_manifest(output, manifest)


@dataclass(frozen=True, slots=True)
class _Target:
    """What to make of a model, whatever its kind."""

    output: Path
    provenance: "Provenance"
    texts: "tuple[ParityTexts, ...]"
    precision: Precision
    overwrite: bool


def _convert_reranker(folder: Path, target: _Target, bounds: tuple[float, float], as_json: bool) -> None:
    """bounds: largest difference of the fp32 graph, and least share of candidates kept in order."""
    from training.reranker_conversion import RerankerConversion, convert_reranker
    from training.reranker_parity import PairBounds
    from training.reranker_source import read_reranker

    conversion = RerankerConversion(
        output=target.output,
        provenance=target.provenance,
        texts=target.texts,
        precision=target.precision.value,
        bounds=PairBounds(*bounds),
        overwrite=target.overwrite,
    )
    with _watcher(as_json) as watcher:
        watcher.announce(f"reading {folder}")
        manifest = convert_reranker(read_reranker(folder), conversion, watcher)
    if as_json:
        print_json({"folder": str(target.output), **_fields(manifest)})
    else:
        _print_manifest(target.output, manifest)


def _only_for_encoders(**options: object) -> None:
    if given := [name for name, value in options.items() if value]:
        raise InvalidInput(
            f"--{given[0]} is for encoders; a reranker has no such thing",
            field=given[0],
            found="--kind reranker",
            expected="--kind encoder",
            next_step=f"leave --{given[0]} out",
        )


def _prompts(given: list[str]) -> dict[str, str]:
    split = [each.partition("=") for each in given]
    if wrong := [name for name, sign, _ in split if not (name and sign)]:
        raise InvalidInput("a prompt is NAME=TEXT", field="prompt", found=wrong[0], expected="query=query: ")
    return {name: text for name, _, text in split}


def _sizes(given: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in given.split(",") if size)
    except ValueError:
        raise InvalidInput(
            "dimensions are whole numbers", field="matryoshka", found=given, expected="such as 256,128"
        ) from None


@commands.command("build-bundled")
def build_bundled(as_json: AsJson = False) -> None:
    """Convert the bundled encoder from its original weights; fails when its parity gate fails."""
    _require_torch("building the encoder")
    from embeddings.artifact import BUNDLED_ENCODER
    from training.encoder_conversion import build_bundled_encoder

    with _watcher(as_json) as watcher:
        manifest = build_bundled_encoder(watcher=watcher)
    if as_json:
        print_json(_fields(manifest))
    else:
        _print_manifest(BUNDLED_ENCODER, manifest)


def _require_torch(what: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise FootnoteError(
            f"{what} needs packages that are not installed",
            found="no torch",
            expected="the extra `train`",
            next_step="make setup-dev, or pip install 'footnote[train]'",
        )


@contextmanager
def _watcher(hidden: bool) -> "Iterator[Watcher]":
    """Lines on stderr for the steps and a bar within a long one; neither next to JSON."""
    from training.encoder_conversion import Watcher

    with progress_bar(hidden) as progress:
        yield Watcher(lambda line: None if hidden else typer.echo(line, err=True), progress)
