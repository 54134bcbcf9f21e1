"""`footnote eval lm`: measure a decoder as a language model."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.cli.failures import EXIT_INTERRUPTED
from app.cli.output import AsJson, print_json, print_table
from app.cli.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.evaluation.language import LanguageTask, Measured
    from generation.sampling import SamplingSettings


def evaluate_lm(  # noqa: PLR0913, PLR0917  # each parameter is an option
    data: Annotated[Path, typer.Option(help="Texts or questions, .jsonl, .jsonl.gz or a text file.")],
    task: Annotated[
        Literal["perplexity", "choice", "answer"],
        typer.Option(help="Perplexity of texts, multiple choice, or answers that are written."),
    ] = "perplexity",
    model: Annotated[
        Path | None, typer.Option(help="Folder of the decoder. [default: the one of the settings]")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first lines.")] = None,
    shots: Annotated[int, typer.Option(min=0, help="Answered examples before each question.")] = 0,
    examples: Annotated[Path | None, typer.Option(help="File to take the examples from.")] = None,
    stride: Annotated[
        int | None,
        typer.Option(min=1, help="Perplexity: tokens from window to window. [default: half the context]"),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            min=2, help="Tokens that are read at once when texts are scored. [default: the model's]"
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 64,
    stop: Annotated[
        list[str] | None, typer.Option(help="A text that ends an answer; may be repeated.")
    ] = None,
    bleu_tokenizer: Annotated[
        Literal["13a", "zh", "char", "none"], typer.Option(help="How BLEU cuts words; zh for Chinese.")
    ] = "13a",
    out: Annotated[
        Path | None, typer.Option(help="JSON Lines file to write: what came of each line.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a decoder: perplexity, multiple choice, EM, BLEU."""
    from app.evaluation.language import LanguageTask
    from generation.sampling import SamplingSettings

    wanted = LanguageTask(task, data, limit, shots, examples, stride, bleu_tokenizer)
    sampling = SamplingSettings(max_tokens=max_tokens, stop=tuple(stop or ()))
    with _stopping(out):
        measured = _measure(wanted, model, sampling, context, hidden=as_json)
        if out is not None:
            write_rows(out, measured.rows)
    if as_json:
        print_json(measured.figures)
    else:
        _print_figures(measured.figures)


def _measure(
    task: "LanguageTask",
    model: Path | None,
    sampling: "SamplingSettings",
    context_tokens: int | None,
    *,
    hidden: bool,
) -> "Measured":
    from app.evaluation.language import measure_language
    from app.evaluation.language_decoders import open_language_decoder
    from app.settings import load_settings

    settings = load_settings()
    directory = model or settings.decoder
    with (
        open_language_decoder(directory, settings.threads, sampling, context_tokens) as decoder,
        progress_bar(hidden) as show,
    ):
        return measure_language(task, decoder, show)


@contextmanager
def _stopping(out: Path | None) -> "Iterator[None]":
    try:
        yield
    except KeyboardInterrupt:
        kept = "" if out is None else f" {out} is as it was before."
        typer.echo(f"Stopped; nothing was measured.{kept}", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def write_rows(out: Path, rows: list[dict[str, Any]]) -> None:
    """All of them or none: the file takes its name when it is complete."""
    import msgspec

    partial = out.with_name(f".{out.name}.part")
    try:
        partial.write_bytes(msgspec.json.Encoder().encode_lines(rows))
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _print_figures(figures: dict[str, Any]) -> None:
    rows = []
    for name, value in figures.items():
        if isinstance(value, dict):
            rows.append((name, *(f"{value[part]:.4f}" for part in ("value", "low", "high"))))
        else:
            rows.append((name, _shown(value), "", ""))
    print_table(("metric", "value", "low", "high"), rows)


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)
