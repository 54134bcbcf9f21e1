"""From the paths of a command line to the documents of a collection."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from embeddings.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to ingest. document_id: its path below the named folder, with forward slashes.

    named: it was named itself, so that a format that cannot be read is a failure and not a file to skip.
    """

    path: Path
    document_id: str
    named: bool


def find_files(paths: Iterable[Path]) -> tuple[FoundFile, ...]:
    """Walk files and folders, each once, in the order of names; hidden entries of folders are left out.

    Raises InvalidInput for a path that does not exist and for two files that would get the same id.
    """
    files: list[FoundFile] = []
    for path in paths:
        if path.is_dir():
            files.extend(_walk(path))
        elif path.is_file():
            files.append(FoundFile(path, path.name, named=True))
        else:
            raise _missing(path)
    return _distinct(files)


def _walk(folder: Path) -> Iterator[FoundFile]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield FoundFile(path, path.relative_to(folder).as_posix(), named=False)


def _missing(path: Path) -> InvalidInput:
    return InvalidInput(
        f"there is no file or folder {path}",
        field="PATH",
        found=str(path),
        expected="an existing file or folder",
        next_step="check the spelling; relative paths start at the working directory",
    )


def _distinct(files: Iterable[FoundFile]) -> tuple[FoundFile, ...]:
    """Each file once, however often it was found."""
    by_id: dict[str, FoundFile] = {}
    for file in files:
        first = by_id.setdefault(file.document_id, file)
        if first.path.resolve() != file.path.resolve():
            raise InvalidInput(
                f"{first.path} and {file.path} would both become the document {file.document_id!r}",
                field="PATH",
                found=f"two files with the id {file.document_id!r}",
                expected="a different id for each file; ids are paths below the named folder",
                next_step="name the folder that holds both, or ingest one of them into another collection",
            )
    return tuple(by_id.values())
