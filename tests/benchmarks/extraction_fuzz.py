"""Broken files through the real extraction: does it crash, hang or eat memory?

A hang is counted in seconds of processor time, so that a busy machine does not make one.
"""

import os
import resource
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embeddings.errors import FootnoteError
from retrieval.extraction import extract
from tests.benchmarks.mutations import BrokenFile, break_file
from tests.benchmarks.servers import status_mb

LONGEST_S = 10.0
PARSER_TIMEOUT_S = 120.0  # wall clock: the sandbox's own limit, which a fuzzed file should never reach
SLOWEST_SHOWN = 3


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="number of the first file, to go on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory-mb", type=int, default=1536, help="most that a parser may take")


@dataclass(slots=True)
class Tally:
    """What became of the files. surprises: errors that are not for the sender; slowest: processor seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    slowest: list[tuple[float, str]] = field(default_factory=list)
    parser_peak_mb: float = 0.0
    growth_mb: float = 0.0

    def add(self, file: BrokenFile, outcome: str, cpu_s: float) -> None:
        """Count one file."""
        self.outcomes[outcome] += 1
        self.slowest = sorted([*self.slowest, (round(cpu_s, 2), describe(file))], reverse=True)[
            :SLOWEST_SHOWN
        ]
        peaks = [status_mb(pid, "VmHWM") for pid in _parsers()]
        self.parser_peak_mb = max(self.parser_peak_mb, *peaks, 0.0)


def measure(options: Namespace) -> Mapping[str, object]:
    numbers = range(options.first, options.first + options.files)
    fixtures = _fixtures()
    started, before_mb = time.perf_counter(), status_mb(os.getpid(), "VmRSS")
    tally = run(break_file(number, fixtures, options.seed) for number in numbers)
    tally.growth_mb = status_mb(os.getpid(), "VmRSS") - before_mb
    slowest_s = tally.slowest[0][0] if tally.slowest else 0.0
    return {
        "files": options.files,
        "first": options.first,
        "outcomes": dict(tally.outcomes),
        "surprises": tally.surprises,
        "slowest_cpu_s": tally.slowest,
        "parser_peak_mb": round(tally.parser_peak_mb),
        "service_growth_mb": round(tally.growth_mb),
        "seconds": round(time.perf_counter() - started, 1),
        "passed": not tally.surprises
        and slowest_s <= LONGEST_S
        and tally.parser_peak_mb <= options.memory_mb,
    }


def run(files: Iterator[BrokenFile]) -> Tally:
    """Extract each file and count what became of it."""
    tally = Tally()
    for file in files:
        before = _cpu_s()
        try:
            outcome = _extract(file)
        except Exception as error:  # exactly what is looked for
            outcome = "surprise"
            tally.surprises.append(f"{describe(file)}: {type(error).__name__}: {error}"[:300])
        tally.add(file, outcome, _cpu_s() - before)
    return tally


def describe(file: BrokenFile) -> str:
    """What finds the file again: its number, and for the reader its name and how it was broken."""
    return f"{file.number} {file.name} ({', '.join(file.how)})"


def _extract(file: BrokenFile) -> str:
    try:
        extract(file.data, file.name, timeout_s=PARSER_TIMEOUT_S)
    except FootnoteError as error:
        return "parser died" if "crashed" in error.message else error.code
    return "read"


def _cpu_s() -> float:
    """Processor seconds of this process and of its parsers, those that have ended too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = sum(map(_running_cpu_s, _parsers()))
    return time.process_time() + ended.ru_utime + ended.ru_stime + running


def _parsers() -> list[int]:
    """Processes that parse. This thread started them, and nobody but it ends them."""
    started = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return [pid for pid in map(int, started) if not _has_ended(pid)]


def _has_ended(pid: int) -> bool:
    return _stat(pid)[0] == "Z"


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _running_cpu_s(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fixtures() -> Sequence[Path]:
    folder = Path(os.environ.get("FOOTNOTE_DATA", "../shared/data")) / "fixtures_documents"
    return sorted(path for path in folder.iterdir() if path.is_file())
