"""The recipes of app/deploy, read as data."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from app.asgi import create_app
from app.settings import Settings
from tests.app.documentation import ROOT

DEPLOY = ROOT / "app" / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def compose(values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """compose.yaml with the defaults of its variables, or these values; what has no default is `secret`."""
    given = values or {}

    def put_in(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        return given.get(name) or (rest if kind == "-" else "secret")

    document: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(put_in, COMPOSE.read_text(encoding="utf-8")))
    return document


def compose_variables() -> dict[str, str | None]:
    """Each variable of compose.yaml with its default; None: it has to be set."""
    found = _VARIABLE.findall(COMPOSE.read_text(encoding="utf-8"))
    return {name: rest if kind == "-" else None for name, kind, rest in found}


def manifests(*files: str) -> list[dict[str, Any]]:
    """The objects of these files of the folder kubernetes, or of all but the kustomization."""
    paths = [KUBERNETES / file for file in files] or sorted(KUBERNETES.glob("*.yaml"))
    return [each for path in paths if path.name != "kustomization.yaml" for each in _objects(path)]


def _objects(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Name, pod and labels of each object that makes pods."""
    for each in objects:
        template = each.get("spec", {}).get("template")
        if template:
            yield each["metadata"]["name"], template["spec"], template["metadata"]["labels"]


def served_paths() -> set[str]:
    """Every path that `footnote serve` answers."""
    return {route.path for route in create_app(Settings()).routes}


def seconds(duration: str) -> int:
    """Of a duration as compose writes it: 30s, 2m."""
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def size(text: str) -> int:
    """Bytes of 512MB, 2g, 8Gi: powers of two, as PostgreSQL, Docker and Kubernetes mean them here."""
    number, unit = re.fullmatch(r"(\d+)([kmgKMG])i?[bB]?", text).groups()  # type: ignore[union-attr]
    return int(number) << {"k": 10, "m": 20, "g": 30}[unit.lower()]
