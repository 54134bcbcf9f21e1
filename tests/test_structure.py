"""The map of DESIGN.md, checked from the imports: who may lean on whom, and what the service never loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
# Each folder may import itself and what stands to its left.
LAYERS = ("embeddings", "retrieval", "generation", "training", "app")
TRAINING_STACK = {"torch", "transformers", "sentence_transformers", "onnx", "onnxscript"}
NEVER_IN_SERVICE = TRAINING_STACK | {"ranx", "numba", "pandas", "scipy"}


def imported_names(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def packages_imported_by(folder: str) -> dict[str, set[str]]:
    """Top-level package -> files of `folder` that import it."""
    importers: dict[str, set[str]] = {}
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for name in imported_names(path):
            importers.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(REPOSITORY)))
    return importers


@pytest.mark.parametrize("position", range(len(LAYERS)), ids=LAYERS)
def test_folder_imports_only_what_stands_below_it(position: int) -> None:
    importers = packages_imported_by(LAYERS[position])
    above = {name: importers[name] for name in (*LAYERS[position + 1 :], "migrations") if name in importers}
    if LAYERS[position] == "app":
        above.pop("migrations", None)
    assert above == {}


@pytest.mark.parametrize("folder", [folder for folder in LAYERS if folder != "training"])
def test_only_training_names_the_training_stack(folder: str) -> None:
    importers = packages_imported_by(folder)
    assert {name: importers[name] for name in TRAINING_STACK if name in importers} == {}


def test_service_and_command_line_start_without_the_training_stack() -> None:
    modules = ("app.asgi", "app.cli", "embeddings.encoder", "retrieval.index", "generation.answering")
    script = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    started = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert started.returncode == 0, started.stderr
    assert NEVER_IN_SERVICE & set(started.stdout.split()) == set()


def test_lock_files_pin_every_package_and_name_no_host() -> None:
    for path in sorted(REPOSITORY.glob("requirements*.lock")):
        for line in path.read_text().splitlines():
            name, pin, version = line.partition("==")
            assert all((name, pin, version)), f"{path.name}: {line}"
            assert not set(line) & {"/", ":", "@", "+"}, f"{path.name}: {line}"


def test_lock_files_agree_on_every_version() -> None:
    pins: dict[str, dict[str, str]] = {}
    for path in REPOSITORY.glob("requirements*.lock"):
        for line in path.read_text().splitlines():
            name, _, version = line.partition("==")
            pins.setdefault(name, {})[path.name] = version
    assert {name: found for name, found in pins.items() if len(set(found.values())) > 1} == {}
