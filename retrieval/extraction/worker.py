"""The process in which documents are parsed: `python -m retrieval.extraction.worker`.

Requests and replies are frames on stdin and stdout: 8 bytes of length (big-endian), then that many bytes. A
request is a JSON line `{"kind", "timeout_s"}` followed by the file; a reply is a JSON object. One file at a
time.
"""

import faulthandler
import json
import os
import select
import struct
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from embeddings.errors import FootnoteError
from retrieval.extraction.formats import FileKind
from retrieval.extraction.reading import Reading

IDLE_S = 60.0  # an idle worker ends and gives its memory back
MEMORY_LIMIT_BYTES = 3 * 1024**3


def read_frame(stream: BinaryIO) -> bytes | None:
    """Return the next frame, or None at the end of the stream."""
    header = stream.read(8)
    if len(header) < 8:
        return None
    (length,) = struct.unpack(">Q", header)
    frame = stream.read(length)
    return frame if len(frame) == length else None


def write_frame(stream: BinaryIO, frame: bytes) -> None:
    """Write one frame and flush."""
    stream.write(struct.pack(">Q", len(frame)))
    stream.write(frame)
    stream.flush()


def read_document(kind: FileKind, data: bytes) -> Reading:
    """Parse one file; each parser is imported at its first use."""
    if kind is FileKind.PDF:
        from retrieval.extraction.pdf import read_pdf  # noqa: PLC0415

        return read_pdf(data)
    if kind is FileKind.EPUB:
        from retrieval.extraction.epub import read_epub  # noqa: PLC0415

        return read_epub(data)
    if kind is FileKind.HTML:
        from retrieval.extraction.html import read_html  # noqa: PLC0415

        return read_html(data.decode())
    if kind in (FileKind.CSV, FileKind.TSV):
        from retrieval.extraction.tables import read_table  # noqa: PLC0415

        return read_table(data.decode(), "\t" if kind is FileKind.TSV else None)
    if kind is FileKind.XML:
        from retrieval.extraction.structured import read_xml  # noqa: PLC0415

        return read_xml(data.decode())
    from retrieval.extraction.office import read_office  # noqa: PLC0415

    return read_office(data, kind)


def _answer(frame: bytes) -> dict[str, object]:
    header, _, data = frame.partition(b"\n")
    request = json.loads(header)
    # A thread that ends this process when a parser hangs and the parent is no longer there to kill it.
    faulthandler.dump_traceback_later(request["timeout_s"], exit=True)
    try:
        return {"reading": asdict(read_document(FileKind(request["kind"]), data))}
    except FootnoteError as error:
        fields = {name: getattr(error, name) for name in ("field", "found", "expected", "next_step")}
        return {"error": {"code": error.code, "message": error.message, **fields}}
    except MemoryError:
        return {"failure": "it needs too much memory"}
    except Exception as error:  # a parser's surprise is that file's failure, not the worker's
        return {"failure": f"{type(error).__name__}: {error}"}
    finally:
        faulthandler.cancel_dump_traceback_later()


def _limit_memory() -> None:
    import resource  # noqa: PLC0415  # only here, since Windows has none

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_LIMIT_BYTES)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
    # Where the machine or the container has less than that, this process is the one to go, not the service.
    with suppress(OSError), Path("/proc/self/oom_score_adj").open("w") as score:
        score.write("1000")


def main() -> None:
    """Serve requests until the parent closes the pipe or none came for IDLE_S seconds."""
    _limit_memory()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not break the frames
    while select.select([0], [], [], IDLE_S)[0]:
        frame = read_frame(sys.stdin.buffer)
        if frame is None:
            return
        write_frame(replies, json.dumps(_answer(frame)).encode())


if __name__ == "__main__":
    main()
