"""Trainings over HTTP. No worker runs: what a training would leave is written by the test."""

import json
from typing import Any

import pytest
from httpx import AsyncClient as Client

from app.resources import Resources
from tests.app.http.conftest import assert_problem

TRAIN = "/v1/admin/collections/garden/train"
PAIRS = ("file", ("pairs.jsonl", b'{"query": "a", "positive": "b"}\n'))


async def test_training_is_a_job_with_the_whole_plan(
    admin: Client, garden: str, resources: Resources
) -> None:
    wanted = {"name": "better", "promote": "gate", "plan": {"optimisation": {"epochs": 1}}}
    reply = await admin.post(TRAIN, json=wanted)
    assert reply.status_code == 202
    job = reply.json()
    assert (job["kind"], job["collection"], job["state"]) == ("train-encoder", garden, "queued")
    asked = (await resources.jobs.get(job["id"])).input
    assert (asked["promote"], asked["dry_run"], asked["release"]) == ("gate", False, 1)
    assert asked["plan"]["name"] == "better"
    assert asked["plan"]["optimisation"]["epochs"] == 1
    assert asked["plan"]["optimisation"]["evaluations"] > 1
    assert (asked["plan"]["base"], asked["plan"]["in_service"]) == (None, None)
    assert asked["plan"]["threads"] == resources.settings.threads
    assert_problem(await admin.post(TRAIN, json={}), 409, "collection")


async def test_examples_are_items_of_the_job(admin: Client, garden: str, resources: Resources) -> None:
    data = {"request": json.dumps({"dry_run": True, "plan": {"objective": {"name": "Triplet"}}})}
    reply = await admin.post(f"{TRAIN}/files", files=[PAIRS], data=data)
    assert reply.status_code == 202, reply.text
    job = reply.json()
    items = (await admin.get(f"/v1/jobs/{job['id']}/items")).json()["items"]
    assert [item["name"] for item in items] == ["pairs.jsonl"]
    asked = (await resources.jobs.get(job["id"])).input
    assert (asked["dry_run"], asked["plan"]["objective"]["name"]) == (True, "Triplet")
    stored = resources.settings.home / "uploads" / job["id"] / "0"
    assert stored.read_bytes() == PAIRS[1][1]


async def test_report_tells_plan_losses_and_verdict(admin: Client, garden: str, resources: Resources) -> None:
    job = (await admin.post(TRAIN, json={})).json()["id"]
    told = (await admin.get(f"{TRAIN}/{job}/report")).json()
    assert (told["losses"], told["report"]) == ([], None)
    assert told["plan"]["name"].startswith("garden-")
    folder = resources.training.folder(job)
    (folder / "round-1").mkdir(parents=True)
    (folder / "round-1" / "loss.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.0}\n')
    (folder / "report.json").write_text('{"promote": false, "reasons": ["no gain"]}')
    told = (await admin.get(f"{TRAIN}/{job}/report")).json()
    points = [{"step": 1.0, "loss": 2.5}, {"step": 2.0, "loss": 2.0}]
    assert told["losses"] == [{"stage": "round-1", "points": points}]
    assert told["report"] == {"promote": False, "reasons": ["no gain"]}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"plan": {"optimisation": {"epochs": 0}}}, 422, "plan"),
        ({"plan": {"optimization": {}}}, 422, "plan"),
        ({"plan": {"base": "relative"}}, 422, "plan.base"),
        ({"plan": []}, 422, "plan"),
        ({"promote": "always"}, 422, "promote"),
        ({"name": "a/b"}, 422, "name"),
        ({"epochs": 1}, 422, "epochs"),
    ],
)
async def test_wrong_plan_is_refused(
    admin: Client, garden: str, body: dict[str, Any], status: int, field: str
) -> None:
    assert_problem(await admin.post(TRAIN, json=body), status, field)
    assert (await admin.get("/v1/jobs")).json()["jobs"] == []


async def test_unknown_places_are_not_found(admin: Client, garden: str) -> None:
    assert (await admin.post("/v1/admin/collections/absent/train", json={})).status_code == 404
    assert (await admin.get(f"{TRAIN}/{'0' * 20}/report")).status_code == 404
    other = await admin.post("/v1/snapshots", json={"name": "monday"})
    assert_problem(await admin.get(f"{TRAIN}/{other.json()['id']}/report"), 404, "job_id")
    wrong = [("file", ("pairs.docx", b"PK"))]
    assert_problem(await admin.post(f"{TRAIN}/files", files=wrong), 415, "file")
    assert_problem(await admin.post(f"{TRAIN}/files", json={}), 415, "Content-Type")
