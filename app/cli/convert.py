"""`footnote models convert`: make of a model a folder that Footnote serves."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.models import manifest_fields, print_manifest, require_torch, watching
from app.cli.output import AsJson, print_json
from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from embeddings.artifact import ModelManifest
    from training.encoder_conversion import Watcher
    from training.encoder_origin import Provenance
    from training.parity_texts import ParityTexts


class Kind(StrEnum):
    """What can be converted."""

    ENCODER = "encoder"
    RERANKER = "reranker"
    DECODER = "decoder"


class Precision(StrEnum):
    """How the numbers of a converted model are kept."""

    FP32 = "fp32"
    INT8 = "int8"
    INT4 = "int4"


class Scheme(StrEnum):
    """How a decoder's weights are scaled."""

    DYNAMIC = "dynamic"
    SYMMETRIC = "symmetric"
    AFFINE = "affine"


# Options of one kind of model; given with another they are an error. `None`, "" or [] is not given.
_OWN_OPTIONS = {
    Kind.ENCODER: ("prompt", "matryoshka", "judge"),
    Kind.DECODER: ("scheme", "block", "context", "lora", "perplexity_ratio"),
}
# Of numbers of unit vectors, of scores, of logits.
_FP32_DIFFERENCE = {Kind.ENCODER: 1e-4, Kind.RERANKER: 1e-4, Kind.DECODER: 1e-3}


def convert(  # noqa: PLR0913, PLR0917 - the options of one conversion
    source: Annotated[
        str,
        typer.Argument(help="A folder of sentence-transformers or transformers, or the id of a hub's model."),
    ],
    output: Annotated[Path, typer.Option(help="The folder to make.")],
    kind: Annotated[Kind, typer.Option(help="What the model is.")] = Kind.ENCODER,
    precision: Annotated[
        Precision, typer.Option(help="Of its numbers; int4 is for decoders.")
    ] = Precision.INT8,
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
    scheme: Annotated[
        Scheme | None, typer.Option(help="Of a decoder's weights; by default dynamic, with int4 symmetric.")
    ] = None,
    block: Annotated[
        int | None, typer.Option(help="Of a decoder: weights that share a scale, 32 by default.")
    ] = None,
    context: Annotated[
        int | None, typer.Option(help="Of a decoder: tokens of prompt and answer; the model's by default.")
    ] = None,
    lora: Annotated[
        Path | None, typer.Option(help="Folder of a LoRA adapter to merge into a decoder.")
    ] = None,
    fp32_difference: Annotated[
        float | None,
        typer.Option(min=0, help="Largest difference of the fp32 graph to the original.", show_default=False),
    ] = None,
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
    perplexity_ratio: Annotated[
        float | None,
        typer.Option(min=0, help="Of a decoder: largest ratio to fp32; by default 1.05, with int4 1.15."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a model; writes nothing when a figure of the comparison is out of bounds."""
    require_torch("converting a model")
    from training.encoder_origin import locate, trace
    from training.parity_texts import BUILT_IN, given_texts

    given: dict[str, object] = {
        "prompt": prompt,
        "matryoshka": matryoshka,
        "judge": judge,
        "scheme": scheme,
        "block": block,
    }
    given |= {"context": context, "lora": lora, "perplexity_ratio": perplexity_ratio}
    _check_options(kind, precision, given)
    compared = (given_texts(texts),) if texts else BUILT_IN
    folder = locate(source)
    target = _Target(folder, output, trace(source, folder, name), compared, precision, overwrite)
    difference = _FP32_DIFFERENCE[kind] if fp32_difference is None else fp32_difference
    with watching(as_json) as watcher:
        watcher.announce(f"reading {folder}")
        if kind is Kind.ENCODER:
            options = _EncoderOptions(_prompts(prompt or []), _sizes(matryoshka), tuple(judge or ()))
            cosines = (lowest_cosine, mean_cosine, top10_overlap, ndcg_drop / 100)
            manifest = _convert_encoder(target, options, (difference, *cosines), watcher)
        elif kind is Kind.RERANKER:
            manifest = _convert_reranker(target, (difference, order_kept), watcher)
        else:
            decoder = _DecoderOptions(scheme, block or 32, context, lora, perplexity_ratio)
            manifest = _convert_decoder(target, decoder, difference, watcher)
    if as_json:
        print_json({"folder": str(output), **manifest_fields(manifest)})
    else:
        print_manifest(output, manifest)


@dataclass(frozen=True, slots=True)
class _Target:
    """What to make of a model, whatever its kind."""

    folder: Path
    output: Path
    provenance: "Provenance"
    texts: "tuple[ParityTexts, ...]"
    precision: Precision
    overwrite: bool


@dataclass(frozen=True, slots=True)
class _EncoderOptions:
    prompts: dict[str, str]
    sizes: tuple[int, ...]
    judges: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _DecoderOptions:
    scheme: Scheme | None
    block: int
    context: int | None
    lora: Path | None
    perplexity_ratio: float | None


def _convert_encoder(
    target: _Target, options: _EncoderOptions, bounds: tuple[float, ...], watcher: "Watcher"
) -> "ModelManifest":
    """bounds: as ParityBounds takes them."""
    from training.encoder_conversion import Conversion, convert_encoder
    from training.encoder_parity import ParityBounds
    from training.encoder_source import read_source

    conversion = Conversion(
        output=target.output,
        provenance=target.provenance,
        texts=target.texts,
        precision="fp32" if target.precision is Precision.FP32 else "int8",
        judges=options.judges,
        bounds=ParityBounds(*bounds),
        overwrite=target.overwrite,
    )
    opened = read_source(target.folder, options.prompts, options.sizes)
    _tell(opened.notes, watcher)
    return convert_encoder(opened, conversion, watcher)


def _convert_reranker(target: _Target, bounds: tuple[float, float], watcher: "Watcher") -> "ModelManifest":
    """bounds: largest difference of the fp32 graph, and least share of candidates kept in order."""
    from training.reranker_conversion import RerankerConversion, convert_reranker
    from training.reranker_parity import PairBounds
    from training.reranker_source import read_reranker

    conversion = RerankerConversion(
        output=target.output,
        provenance=target.provenance,
        texts=target.texts,
        precision="fp32" if target.precision is Precision.FP32 else "int8",
        bounds=PairBounds(*bounds),
        overwrite=target.overwrite,
    )
    return convert_reranker(read_reranker(target.folder), conversion, watcher)


def _convert_decoder(
    target: _Target, options: _DecoderOptions, logit_difference: float, watcher: "Watcher"
) -> "ModelManifest":
    from training.causal_conversion import CausalConversion, convert_decoder
    from training.causal_lora import with_adapter
    from training.causal_quantisation import Quantisation
    from training.causal_source import read_causal_source

    scheme: Any = None if options.scheme is None else options.scheme.value
    quantisation = Quantisation(target.precision.value, scheme, options.block)
    provenance = target.provenance
    if options.lora is not None:
        provenance = with_adapter(provenance, options.lora)
    conversion = CausalConversion(
        output=target.output,
        provenance=provenance,
        texts=target.texts,
        quantisation=quantisation,
        bounds=quantisation.bounds(logit_difference, options.perplexity_ratio),
        overwrite=target.overwrite,
    )
    opened = read_causal_source(target.folder, context_tokens=options.context, adapter=options.lora)
    _tell(opened.notes, watcher)
    return convert_decoder(opened, conversion, watcher)


def _tell(notes: tuple[str, ...], watcher: "Watcher") -> None:
    for note in notes:
        watcher.announce(f"note: {note}")


def _check_options(kind: Kind, precision: Precision, given: dict[str, object]) -> None:
    """Raise InvalidInput for an option that is another kind's."""
    for owner, names in _OWN_OPTIONS.items():
        for option in names:
            if owner is not kind and given[option]:
                shown = option.replace("_", "-")
                raise InvalidInput(
                    f"--{shown} is for {owner}s; a {kind} has no such thing",
                    field=option,
                    found=f"--kind {kind}",
                    expected=f"--kind {owner}",
                    next_step=f"leave --{shown} out",
                )
    if precision is Precision.INT4 and kind is not Kind.DECODER:
        raise InvalidInput(
            f"--precision int4 is for decoders; a {kind} would lose too much",
            field="precision",
            found="int4",
            expected="int8 or fp32",
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
