"""`footnote embed`: a file of texts to a Parquet file of vectors."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import EXIT_INTERRUPTED
from app.cli.output import AsJson, print_json
from app.cli.progress import speed_bar
from app.cli.ray import RayAddress

if TYPE_CHECKING:
    from app.bulk.embedding import BulkOptions, BulkReport
    from app.bulk.source import Source
    from app.settings import Settings
    from embeddings.distributed.encoding import RayEngine
    from embeddings.encoder import Encoder
    from embeddings.engine import EncoderEngine


class Truncate(StrEnum):
    """What becomes of an over-long text."""

    ERROR = "error"
    END = "end"
    START = "start"


def embed(  # noqa: PLR0913, PLR0917  # each parameter is an option
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Texts: .jsonl or .csv, also with .gz, .parquet, or - for JSON lines on stdin.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    text_field: Annotated[
        list[str] | None,
        typer.Option(help="Field with the text; repeat to join several. [default: text]"),
    ] = None,
    id_field: Annotated[
        str | None, typer.Option(help="Field with the id; default: id, _id, else the number of the line.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="query, passage or another prompt of the model.")] = "passage",
    dimensions: Annotated[
        int | None, typer.Option(help="A smaller size that the model was trained for.")
    ] = None,
    float16: Annotated[bool, typer.Option("--float16", help="Store 16-bit floats, half as large.")] = False,
    truncate: Annotated[
        Truncate,
        typer.Option(help="A text longer than the model sees: refuse it, or cut its end or start."),
    ] = Truncate.ERROR,
    skip_errors: Annotated[
        bool, typer.Option("--skip-errors", help="List lines that cannot be embedded in OUT.errors.jsonl.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Do not go on where a call stopped.")] = False,
    ray: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Embed a file of any size. The same command goes on where an interrupted one stopped."""
    from app.bulk.embedding import BulkOptions
    from app.bulk.rows import Fields

    options = BulkOptions(
        fields=Fields(tuple(text_field or ("text",)), id_field),
        prompt=prompt,
        dimensions=dimensions,
        half=float16,
        truncate=truncate.value,
        skip_errors=skip_errors,
    )
    try:
        report = _embed(source, out, options, restart, ray, hidden=as_json)
    except KeyboardInterrupt:
        typer.echo(_stopped(source), err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        print_json(report)
    else:
        _print_report(report, out)


def _stopped(source: Path) -> str:
    if str(source) == "-":
        return "Stopped. Nothing is kept of standard input; a file could be gone on with."
    return "Stopped. The same command again goes on where this one stopped."


def _embed(
    source: Path, out: Path, options: "BulkOptions", restart: bool, ray: str | None, *, hidden: bool
) -> "BulkReport":
    from app.bulk.embedding import embed_file
    from app.settings import load_settings
    from embeddings.encoder import Encoder

    settings = load_settings()
    encoder = Encoder.load(settings.encoder)
    with _engine(encoder, settings, ray) as engine, speed_bar(hidden) as show:

        def tell(report: "BulkReport", reading: "Source") -> None:
            show(reading.read_bytes, reading.size_bytes, report.texts, report.tokens)

        return embed_file(source, out, encoder, engine, options, restart, tell)


@contextmanager
def _engine(
    encoder: "Encoder", settings: "Settings", ray: str | None
) -> "Iterator[EncoderEngine | RayEngine]":
    """The engine of this process, or that of the cluster that the option names."""
    from embeddings.engine import EncoderEngine

    if ray is not None:
        from embeddings.distributed.opening import ray_engine

        with ray_engine(ray, encoder, settings.encoder, settings.threads) as distributed:
            yield distributed
        return
    engine = EncoderEngine(encoder, settings.threads)
    try:
        yield engine
    finally:
        engine.close()


def _print_report(report: "BulkReport", out: Path) -> None:
    resumed = f", {report.resumed} were there from before" if report.resumed else ""
    typer.echo(f"{out}: {report.texts} texts embedded{resumed}; {report.tokens} tokens")
    if report.truncated:
        typer.echo(f"{report.truncated} texts were cut; column `truncated` says which")
    if report.errors:
        typer.echo(f"{report.errors} lines were left out: see {out}.errors.jsonl", err=True)
