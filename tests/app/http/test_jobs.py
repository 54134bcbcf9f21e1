"""Jobs over HTTP. No worker runs: what it would do is told to the tables."""

import asyncio
from contextlib import aclosing
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
from httpx import AsyncClient as Client

from app.http.job_stream import job_frames
from app.jobs.attempts import AttemptRef, begin_attempt, end_item, end_job, store_progress
from app.jobs.failures import record_failure
from app.jobs.types import ItemState, JobState, Progress
from app.jobs.uploads import Upload, store_uploads
from app.resources import Resources
from app.services.types import Scope
from embeddings.errors import Unreadable
from tests.app.http.conftest import Keys

FILES = [("file", ("a.txt", b"Tomatoes like the sun.")), ("file", ("б/番茄.txt", "番茄喜欢阳光。".encode()))]


async def ingest(client: Client, name: str) -> dict[str, Any]:
    reply = await client.post(
        f"/v1/collections/{name}/jobs/ingest", files=FILES, data={"metadata": '{"year": 2026}'}
    )
    assert reply.status_code == 202, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


async def test_acknowledged_files_are_on_the_disk_as_items_of_a_queued_job(
    admin: Client, notes: str, resources: Resources
) -> None:
    job = await ingest(admin, notes)
    assert (job["kind"], job["collection"], job["state"]) == ("ingest-files", notes, "queued")
    assert job["items"] == {"pending": 2, "done": 0, "error": 0}
    items = (await admin.get(f"/v1/jobs/{job['id']}/items")).json()["items"]
    assert [item["name"] for item in items] == ["a.txt", "б/番茄.txt"]
    folder = resources.settings.home / "uploads" / job["id"]
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [data for _, (_, data) in FILES]


async def test_upload_for_an_unknown_collection_leaves_nothing(admin: Client, resources: Resources) -> None:
    reply = await admin.post("/v1/collections/absent/jobs/ingest", files=FILES)
    assert reply.status_code == 404
    assert list((resources.settings.home / "uploads").glob("*")) == []


async def test_full_disk_is_507_and_acknowledges_nothing(
    admin: Client, notes: str, resources: Resources
) -> None:
    (resources.settings.home / "uploads").write_bytes(b"in the way of the folder")
    reply = await admin.post(f"/v1/collections/{notes}/jobs/ingest", files=FILES)
    assert reply.status_code == 507
    assert (await admin.get("/v1/jobs")).json()["jobs"] == []


async def test_jobs_are_listed_newest_first_page_by_page_and_by_filter(admin: Client, notes: str) -> None:
    made = [(await ingest(admin, notes))["id"] for _ in range(3)]
    await admin.post(f"/v1/jobs/{made[0]}/cancel")
    first = (await admin.get("/v1/jobs", params={"limit": 2})).json()
    rest = (await admin.get("/v1/jobs", params={"limit": 2, "after": first["next"]})).json()
    assert {job["id"] for job in first["jobs"] + rest["jobs"]} == set(made)
    assert rest["next"] is None
    queued = (await admin.get("/v1/jobs", params={"state": "queued"})).json()["jobs"]
    assert made[0] not in {job["id"] for job in queued}
    assert len(queued) == 2
    assert (await admin.get("/v1/jobs", params={"collection": "other"})).json()["jobs"] == []
    assert (await admin.get("/v1/jobs", params={"kind": "snapshot"})).json()["jobs"] == []
    assert (await admin.get("/v1/jobs", params={"state": "unknown"})).status_code == 422


async def test_states_allow_what_makes_sense(admin: Client, notes: str) -> None:
    job = (await ingest(admin, notes))["id"]
    assert (await admin.post(f"/v1/jobs/{job}/resume")).status_code == 409
    assert (await admin.post(f"/v1/jobs/{job}/retry")).status_code == 409
    for _ in range(2):
        assert (await admin.post(f"/v1/jobs/{job}/cancel")).json()["state"] == "cancelled"
    refused = await admin.post(f"/v1/jobs/{job}/retry")
    assert refused.json()["next"] == "to go on with a cancelled or failed job, resume it"
    assert (await admin.post(f"/v1/jobs/{job}/resume")).json()["state"] == "queued"
    for call in (
        admin.get("/v1/jobs/none"),
        admin.get("/v1/jobs/none/events"),
        admin.get("/v1/jobs/none/items"),
    ):
        assert (await call).status_code == 404


async def test_changing_a_job_needs_a_key_that_may_write(client: Client, notes: str, keys: Keys) -> None:
    client.headers.update(keys[Scope.WRITE])
    job = (await ingest(client, notes))["id"]
    client.headers.update(keys[Scope.READ])
    assert (await client.post(f"/v1/jobs/{job}/cancel")).status_code == 403
    assert (await client.get(f"/v1/jobs/{job}")).status_code == 200


async def test_failures_are_problem_details(admin: Client, notes: str, resources: Resources) -> None:
    job = (await ingest(admin, notes))["id"]
    error = record_failure(Unreadable("the file is broken", found="page 3", expected="a whole file"))
    async with resources.database.write() as connection:
        await begin_attempt(connection, AttemptRef(job, 1))
        await end_item(connection, job, 1, {"state": ItemState.ERROR, "error": error})
        await end_job(connection, AttemptRef(job, 1), {"state": JobState.FAILED, "error": error})
    told = (await admin.get(f"/v1/jobs/{job}")).json()
    assert (told["state"], told["items"]) == ("failed", {"pending": 1, "done": 0, "error": 1})
    assert (told["error"]["type"], told["error"]["found"]) == ("urn:footnote:unreadable", "page 3")
    (item,) = (await admin.get(f"/v1/jobs/{job}/items", params={"state": "error"})).json()["items"]
    assert item["error"]["detail"] == "the file is broken"


async def test_events_tell_each_change_and_the_end(admin: Client, notes: str, resources: Resources) -> None:
    job = (await ingest(admin, notes))["id"]
    ref = AttemptRef(job, 1)

    async def work() -> None:
        async with resources.database.write() as connection:
            await begin_attempt(connection, ref)
            await store_progress(connection, ref, Progress(1, 2, "files", 3.5))
        await asyncio.sleep(0.7)  # two looks at the least
        async with resources.database.write() as connection:
            await end_job(connection, ref, {"state": JobState.DONE, "result": {"done": 2}})

    _, reply = await asyncio.gather(work(), admin.get(f"/v1/jobs/{job}/events"))
    events = [event.split("\n") for event in reply.text.strip().split("\n\n")]
    assert [lines[0] for lines in events][-2:] == ["event: progress", "event: end"]
    told = [msgspec.json.decode(lines[1].removeprefix("data: ")) for lines in events]
    assert told[-2]["progress"] == {"done": 1, "total": 2, "what": "files", "eta_s": 3.5}
    assert (told[-1]["state"], told[-1]["result"]) == ("done", {"done": 2})


async def test_silence_is_broken_by_heartbeats(resources: Resources) -> None:
    job = await resources.jobs.submit("anything")
    looks = resources.jobs.follow(job.id, poll_s=0.001)
    async with aclosing(job_frames(looks, asyncio.Event(), heartbeat_s=0)) as frames:
        assert (await anext(frames)).startswith(b"event: progress")
        assert (await anext(frames)).startswith(b":")


def test_names_of_clients_never_reach_the_disk(tmp_path: Path) -> None:
    (stored,) = store_uploads(tmp_path, "job", [Upload("../../escaped.txt", BytesIO(b"text"))])
    assert (tmp_path / stored.path).resolve().parent == (tmp_path / "uploads" / "job").resolve()


async def test_snapshot_is_asked_for_by_administrators(client: Client, keys: Keys) -> None:
    client.headers.update(keys[Scope.WRITE])
    assert (await client.post("/v1/snapshots", json={"name": "monday"})).status_code == 403
    client.headers.update(keys[Scope.ADMIN])
    reply = await client.post("/v1/snapshots", json={"name": "monday"})
    assert (reply.status_code, reply.json()["kind"]) == (202, "snapshot")
    assert (await client.post("/v1/snapshots", json={"name": "../monday"})).status_code == 422
