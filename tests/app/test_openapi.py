"""The API's description is a file under review: a change of the wire format shows in its diff.

To accept a change: python -m tests.app.test_openapi
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from app.asgi import create_app
from app.http.foreign_errors import foreign_form
from app.settings import Settings

SNAPSHOT = Path(__file__).with_name("openapi.json")


def describe_api() -> dict[str, Any]:
    served = msgspec.json.encode(create_app(Settings()).openapi_schema.to_schema())
    schema: dict[str, Any] = msgspec.json.decode(served)
    schema["info"]["version"] = "snapshot"
    return schema


def test_api_is_what_the_snapshot_says() -> None:
    assert describe_api() == json.loads(SNAPSHOT.read_text(encoding="utf-8")), (
        "the API changed; if it is meant: python -m tests.app.test_openapi"
    )


def test_every_operation_tells_what_it_does_and_how_it_fails() -> None:
    for path, item in describe_api()["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            failures = {status for status in operation["responses"] if status >= "400"}
            form = foreign_form(method.upper(), path)
            expected = "application/problem+json" if form is None else "application/json"
            for status in failures:
                assert list(operation["responses"][status]["content"]) == [expected]
            assert failures or path == "/health/live"


def test_every_field_of_a_request_is_described() -> None:
    schemas = describe_api()["components"]["schemas"]
    requests = ["SearchRequest", "AnswerRequest", "NewDocument", "FileForm", "ChunkingFields", "Deletion"]
    requests += [
        "FusionFields",
        "EmbeddingRequest",
        "EmbedRequest",
        "SimilarityRequest",
        "SimilarityParameters",
        "NewFeedback",
        "TrainingRequest",
        "TrainingForm",
    ]
    for name in requests:
        for field, schema in schemas[name]["properties"].items():
            assert schema.get("description"), f"{name}.{field}"


def test_every_route_of_the_guide_is_described() -> None:
    guide = (Path(__file__).parents[2] / "app" / "guide" / "api.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `([A-Z]+) (/[^`]+)` \|", guide, re.MULTILINE))
    described = {(method.upper(), path) for path, item in describe_api()["paths"].items() for method in item}
    assert told == described


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(describe_api(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
