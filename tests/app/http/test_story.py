"""The examples of the API's description are requests that work and replies that come."""

import json
from typing import Any

from httpx import AsyncClient
from jsonschema import Draft202012Validator

from app.http.openapi_examples import read_story
from tests.app.http.story import body_of, live_through
from tests.app.test_openapi import SNAPSHOT

API: dict[str, Any] = json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def conforms(schema: dict[str, Any], value: object) -> list[str]:
    """What is wrong with a value under a schema of the description."""
    whole = {**schema, "components": API["components"]}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]


async def test_story_can_be_lived_through(admin: AsyncClient) -> None:
    """Each request is answered with the status that is told and in the form that is described."""
    described = {o["operationId"]: o for item in API["paths"].values() for o in item.values()}
    faults: dict[str, object] = {}
    async for step, reply in live_through(admin, API):
        if reply.status_code != step.status:
            faults[step.operation] = (reply.status_code, reply.text[:300])
            continue
        content = described[step.operation]["responses"][str(step.status)].get("content", {})
        if "application/json" in content:
            wrong = conforms(content["application/json"]["schema"], body_of(reply))
            faults.update({step.operation: wrong} if wrong else {})
    assert faults == {}


def test_every_example_has_the_form_that_is_described() -> None:
    faults = {}
    for path, item in API["paths"].items():
        for method, operation in item.items():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (body.get("content", {}) for body in bodies):
                for name, media_type in content.items():
                    if "example" in media_type and name == "application/json":
                        wrong = conforms(media_type["schema"], media_type["example"])
                        faults.update({f"{method} {path}": wrong} if wrong else {})
    assert faults == {}


def test_step_that_is_only_shown_has_its_reply() -> None:
    steps = {step.operation: step for step in read_story()}
    shown = [step for step in steps.values() if step.shown_only is not None]
    assert [
        step.operation for step in shown if not isinstance(steps[step.reply_of or step.operation].reply, dict)
    ] == []
