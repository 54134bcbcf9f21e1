"""The API's description is valid OpenAPI 3.1, and tells what readers and generators of clients need."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.app.test_openapi import SNAPSHOT

API: dict[str, Any] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
OPERATIONS = [
    (f"{method.upper()} {path}", path, operation)
    for path, item in API["paths"].items()
    for method, operation in item.items()
]
operation_cases = pytest.mark.parametrize(
    ("path", "operation"), [case[1:] for case in OPERATIONS], ids=[case[0] for case in OPERATIONS]
)


def test_description_is_valid() -> None:
    assert API["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(API).iter_errors()] == []


def test_operations_have_names_of_their_own_that_programs_can_use() -> None:
    names = Counter(operation["operationId"] for _, _, operation in OPERATIONS)
    assert {name for name, count in names.items() if count > 1} == set()
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)


def test_tags_are_those_that_are_described() -> None:
    described = {tag["name"] for tag in API["tags"] if tag["description"]}
    used = {tag for _, _, operation in OPERATIONS for tag in operation["tags"]}
    assert used == described


def test_every_schema_is_used_and_every_reference_leads_somewhere() -> None:
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(API)))
    assert referred == set(API["components"]["schemas"])


def test_description_tells_licence_and_security() -> None:
    assert API["info"]["license"]["identifier"] == "Apache-2.0"
    assert API["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert {"key": []} in API["security"]


@operation_cases
def test_operation_is_told_in_a_line_and_in_words(path: str, operation: dict[str, Any]) -> None:
    assert 3 <= len(operation["summary"]) <= 60
    assert not operation["summary"].endswith(".")
    assert operation["description"].rstrip().endswith((".", ")"))


@operation_cases
def test_path_parameters_are_those_of_the_path(path: str, operation: dict[str, Any]) -> None:
    told = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
    assert told == set(re.findall(r"\{(\w+)\}", path))


@operation_cases
def test_parameters_are_described(path: str, operation: dict[str, Any]) -> None:
    assert [each["name"] for each in operation.get("parameters", []) if not each.get("description")] == []


@operation_cases
def test_operation_has_one_success_and_tells_its_failures(path: str, operation: dict[str, Any]) -> None:
    statuses = list(operation["responses"])
    assert len([status for status in statuses if status < "300"]) == 1
    assert path == "/health/live" or any("400" <= status < "500" for status in statuses) or "503" in statuses
    assert all(reply["description"] for reply in operation["responses"].values())


@operation_cases
def test_operation_has_an_example_of_what_it_takes_and_gives(path: str, operation: dict[str, Any]) -> None:
    missing = [where for where, content in _contents(operation) if "example" not in content]
    assert missing == []


def _contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Bodies of requests and of successes. A stream of events is told in words, except where it is all."""
    yield from operation.get("requestBody", {}).get("content", {}).items()
    for status, reply in operation["responses"].items():
        content = reply.get("content", {})
        only = len(content) == 1
        if status < "300":
            yield from ((name, each) for name, each in content.items() if only or name == "application/json")
