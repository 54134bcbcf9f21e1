"""The steps by which files become durable, in one place, so that a test can stop the power after each."""

import os
from collections.abc import Callable
from pathlib import Path


class Disk:
    """Writes, syncs and renames. Every step is one method call."""

    def write(self, path: Path, write: Callable[[Path], object]) -> None:
        """Let `write` make the file at `path`."""
        write(path)

    def sync(self, path: Path) -> None:
        """Wait until a file, or the entries of a folder, are on the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)
