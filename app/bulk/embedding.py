"""A file of texts to a Parquet file of vectors: in bounded memory, and to be gone on with after any end."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Literal, NoReturn

import numpy as np

from app.bulk.parts import PartialOutput, Vectors, vector_batch, vector_schema
from app.bulk.rows import BadLine, Fields, Window, read_rows, windows
from app.services.encoding import TextEncoder
from embeddings.engine import Embedded, EncoderEngine, Lane
from embeddings.errors import InvalidInput, NotFound, TextTooLong
from embeddings.tokens import Keep
from embeddings.vectors import check_dimensions, unit_rows

# What is lost at most when the machine dies: some 20 s of work for two cores.
WINDOW_TEXTS = 4_096
WINDOW_CHARS = 8_000_000
# While one window is written the next is in the queue, so that the encoder never waits.
WINDOWS_AHEAD = 2

Progress = Callable[["BulkReport", int, int], None]


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """How to embed. prompt: a name among the model's; dimensions: None for all; half: store 16-bit floats;
    truncate: `none` refuses an over-long text, `end` and `start` say what it loses; skip_errors: list lines
    that cannot be embedded beside the output and go on.
    """

    fields: Fields = field(default_factory=Fields)
    prompt: str = "passage"
    dimensions: int | None = None
    half: bool = False
    truncate: Literal["none", "end", "start"] = "none"
    skip_errors: bool = False

    @property
    def keep(self) -> Keep:
        """Which end of an over-long text the model gets to see."""
        return "end" if self.truncate == "start" else "start"


@dataclass(slots=True)
class BulkReport:
    """What was done by this call. resumed: texts that an earlier one had done; errors: lines left out."""

    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    resumed: int = 0
    errors: int = 0


def embed_file(
    source: Path,
    target: Path,
    encoder: TextEncoder,
    engine: EncoderEngine,
    options: BulkOptions,
    restart: bool = False,
    progress: Progress = lambda _report, _read, _size: None,
) -> BulkReport:
    """Embed every text of `source` into `target`.

    restart: throw away what an unfinished call left; progress: gets the report so far, and bytes read of all.
    Raises InvalidInput for a line without a text or a text that may not be cut, with the line's number,
    NotFound for the file, and Conflict when what is left is of another file, model or option.
    """
    check_dimensions(options.dimensions, encoder.spec)
    if not source.is_file():
        raise NotFound(f"there is no file {source}", found=str(source), expected="a file of texts")
    job = _Job(source, target, encoder, engine, options)
    job.open(restart)
    return job.run(progress)


class _Job:
    """One call of embed_file."""

    def __init__(
        self, source: Path, target: Path, encoder: TextEncoder, engine: EncoderEngine, options: BulkOptions
    ) -> None:
        self._source = source
        self._encoder = encoder
        self._engine = engine
        self._options = options
        self._dimension = options.dimensions or encoder.dimension
        self._schema = vector_schema(self._dimension, options.half)
        self._output = PartialOutput(target, self._schema)
        self._report = BulkReport()
        self._digest = _sha256(source)

    def open(self, restart: bool) -> None:
        """Find what an earlier call of the same job left."""
        options = asdict(self._options)
        job = {"model": self._encoder.model_id, "source_sha256": self._digest, **options}
        self._output.open({name: _plain(value) for name, value in job.items()}, restart)

    def run(self, progress: Progress) -> BulkReport:
        waiting: deque[tuple[int, Window, Future[Embedded]]] = deque()
        size, parts = self._source.stat().st_size, 0
        try:
            with self._source.open("rb") as stream:
                for parts, window in enumerate(self._windows(stream), start=1):
                    if self._output.has(parts - 1):
                        self._report.resumed += len(window.rows)
                    else:
                        waiting.append((parts - 1, window, self._submit(window)))
                    if len(waiting) >= WINDOWS_AHEAD:
                        self._keep(*waiting.popleft())
                    progress(self._report, stream.tell(), size)
                while waiting:
                    self._keep(*waiting.popleft())
                    progress(self._report, size, size)
        finally:
            for _, _, future in waiting:
                future.cancel()
        self._report.errors = self._output.finish(parts, self._metadata())
        return self._report

    def _windows(self, stream: IO[bytes]) -> Iterator[Window]:
        rows = read_rows(stream, self._source.name, self._options.fields)
        for window in windows(rows, WINDOW_TEXTS, WINDOW_CHARS):
            if window.bad and not self._options.skip_errors:
                _refuse(window.bad[0])
            yield window

    def _submit(self, window: Window) -> Future[Embedded]:
        return self._engine.submit(
            [row.text for row in window.rows],
            prompt=self._options.prompt,
            lane=Lane.BULK,
            keep=self._options.keep,
            refuse_truncation=self._options.truncate == "none" and not self._options.skip_errors,
            refusable=False,
        )

    def _keep(self, number: int, window: Window, future: Future[Embedded]) -> None:
        """Wait for a window's vectors and write its part."""
        try:
            found = future.result()
        except TextTooLong as error:
            _refuse(_too_long(window.rows[error.index].line, error.tokens, error.max_tokens))
        chosen = [place for place, cut in enumerate(found.truncated) if not cut or self._may_cut]
        vectors: Vectors = unit_rows(found.vectors[chosen], self._dimension)
        batch = vector_batch(
            self._schema,
            [window.rows[place].id for place in chosen],
            [found.token_counts[place] for place in chosen],
            [found.truncated[place] for place in chosen],
            vectors.astype(np.float16) if self._options.half else vectors,
        )
        self._output.add(number, batch, [*window.bad, *self._too_long(window, found)])
        self._count(found, chosen)

    @property
    def _may_cut(self) -> bool:
        return self._options.truncate != "none"

    def _too_long(self, window: Window, found: Embedded) -> Iterator[BadLine]:
        for row, tokens, cut in zip(window.rows, found.token_counts, found.truncated, strict=True):
            if cut and not self._may_cut:
                yield _too_long(row.line, tokens, self._encoder.max_tokens)

    def _count(self, found: Embedded, chosen: list[int]) -> None:
        self._report.texts += len(chosen)
        self._report.tokens += sum(min(found.token_counts[i], self._encoder.max_tokens) for i in chosen)
        self._report.truncated += sum(found.truncated[i] for i in chosen)

    def _metadata(self) -> dict[str, str]:
        return {
            "footnote.model": self._encoder.model_id,
            "footnote.prompt": self._options.prompt,
            "footnote.dimensions": str(self._dimension),
            "footnote.source_sha256": self._digest,
        }


def _too_long(line: int, tokens: int, max_tokens: int) -> BadLine:
    return BadLine(line, f"{tokens} tokens; the model sees at most {max_tokens}")


def _refuse(bad: BadLine) -> NoReturn:
    raise InvalidInput(
        f"line {bad.line}: {bad.error}",
        field=f"line {bad.line}",
        next_step="mend it, or leave such lines out with --skip-errors; --truncate end cuts long texts",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _plain(value: object) -> object:
    """A value as it comes back from JSON."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return list(value) if isinstance(value, tuple) else value
