"""Runs a module within bounds, and ends with the process that started it:

    python -m app.jobs.bounded LOCK NICENESS MEMORY_MB MODULE ARGUMENT...

The module begins when nobody else holds the file LOCK, gives way to other processes by NICENESS (19: to all
of them), and gets no memory beyond MEMORY_MB. The other end of standard input belongs to whoever started
this: when that end is gone, the process is told to stop, and ends.
"""

import fcntl
import os
import runpy
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

FAREWELL_S = 2.0
# Of all processes the kernel takes this one first when memory runs out, and not the service.
_OOM_SCORE = "900"


def main(arguments: list[str]) -> None:
    """Run a module as if it had been started by itself."""
    lock, niceness, memory_mb, module, *rest = arguments
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    with Path(lock).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _bound(int(niceness), int(memory_mb))
        sys.argv = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _bound(niceness: int, memory_mb: int) -> None:
    os.nice(niceness)
    with suppress(ImportError, ValueError, OSError):  # systems without such limits
        import resource  # noqa: PLC0415

        # Of memory that is written, not of addresses: libraries reserve many more of those than they use.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 1024 * 1024,) * 2)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def _end_with(parent: int) -> None:
    # Not through sys.stdin, whose lock this thread would hold for ever: Python could not end in order.
    while os.read(parent, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(FAREWELL_S)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
