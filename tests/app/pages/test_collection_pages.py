import re
from io import BytesIO
from zipfile import ZipFile

import pytest
from httpx import AsyncClient as Client
from httpx import Response

from app.pages.document_views import SHOWN_ERRORS
from app.resources import Resources
from app.services.feedback_types import FeedbackInput, FeedbackKind
from app.services.types import DocumentInput, Scope
from tests.app.http.conftest import Keys
from tests.app.http.test_prompts import MINE

HTMX = {"HX-Request": "true"}


async def upload(client: Client, *files: tuple[str, bytes], path: str = "upload") -> Response:
    parts = [("file", (name, BytesIO(data), "application/octet-stream")) for name, data in files]
    return await client.post(f"/collections/garden/{path}", files=parts, headers=HTMX)


def ids_listed(page: str) -> list[str]:
    return re.findall(r'name="id" value="([^"]*)"', page)


async def test_list_shows_each_collection_with_its_counts(admin: Client, garden: str) -> None:
    page = (await admin.get("/collections")).text
    assert 'href="/collections/garden"' in page
    assert re.search(r"2 documents,\s+2 passages", page)


async def test_visitor_without_rights_sees_what_he_needs_and_no_form(
    client: Client, resources: Resources
) -> None:
    await resources.collections.create("garden")
    for path in ("/collections", "/collections/garden", "/collections/garden/releases"):
        page = (await client.get(path)).text
        assert "footnote keys page-link --scope" in page
        assert not re.search(r'<form[^>]* action="/collections', page.replace('method="get"', ""))


async def test_created_collection_is_opened(admin: Client) -> None:
    form = {"name": " herbs ", "chunk_max_tokens": "64", "chunk_overlap_tokens": ""}
    plain = await admin.post("/collections", data=form)
    assert (plain.status_code, plain.headers["location"]) == (303, "/collections/herbs")
    by_htmx = await admin.post("/collections", data={"name": "roots"}, headers=HTMX)
    assert (by_htmx.status_code, by_htmx.headers["hx-redirect"]) == (200, "/collections/roots")
    settings = (await admin.get("/v1/collections/herbs")).json()["settings"]
    assert (settings["chunk_max_tokens"], settings["chunk_overlap_tokens"]) == (64, 30)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"name": "Bad Name"}, "a-z, 0-9"),
        ({"name": "good", "chunk_max_tokens": "many"}, "a whole number"),
        ({"name": "good", "chunk_max_tokens": "1"}, "16 to"),
    ],
)
async def test_wrong_form_is_told_as_a_fragment(admin: Client, form: dict[str, str], field: str) -> None:
    reply = await admin.post("/collections", data=form, headers=HTMX)
    assert reply.status_code == 422
    assert field in reply.text
    assert "<html" not in reply.text


async def test_reader_may_change_nothing(client: Client, keys: Keys, resources: Resources) -> None:
    await resources.collections.create("garden")
    client.headers.update(keys[Scope.READ])
    for path, form in (
        ("", {"name": "herbs"}),
        ("/garden/settings", {}),
        ("/garden/remove", {"confirm": "garden"}),
        ("/garden/listing/remove", {"id": "a"}),
        ("/garden/releases/rollback", {}),
        ("/garden/releases/prune", {}),
        ("/garden/releases/reindex", {}),
    ):
        assert (await client.post("/collections" + path, data=form)).status_code == 403
    for path in ("upload", "upload-job", "releases/train"):
        assert (await upload(client, ("a.txt", b"text"), path=path)).status_code == 403
    assert [each.name for each in await resources.collections.list()] == ["garden"]


async def test_collection_is_deleted_only_when_its_name_was_typed(admin: Client, garden: str) -> None:
    refused = await admin.post("/collections/garden/remove", data={"confirm": "gardn"}, headers=HTMX)
    assert (refused.status_code, (await admin.get("/collections/garden")).status_code) == (422, 200)
    reply = await admin.post("/collections/garden/remove", data={"confirm": "garden"})
    assert reply.headers["location"] == "/collections"
    assert (await admin.get("/collections/garden")).status_code == 404


async def test_settings_that_the_form_does_not_name_stay(admin: Client, garden: str) -> None:
    await admin.patch("/v1/collections/garden", json={"settings": {"prompt": MINE}})
    reply = await admin.post("/collections/garden/settings", data={"refusal_threshold": "0,25"})
    assert reply.status_code == 303, reply.text
    settings = (await admin.get("/v1/collections/garden")).json()["settings"]
    assert settings["refusal_threshold"] == 0.25
    assert settings["prompt"] is not None
    assert settings["chunk_max_tokens"] == 200
    await admin.post("/collections/garden/settings", data={"refusal_threshold": ""})
    assert (await admin.get("/v1/collections/garden")).json()["settings"]["refusal_threshold"] is None


async def test_long_lists_come_in_pages_and_from_an_id_on(
    admin: Client, garden: str, resources: Resources
) -> None:
    documents = [DocumentInput(f"Text {number}.", f"bed/{number:03}") for number in range(120)]
    for first in range(0, 120, 40):
        await resources.documents.add("garden", documents[first : first + 40])
    page = (await admin.get("/collections/garden")).text
    shown = ids_listed(page)
    for _ in range(5):
        link = re.search(r'hx-get="(/collections/garden/listing[^"]+)"', page)
        if link is None:
            break
        page = (await admin.get(link[1], headers=HTMX)).text
        shown += ids_listed(page)
    assert len(shown) == len(set(shown)) == 122
    assert shown == sorted(shown)
    assert ids_listed((await admin.get("/collections/garden?start=bed/070")).text)[0] == "bed/070"
    assert ids_listed((await admin.get("/collections/garden?start=bed/0705")).text)[0] == "bed/071"


async def test_selected_documents_are_deleted_and_the_rest_is_listed(admin: Client, garden: str) -> None:
    reply = await admin.post("/collections/garden/listing/remove", data={"id": ["снег"]}, headers=HTMX)
    assert ids_listed(reply.text) == ["beds/tomatoes"]
    assert (await admin.get("/v1/collections/garden/documents/снег")).status_code == 404
    nothing = await admin.post("/collections/garden/listing/remove", data={"start": ""})
    assert (nothing.status_code, nothing.headers["location"]) == (303, "/collections/garden")


async def test_names_of_strangers_are_text_and_never_markup(admin: Client, garden: str) -> None:
    evil = "<img src=x onerror=alert(1)>\"'.txt"
    document = {"id": evil, "text": "Some text.", "title": "<script>alert(1)</script>"}
    await admin.post("/v1/collections/garden/documents", json={"documents": [document]})
    page = (await admin.get("/collections/garden")).text
    assert "<img" not in page
    assert "<script>alert" not in page
    reply = await upload(admin, ("<b>bold</b>.xyz", b"\x00\x01\x02"))
    assert "<b>" not in reply.text
    assert "&lt;b&gt;bold" in reply.text


async def test_each_uploaded_file_tells_its_own_end(admin: Client, garden: str) -> None:
    reply = await upload(
        admin, ("roses.md", b"# Roses\n\nPrune roses in spring."), ("broken.pdf", b"%PDF-1.7 no")
    )
    assert reply.status_code == 200
    assert 'href="/collections/garden/documents/roses.md"' in reply.text
    assert re.findall(r'class="tag (good|warn|bad)"', reply.text) == ["good", "bad"]
    assert (await admin.get("/v1/collections/garden/documents/roses.md")).status_code == 200
    again = await upload(admin, ("roses.md", b"# Roses\n\nPrune roses in spring."))
    assert "unchanged" in again.text


async def test_bad_records_of_a_file_are_told_a_few_times(admin: Client, garden: str) -> None:
    lines = [b'{"id": "good", "text": "Good."}', *[b'{"no": "text"}'] * (SHOWN_ERRORS + 5)]
    reply = await upload(admin, ("records.jsonl", b"\n".join(lines)))
    assert reply.text.count("<li>") == SHOWN_ERRORS + 1
    assert "and 5 more" in reply.text
    assert re.search(r"1 document,", reply.text)


async def test_zip_that_is_no_document_fails_alone(admin: Client, garden: str) -> None:
    archive = BytesIO()
    with ZipFile(archive, "w") as file:
        file.writestr("../evil.txt", "evil")
    reply = await upload(admin, ("evil.docx", archive.getvalue()), ("good.txt", b"Good text."))
    assert re.findall(r'class="tag (good|warn|bad)"', reply.text) == ["bad", "good"]


async def test_many_files_become_a_job_that_is_shown(
    admin: Client, garden: str, resources: Resources
) -> None:
    files = [(f"folder/{number}.txt", b"text") for number in range(3)]
    reply = await upload(admin, *files, path="upload-job")
    (job,) = (await resources.jobs.list()).jobs
    assert (job.items.pending, f'id="job-{job.id}"' in reply.text) == (3, True)
    names = [item.name for item in (await resources.jobs.items(job.id)).items]
    assert names == ["folder/0.txt", "folder/1.txt", "folder/2.txt"]


async def test_form_without_a_file_says_so(admin: Client, garden: str) -> None:
    empty = b'--B\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--B--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    reply = await admin.post("/collections/garden/upload", content=empty, headers=headers)
    assert "No file was chosen" in reply.text


async def test_feedback_is_counted_by_kind(admin: Client, garden: str, resources: Resources) -> None:
    for query in ("when", "where"):
        given = FeedbackInput(query, FeedbackKind.THUMBS_UP, "beds/tomatoes")
        await resources.feedback.add("garden", given)
    await resources.feedback.add("garden", FeedbackInput("when", FeedbackKind.CLICK, "снег"))
    page = (await admin.get("/collections/garden")).text
    assert re.search(r"opened: 1 · helpful: 2<", page)
    await resources.documents.delete("garden", "снег")
    assert await resources.feedback.counts("garden") == {FeedbackKind.THUMBS_UP: 2}


async def test_key_of_one_collection_sees_no_other(client: Client, resources: Resources) -> None:
    for name in ("garden", "secret"):
        await resources.collections.create(name)
        await resources.documents.add(name, [DocumentInput(f"About {name}.", name)])
    key = await resources.keys.create("one", [Scope.ADMIN], collections=["garden"])
    client.headers.update({"Authorization": f"Bearer {key.token}"})
    await upload(client, ("a.txt", b"text"), path="upload-job")
    hidden = await resources.jobs.submit("snapshot")
    for path in ("/collections", "/jobs", "/models", "/collections/garden/releases"):
        reply = await client.get(path)
        assert (path, reply.status_code) == (path, 200)
        assert "secret" not in reply.text
        assert hidden.id not in reply.text
    for path in ("/collections/secret", "/collections/secret/releases", f"/jobs/{hidden.id}"):
        assert (await client.get(path)).status_code == 404
    assert (await client.post("/collections/secret/listing/remove", data={"id": "secret"})).status_code == 404
    assert (await client.post(f"/jobs/{hidden.id}/cancel")).status_code == 404
