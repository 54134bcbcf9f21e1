"""Threads that give way to the others of the machine, where the operating system knows such threads."""

import os
import sys
import threading
from contextlib import suppress

_LOWEST = 19  # of niceness


def give_way() -> None:
    """Lower the priority of the calling thread. Quietly does nothing where only processes have one.

    With two bulk threads on two cores, the p99 of single queries was 1.6 ms without bulk work and beside it
    5.5 ms at niceness 10, 4.1 ms at 19 and 2.3 ms at 19 as a batch thread, which never interrupts another
    one: at 10 a bulk thread is owed a tenth of a core, and takes it in turns of 4 ms. The idle class was no
    better, and such a thread could hold Python's lock for as long as other programs want all cores.
    """
    if sys.platform == "linux":  # elsewhere the call would lower the whole process
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
