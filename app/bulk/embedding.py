"""A file of texts to a Parquet file of vectors: in bounded memory, and to be gone on with after any end."""

import errno
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NoReturn

import msgspec
import numpy as np

from app.bulk.parquet import Vectors, vector_batch, vector_schema
from app.bulk.parts import PartialOutput
from app.bulk.rows import BadLine, Fields, Window, read_rows, windows
from app.bulk.source import Source
from app.services.encoding import TextEncoder
from embeddings.engine import Embedded, EncoderEngine, Lane
from embeddings.errors import InvalidInput, StorageFull, TextTooLong
from embeddings.tokens import Keep
from embeddings.vectors import check_dimensions, unit_rows

if TYPE_CHECKING:
    from embeddings.distributed.encoding import RayEngine

# While one window is written the next is in the queue, so that the encoder never waits.
WINDOWS_AHEAD = 2

Progress = Callable[["BulkReport", Source], None]
Waiting = tuple[int, Window, Future[Embedded]]


@dataclass(frozen=True, slots=True)
class BulkOptions:
    """How to embed; a job can only be gone on with when all of it is the same.

    prompt: a name among the model's; dimensions: None for all; half: store 16-bit floats; truncate: `error`
    refuses an over-long text, `end` and `start` say what it loses; skip_errors: list lines that cannot be
    embedded beside the output and go on; window_lines, window_chars: what is in memory and kept together, so
    what is lost at most when the machine dies: some 5 s of work for two cores.
    """

    fields: Fields = field(default_factory=Fields)
    prompt: str = "passage"
    dimensions: int | None = None
    half: bool = False
    truncate: Literal["error", "end", "start"] = "error"
    skip_errors: bool = False
    window_lines: int = 1_024
    window_chars: int = 2_000_000

    @property
    def keep(self) -> Keep:
        """Which end of an over-long text the model gets to see."""
        return "end" if self.truncate == "start" else "start"


@dataclass(slots=True)
class BulkReport:
    """What was done by this call.

    tokens: that the model saw; resumed: texts that an earlier call had seen to; errors: lines left out of
    the whole output.
    """

    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    resumed: int = 0
    errors: int = 0


def embed_file(
    source: Path,
    target: Path,
    encoder: TextEncoder,
    engine: "EncoderEngine | RayEngine",
    options: BulkOptions,
    restart: bool = False,
    progress: Progress = lambda _report, _source: None,
) -> BulkReport:
    """Embed every text of `source` into `target`.

    source: a file, or `-` for JSON lines on standard input, which cannot be gone on with; engine: this
    process's, or that of a cluster; a job may be gone on with by the other one; restart: throw away what an
    unfinished call left; progress: gets the report so far, and the source with the bytes read of it.
    Raises InvalidInput for a line without a text or a text that may not be cut, with the line's number,
    NotFound for the file, Conflict when what is left is of another file, model or option, and StorageFull.
    """
    check_dimensions(options.dimensions, encoder.spec)
    encoder.tokenize([], options.prompt, options.keep)  # raises for an unknown prompt
    opened = Source(source)
    _check_target(source, target)
    try:
        return _Job(opened, target, encoder, engine, options).run(restart, progress)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise StorageFull(
            f"no space left for {target}",
            found=error.strerror,
            next_step="make room; the same command then goes on where this one stopped",
        ) from error


def _check_target(source: Path, target: Path) -> None:
    if target.is_dir():
        raise InvalidInput(f"{target} is a folder", field="out", expected="a file to write")
    if target.exists() and source.exists() and target.samefile(source):
        raise InvalidInput(
            f"{target} would replace the texts", field="out", expected="another file than that of the texts"
        )


class _Job:
    """One call of embed_file."""

    def __init__(
        self,
        source: Source,
        target: Path,
        encoder: TextEncoder,
        engine: "EncoderEngine | RayEngine",
        options: BulkOptions,
    ) -> None:
        self._source = source
        self._encoder = encoder
        self._engine = engine
        self._options = options
        self._ahead = WINDOWS_AHEAD if isinstance(engine, EncoderEngine) else engine.windows_ahead
        self._dimension = options.dimensions or encoder.dimension
        self._schema = vector_schema(self._dimension, options.half)
        self._output = PartialOutput(target, self._schema)
        self._report = BulkReport()

    def run(self, restart: bool, progress: Progress) -> BulkReport:
        repeatable = self._source.repeatable
        digest = self._source.sha256() if repeatable else None
        job = self._identity(digest)
        with self._output.open(job, restart=restart or not repeatable, keep=repeatable):
            with self._source.open() as stream:
                parts = self._embed(self._windows(stream), progress)
            self._report.errors = self._output.finish(parts, self._metadata(digest or self._source.sha256()))
        return self._report

    def _identity(self, digest: str | None) -> dict[str, object]:
        """What the parts depend on, as it comes back from JSON."""
        job = {
            "model": self._encoder.model_id,
            "source_sha256": digest,
            "format": Path(self._source.name.removesuffix(".gz")).suffix,
            **asdict(self._options),
        }
        return msgspec.json.decode(msgspec.json.encode(job), type=dict[str, object])

    def _embed(self, windows: Iterator[Window], progress: Progress) -> int:
        """Make the parts that are not there yet. Returns how many there are in all."""
        waiting: deque[Waiting] = deque()
        parts = 0
        try:
            for number, window in enumerate(windows):
                parts = number + 1
                if self._output.has(number):
                    self._report.resumed += len(window.rows)
                else:
                    waiting.append((number, window, self._submit(window)))
                if len(waiting) >= self._ahead:
                    self._keep(*self._take(waiting))
                progress(self._report, self._source)
            while waiting:
                self._keep(*self._take(waiting))
                progress(self._report, self._source)
        finally:
            for _, _, future in waiting:
                future.cancel()
        return parts

    def _take(self, waiting: deque[Waiting]) -> Waiting:
        """The next window to keep: the first one, and of a cluster one that is done.

        A window that is done over again, because a machine was lost, so holds up no other.
        """
        if self._ahead > WINDOWS_AHEAD:
            wait([future for _, _, future in waiting], return_when=FIRST_COMPLETED)
            while not waiting[0][2].done():
                waiting.rotate(-1)
        return waiting.popleft()

    def _windows(self, stream: IO[bytes]) -> Iterator[Window]:
        rows = read_rows(stream, self._source.name, self._options.fields)
        for window in windows(rows, self._options.window_lines, self._options.window_chars):
            if window.bad and not self._options.skip_errors:
                _refuse(window.bad[0])
            yield window

    def _submit(self, window: Window) -> Future[Embedded]:
        return self._engine.submit(
            [row.text for row in window.rows],
            prompt=self._options.prompt,
            lane=Lane.BULK,
            keep=self._options.keep,
            refuse_truncation=self._options.truncate == "error" and not self._options.skip_errors,
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
        return self._options.truncate != "error"

    def _too_long(self, window: Window, found: Embedded) -> Iterator[BadLine]:
        for row, tokens, cut in zip(window.rows, found.token_counts, found.truncated, strict=True):
            if cut and not self._may_cut:
                yield _too_long(row.line, tokens, self._encoder.max_tokens)

    def _count(self, found: Embedded, chosen: list[int]) -> None:
        self._report.texts += len(chosen)
        self._report.tokens += sum(min(found.token_counts[i], self._encoder.max_tokens) for i in chosen)
        self._report.truncated += sum(found.truncated[i] for i in chosen)

    def _metadata(self, digest: str) -> dict[str, str]:
        return {
            "footnote.model": self._encoder.model_id,
            "footnote.prompt": self._options.prompt,
            "footnote.dimensions": str(self._dimension),
            "footnote.source_sha256": digest,
        }


def _too_long(line: int, tokens: int, max_tokens: int) -> BadLine:
    return BadLine(line, f"{tokens} tokens; the model sees at most {max_tokens}")


def _refuse(bad: BadLine) -> NoReturn:
    raise InvalidInput(
        f"line {bad.line}: {bad.error}",
        field=f"line {bad.line}",
        next_step="mend it, or leave such lines out with --skip-errors; --truncate end cuts long texts",
    )
