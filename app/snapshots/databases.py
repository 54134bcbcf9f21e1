"""Copies of SQLite files of one instant, made while others write, and their examination."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

PAGES_AT_ONCE = 2048  # 8 MiB: about 10 ms between two looks at whether to stop
STEPS_AT_ONCE = 1_000_000  # of SQLite's machine: about 10 ms
PROBLEMS_SHOWN = 20


def copy_database(
    source: Path, target: Path, busy_timeout_s: int, progress: Callable[[int, int], None]
) -> None:
    """Copy all that was committed before this call. progress: pages done, pages in all; may raise to stop.

    The read transaction keeps the instant: without it SQLite would begin the copy anew after each write of
    another process, and never come to its end beside a busy writer. The write-ahead log grows meanwhile.
    Raises sqlite3.OperationalError.
    """
    with connect(source, busy_timeout_s) as reader, connect(target, 0, "rwc") as writer:
        # The copy is thrown away unless all of it is there, so nothing of it has to survive a power cut.
        writer.execute("PRAGMA synchronous = OFF")
        writer.execute("PRAGMA journal_mode = OFF")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        reader.backup(
            writer, pages=PAGES_AT_ONCE, progress=lambda _, rest, total: progress(total - rest, total)
        )
        writer.execute("PRAGMA journal_mode = DELETE")  # no log beside the copy


def find_problems(path: Path, full: bool, still_wanted: Callable[[], None] = lambda: None) -> list[str]:
    """What is wrong inside a database, at most some twenty lines; empty when all is well.

    full: also compare indexes with their tables, and follow foreign keys; without it a third of the time.
    still_wanted: called now and then; may raise to stop.
    """
    check = "integrity_check" if full else "quick_check"
    try:
        with connect(path, 1) as connection, _interrupted(connection, still_wanted):
            rows = [row[0] for row in connection.execute(f"PRAGMA {check}({PROBLEMS_SHOWN})")]
            found = [] if rows == ["ok"] else rows
            if full:
                orphans = connection.execute("PRAGMA foreign_key_check").fetchmany(PROBLEMS_SHOWN)
                found += [f"row {row} of {table} points to no {parent}" for table, row, parent, _ in orphans]
            return found
    except sqlite3.DatabaseError as error:
        return [str(error)]


@contextmanager
def connect(path: Path, busy_timeout_s: int, mode: str = "rw") -> Iterator[sqlite3.Connection]:
    """A connection without transactions of its own, closed at the end. mode: rw never makes a file."""
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, timeout=busy_timeout_s, isolation_level=None)) as connection:
        yield connection


@contextmanager
def _interrupted(connection: sqlite3.Connection, still_wanted: Callable[[], None]) -> Iterator[None]:
    """Let `still_wanted` end a long statement by what it raises."""
    raised: list[BaseException] = []

    def handle() -> int:
        try:
            still_wanted()
        except BaseException as error:  # passed on below: SQLite would swallow it
            raised.append(error)
        return len(raised)

    connection.set_progress_handler(handle, STEPS_AT_ONCE)
    try:
        yield
    except sqlite3.OperationalError:
        if raised:
            raise raised[0] from None
        raise
