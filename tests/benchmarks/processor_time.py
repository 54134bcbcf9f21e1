"""Processor time of this process and of a PostgreSQL server beside it, whatever else the machine does."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def processor_clock(postgres_url: str | None) -> Callable[[], float]:
    """A clock of the seconds that this process, and the server, have computed. Raises OSError for a server of
    another machine.
    """
    if postgres_url is None:
        return time.process_time
    with psycopg.connect(postgres_url) as connection:
        backend = connection.info.backend_pid
        server = int(_fields(backend)[1])
        return lambda: time.process_time() + _server_s(server)


def _server_s(server: int) -> float:
    """Of a process, its children, and those that have ended."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii").split()
    ended = sum(map(int, _fields(server)[11:15]))
    return (ended + sum(map(_ticks, map(int, children)))) / _TICKS_A_SECOND


def _ticks(process: int) -> int:
    try:
        return sum(map(int, _fields(process)[11:13]))
    except FileNotFoundError:  # ended between the two looks
        return 0


def _fields(process: int) -> list[str]:
    """Of /proc/PID/stat, after the name."""
    return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
