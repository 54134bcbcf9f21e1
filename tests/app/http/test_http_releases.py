"""Releases over HTTP; the job's work is done in this process."""

from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient as Client

from app.encoders import LoadedEncoder
from app.jobs.context import JobContext
from app.jobs.reindexing import reindex
from app.resources import Models, Resources
from app.services.types import DocumentInput
from tests.app.hashing_encoder import HashingEncoder

ADMIN = "/v1/admin/collections/notes"


@pytest.fixture
def models(models: Models) -> Models:
    """Any folder holds an encoder of 48 dimensions."""

    def load(folder: Path) -> LoadedEncoder:
        return LoadedEncoder(HashingEncoder(f"{folder.name}@1", dimension=48), models.tokenizer)

    return Models(models.encoder, models.tokenizer, models.answerer, load)


@pytest.fixture
async def notes(resources: Resources) -> str:
    """A collection of one document."""
    await resources.collections.create("notes")
    await resources.documents.add("notes", [DocumentInput("A harbour.", "a")])
    return "notes"


async def do_job(resources: Resources, job_id: str) -> dict[str, Any]:
    async def run_step(_name: str, work: Any) -> Any:
        return await work()

    job = await resources.jobs.get(job_id)
    return await reindex(JobContext(resources, job.id, 1, job.collection, job.input, run_step))


async def released(admin: Client) -> int:
    reply = await admin.post("/v1/collections/notes/search", json={"query": "harbour"})
    assert [hit["document_id"] for hit in reply.json()["hits"]] == ["a"]
    number: int = reply.json()["release"]
    return number


async def test_reindex_is_a_job_whose_release_takes_over_and_goes_back(
    resources: Resources, admin: Client, notes: str
) -> None:
    reply = await admin.post(f"{ADMIN}/reindex", json={"encoder": "wide", "chunk_max_tokens": 32})
    assert reply.status_code == 202
    begun = reply.json()
    assert (begun["release"]["number"], begun["release"]["state"]) == (2, "building")
    again = await admin.post(f"{ADMIN}/reindex", json={"encoder": "wide", "chunk_max_tokens": 32})
    assert again.json()["job"]["id"] == begun["job"]["id"]
    assert await released(admin) == 1
    result = await do_job(resources, begun["job"]["id"])
    assert (result["number"], result["state"], result["report"]["reasons"]) == (2, "serving", [])
    assert await released(admin) == 2
    assert (await admin.post(f"{ADMIN}/rollback")).json()["number"] == 1
    assert await released(admin) == 1
    assert (await admin.post(f"{ADMIN}/releases/2/promote")).json()["state"] == "serving"
    listed = (await admin.get(f"{ADMIN}/releases")).json()["releases"]
    assert [(each["number"], each["state"]) for each in listed] == [(2, "serving"), (1, "previous")]
    assert (await admin.get(f"{ADMIN}/releases/2")).json()["model_id"] == "wide@1"
    assert (await admin.post(f"{ADMIN}/prune")).json() == {"chunks": 0, "vectors": 0, "indexes": 0}


async def test_release_that_is_not_ready_or_not_there_is_refused(admin: Client, notes: str) -> None:
    await admin.post(f"{ADMIN}/reindex", json={"encoder": "wide", "promote": False})
    assert (await admin.post(f"{ADMIN}/releases/2/promote")).status_code == 409
    assert (await admin.post(f"{ADMIN}/rollback")).status_code == 409
    assert (await admin.get(f"{ADMIN}/releases/3")).status_code == 404
    assert (await admin.post(f"{ADMIN}/reindex", json={})).status_code == 409
    reply = await admin.post(f"{ADMIN}/reindex", json={"chunk_max_tokens": 1})
    assert (reply.status_code, reply.json()["field"]) == (422, "settings.chunk_max_tokens")


async def test_index_that_files_keep_is_told_and_no_stranger_may_keep_it(admin: Client, notes: str) -> None:
    assert (await admin.get("/v1/collections/notes")).json()["engine"] == "faiss"
    (release,) = (await admin.get(f"{ADMIN}/releases")).json()["releases"]
    assert release["engine"] == "faiss"
    for engine, status in (("faiss", 409), ("postgresql://me:secret@elsewhere/db", 422), ("disk", 422)):
        reply = await admin.post(f"{ADMIN}/reindex", json={"engine": engine})
        assert reply.status_code == status
        assert "secret" not in reply.text
    assert reply.json()["field"] == "engine"


async def test_chunks_of_documents_are_not_changed_by_settings(admin: Client, notes: str) -> None:
    reply = await admin.patch("/v1/collections/notes", json={"settings": {"chunk_max_tokens": 64}})
    assert reply.status_code == 409
    assert "footnote reindex notes" in reply.json()["next"]


async def test_golden_queries_come_and_go(admin: Client, notes: str) -> None:
    golden = f"{ADMIN}/golden-queries"
    made = await admin.post(golden, json={"query": "где гавань", "document_ids": ["a"]})
    assert made.status_code == 201
    assert (await admin.get(golden)).json() == {"golden_queries": [made.json()]}
    assert (await admin.post(golden, json={"query": " ", "document_ids": ["a"]})).status_code == 422
    assert (await admin.delete(f"{golden}/{made.json()['id']}")).status_code == 204
    assert (await admin.delete(f"{golden}/{made.json()['id']}")).status_code == 404
