"""Threads that give way to the others of the machine, where the operating system knows such threads."""

import os
import sys
import threading
from contextlib import suppress

# Steps of niceness below the process's other threads: a tenth of their share while they want all cores, and
# all that they leave. Idle scheduling would leave nothing, and this thread may hold Python's lock.
NICENESS = 10


def give_way() -> None:
    """Lower the priority of the calling thread. Quietly does nothing where only processes have one."""
    if sys.platform == "linux":  # elsewhere the call would lower the whole process
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
