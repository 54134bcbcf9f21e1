import re
from io import BytesIO

from httpx import AsyncClient as Client

from app.jobs.attempts import AttemptRef, begin_attempt, end_item, end_job, store_progress
from app.jobs.failures import record_failure
from app.jobs.types import ItemState, JobInfo, JobState, Progress
from app.jobs.uploads import Upload
from app.resources import Resources
from app.services.types import Scope
from embeddings.errors import StorageFull, Unreadable
from tests.app.http.conftest import Keys
from tests.app.pages.told_training import QUERY, tell

HTMX = {"HX-Request": "true"}


async def ingest(resources: Resources, files: int = 2) -> JobInfo:
    uploads = [Upload(f"{number}.txt", BytesIO(b"text")) for number in range(files)]
    return await resources.jobs.ingest_files("garden", uploads)


async def fail(resources: Resources, job: JobInfo, state: JobState = JobState.DONE) -> None:
    """Run the job to an end at which its first file failed."""
    error = record_failure(Unreadable("page 3 is <broken>", next_step="export it again"))
    async with resources.database.write() as connection:
        await begin_attempt(connection, AttemptRef(job.id, 1))
        await end_item(connection, job.id, 0, {"state": ItemState.ERROR, "error": error})
        ended = {"error": record_failure(StorageFull("the disk is full"))} if state is JobState.FAILED else {}
        await end_job(connection, AttemptRef(job.id, 1), {"state": state, **ended})


async def test_active_job_is_asked_for_again_and_an_ended_one_is_not(
    admin: Client, garden: str, resources: Resources
) -> None:
    job = await ingest(resources)
    async with resources.database.write() as connection:
        await begin_attempt(connection, AttemptRef(job.id, 1))
        await store_progress(connection, AttemptRef(job.id, 1), Progress(1, 2, "files", 300.0))
    for path in ("/jobs", f"/jobs/{job.id}"):
        part = (await admin.get(path, headers=HTMX)).text
        assert "<html" not in part
        assert 'hx-trigger="every' in part
        assert '<progress class="bar" max="100" value="50"' in part
        assert re.search(r"files: 1 of 2 · 5 minutes left", part)
    await resources.jobs.cancel(job.id)
    for path in ("/jobs", f"/jobs/{job.id}"):
        assert "hx-trigger" not in (await admin.get(path, headers=HTMX)).text


async def test_failed_file_tells_its_reason_and_can_be_tried_again(
    admin: Client, garden: str, resources: Resources
) -> None:
    job = await ingest(resources)
    await fail(resources, job)
    page = (await admin.get(f"/jobs/{job.id}")).text
    assert "page 3 is &lt;broken&gt;" in page
    assert "export it again" in page
    only = (await admin.get(f"/jobs/{job.id}?items=error")).text
    assert ("0.txt" in only, "1.txt" in only) == (True, False)
    reply = await admin.post(f"/jobs/{job.id}/retry", headers=HTMX)
    assert ("waiting" in reply.text, (await resources.jobs.get(job.id)).state) == (True, "queued")


async def test_failed_job_tells_why_and_goes_on(admin: Client, garden: str, resources: Resources) -> None:
    job = await ingest(resources)
    await fail(resources, job, JobState.FAILED)
    assert "the disk is full" in (await admin.get(f"/jobs/{job.id}")).text
    reply = await admin.post(f"/jobs/{job.id}/resume")
    assert (reply.status_code, reply.headers["location"]) == (303, f"/jobs/{job.id}")
    assert (await resources.jobs.get(job.id)).attempt == 2


async def test_what_the_state_forbids_is_told_as_a_problem(
    admin: Client, garden: str, resources: Resources
) -> None:
    job = await ingest(resources)
    reply = await admin.post(f"/jobs/{job.id}/retry", headers=HTMX)
    assert (reply.status_code, "wait until it has ended" in reply.text) == (409, True)
    assert (await admin.get("/jobs/none")).status_code == 404
    assert (await admin.get("/jobs?state=odd")).status_code == 422


async def test_visitor_who_may_only_read_gets_no_buttons(
    client: Client, garden: str, resources: Resources, keys: Keys
) -> None:
    job = await ingest(resources)
    client.headers.update(keys[Scope.READ])
    page = (await client.get(f"/jobs/{job.id}")).text
    assert "/cancel" not in page
    assert (await client.post(f"/jobs/{job.id}/cancel")).status_code == 403


async def test_long_lists_of_jobs_and_files_go_on(admin: Client, garden: str, resources: Resources) -> None:
    job = await ingest(resources, 60)
    for _ in range(55):
        await resources.jobs.submit("snapshot")
    seen: list[str] = []
    address = "/jobs?kind=&state=&collection="
    for _ in range(3):
        page = (await admin.get(address)).text
        seen += re.findall(r'<td><a href="/jobs/(\w+)"', page)
        older = re.search(r'href="(/jobs\?[^"]*after=[^"]+)"', page)
        if older is None:
            break
        address = older[1].replace("&amp;", "&")
    assert len(seen) == len(set(seen)) == 56
    assert len(re.findall(r'<td><a href="/jobs/', (await admin.get("/jobs?kind=ingest-files")).text)) == 1
    first = (await admin.get(f"/jobs/{job.id}")).text
    more = re.search(rf'href="(/jobs/{job.id}\?[^"]*after=[^"]+)"', first)
    assert more is not None
    rest = (await admin.get(more[1].replace("&amp;", "&"))).text
    assert ("<td>59.txt</td>" in first, "<td>59.txt</td>" in rest) == (False, True)


async def test_training_tells_its_verdict_to_administrators_only(
    client: Client, garden: str, resources: Resources, keys: Keys
) -> None:
    job = await tell(resources, "garden")
    client.headers.update(keys[Scope.ADMIN])
    page = (await client.get(f"/jobs/{job.id}")).text
    assert "when to plant &lt;tomatoes&gt;" in page
    assert re.search(r"23 better, 65 equal, 12 worse", page)
    assert page.count("<svg") >= 5
    client.headers.update(keys[Scope.WRITE])
    hidden = (await client.get(f"/jobs/{job.id}")).text
    assert QUERY.split()[0] + " to plant" not in hidden


async def test_pages_speak_russian(admin: Client, garden: str, resources: Resources) -> None:
    job = await ingest(resources, 5)
    await fail(resources, job)
    page = (await admin.get(f"/jobs/{job.id}", headers={"Accept-Language": "ru-RU,ru;q=0.9"})).text
    assert 'lang="ru"' in page
    assert "Добавление файлов" in page
