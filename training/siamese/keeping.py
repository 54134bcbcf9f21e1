"""Results that stay in a run's folder, each written whole, so that a run that was killed goes on."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")


def kept(path: Path, make: Callable[[], T]) -> T:
    """What stands in the file; made and written first when it is not there."""
    if not path.is_file():
        _write_whole(path, pickle.dumps(make()))
    return cast(T, pickle.loads(path.read_bytes()))  # noqa: S301 - our own file


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON."""
    _write_whole(path, json.dumps(value, indent=2, ensure_ascii=False).encode())


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
