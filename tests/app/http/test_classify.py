"""Labels and similarity over HTTP."""

from dataclasses import replace

import pytest
from httpx import AsyncClient as Client
from litestar.handlers import BaseRouteHandler

from app.http.access import required_scope
from app.http.classify import ClassifyController
from app.resources import Models, Resources
from app.services.types import Scope
from app.settings import Settings
from tests.app.http.conftest import assert_problem
from tests.app.test_classification_service import EXAMPLES, Loads, make_classifier

BODY_EXAMPLES = [{"text": each.text, "label": each.label} for each in EXAMPLES]


@pytest.fixture
def classifier(settings: Settings) -> str:
    return make_classifier(settings.home, "intents")


@pytest.fixture
def models(models: Models) -> Models:
    return replace(models, load_encoder=Loads(models.tokenizer))


async def test_texts_get_their_labels(client: Client, classifier: str) -> None:
    reply = await client.post("/v1/classify", json={"classifier": "intents", "inputs": ["card", "loan"]})
    assert reply.status_code == 200, reply.text
    body = reply.json()
    assert body["model"] == classifier
    assert [(each["index"], each["label"]) for each in body["results"]] == [(0, "card"), (1, "loan")]
    first = body["results"][0]
    assert first["probability"] == first["labels"][0]["probability"]
    assert sum(each["probability"] for each in first["labels"]) == pytest.approx(1)
    assert not first["truncated"]


async def test_examples_in_the_request_need_no_classifier(client: Client) -> None:
    body = {"examples": BODY_EXAMPLES, "inputs": "card", "top": 1}
    reply = (await client.post("/v1/classify", json=body)).json()
    assert [each["label"] for each in reply["results"][0]["labels"]] == ["card"]
    assert reply["model"] == "hashing@1"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"inputs": "card"}, 422, "classifier"),
        ({"inputs": "card", "classifier": "x", "examples": BODY_EXAMPLES}, 422, "classifier"),
        ({"inputs": "card", "classifier": "x"}, 404, "classifier"),
        ({"inputs": "card", "examples": []}, 422, "examples"),
        ({"inputs": "card", "examples": BODY_EXAMPLES[:2]}, 422, "examples"),
        ({"inputs": "card", "examples": [*BODY_EXAMPLES, {"text": " ", "label": "x"}]}, 422, "examples[4]"),
        ({"inputs": [], "examples": BODY_EXAMPLES}, 422, "inputs"),
        ({"inputs": ["card", " "], "examples": BODY_EXAMPLES}, 422, "inputs[1]"),
        ({"inputs": ["card"] * 2049, "examples": BODY_EXAMPLES}, 422, "inputs"),
        ({"inputs": "card", "examples": BODY_EXAMPLES, "top": 0}, 422, "top"),
        ({"inputs": "card", "examples": BODY_EXAMPLES, "model": "x"}, 422, "model"),
    ],
)
async def test_bad_requests_name_their_field(
    client: Client, body: dict[str, object], status: int, field: str
) -> None:
    assert_problem(await client.post("/v1/classify", json=body), status, field)


async def test_classifiers_are_listed(client: Client, classifier: str) -> None:
    (found,) = (await client.get("/v1/classifiers")).json()["classifiers"]
    assert (found["id"], found["name"], found["labels"]) == (classifier, "intents", ["card", "loan"])


async def test_without_a_classifier_the_list_is_empty(client: Client) -> None:
    assert (await client.get("/v1/classifiers")).json() == {"classifiers": []}


async def test_candidates_come_by_their_likeness(client: Client, resources: Resources) -> None:
    body = {"inputs": ["plant tomatoes"], "candidates": ["snow", "tomatoes", "plant tomatoes"], "limit": 2}
    reply = (await client.post("/v1/similarity", json=body)).json()
    (result,) = reply["results"]
    assert [each["index"] for each in result["matches"]] == [2, 1]
    assert result["matches"][0]["score"] == pytest.approx(1, abs=1e-5)
    assert reply["model"] == resources.models.encoder.model_id


async def test_inputs_are_compared_with_one_another(client: Client) -> None:
    body = {"inputs": ["red house", "blue sea", "red house"], "min_score": 0.9}
    results = (await client.post("/v1/similarity", json=body)).json()["results"]
    assert [[each["index"] for each in result["matches"]] for result in results] == [[2], [], [0]]


async def test_texts_that_were_cut_are_told(client: Client) -> None:
    body = {"inputs": ["word", "word " * 300], "candidates": ["word " * 300]}
    reply = (await client.post("/v1/similarity", json=body)).json()
    assert (reply["truncated_inputs"], reply["truncated_candidates"]) == ([1], [0])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": "x", "candidates": []}, "candidates"),
        ({"inputs": "x", "candidates": "y", "limit": 0}, "limit"),
        ({"inputs": "x", "candidates": "y", "min_score": 2}, "min_score"),
    ],
)
async def test_bad_comparisons_name_their_field(client: Client, body: dict[str, object], field: str) -> None:
    assert_problem(await client.post("/v1/similarity", json=body), 422, field)


@pytest.mark.parametrize("handler", [ClassifyController.classify, ClassifyController.find_alike])
def test_reading_is_all_that_it_takes(handler: BaseRouteHandler) -> None:
    assert required_scope(handler, "POST") is Scope.READ
