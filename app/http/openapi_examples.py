"""An example for each operation of the API, from a story that the tests live through.

The story is data beside this file: its steps follow on one another, and a value such as `$add_feedback.id` is
taken from the reply to an earlier one. `python -m tests.app.http.story` records the replies anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

STORY = Path(__file__).with_name("openapi_examples.json")
EVENT_STREAM = "text/event-stream"
_METHODS = ("get", "post", "put", "patch", "delete")


class Step(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One request and what came back.

    operation: its id; path, query: parameters; request: a JSON body; files, form: of a multipart body, file
    names to texts; reply: the JSON or the text that came back; shown_only: why the tests do not send it;
    reply_of: the operation with the same reply.
    """

    operation: str
    status: int
    path: Mapping[str, Any] = {}
    query: Mapping[str, Any] = {}
    request: Any = UNSET
    files: Mapping[str, str] = {}
    form: Mapping[str, str] = {}
    shown_only: str | None = None
    reply_of: str | None = None
    reply: Any | UnsetType = UNSET


def read_story() -> Sequence[Step]:
    """The steps in their order."""
    return msgspec.json.decode(STORY.read_bytes(), type=list[Step])


def add_examples(schema: dict[str, Any]) -> None:
    """Write each step into its operation: parameters, the body, and the reply."""
    steps = {step.operation: step for step in read_story()}
    replies = {name: step.reply for name, step in steps.items()}
    for operation in operations(schema):
        step = steps.get(operation["operationId"])
        if step is not None:
            _add_parameters(operation, step, replies)
            _add_request(operation, step, replies)
            _add_reply(operation, step, replies[step.reply_of or step.operation])


def operations(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation of an OpenAPI document."""
    for item in schema["paths"].values():
        yield from (item[method] for method in _METHODS if method in item)


def resolve(value: Any, replies: Mapping[str, Any]) -> Any:
    """A value with what stands for parts of earlier replies: `$add_feedback.id`."""
    if isinstance(value, dict):
        return {name: resolve(each, replies) for name, each in value.items()}
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    operation, *keys = value[1:].split(".")
    found = replies[operation]
    for key in keys:
        found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def _add_parameters(operation: dict[str, Any], step: Step, replies: Mapping[str, Any]) -> None:
    given = resolve({**step.path, **step.query}, replies)
    for parameter in operation.get("parameters", []):
        if parameter["name"] in given:
            parameter["example"] = given[parameter["name"]]


def _add_request(operation: dict[str, Any], step: Step, replies: Mapping[str, Any]) -> None:
    for media_type in operation.get("requestBody", {}).get("content", {}).values():
        form = {"file": list(step.files), **step.form}
        media_type["example"] = form if step.files else resolve(step.request, replies)


def _add_reply(operation: dict[str, Any], step: Step, reply: Any) -> None:
    content = operation["responses"].get(str(step.status), {}).get("content", {})
    for name, media_type in content.items():
        if reply is not UNSET and isinstance(reply, str) == (name != "application/json"):
            media_type["example"] = reply
