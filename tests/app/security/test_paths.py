"""Names that climb out of their folder."""

from pathlib import Path
from typing import Any

import pytest

from app.resources import Resources
from app.services.classification import find_classifier
from embeddings.errors import FootnoteError
from tests.app.http.conftest import Client

CLIMBING = [
    "../secret.txt",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "a/../../b",
    "..\\..\\secret",
    "a\x00b",
]


@pytest.fixture
def secret(resources: Resources) -> Path:
    """A file beside the data folder, which no name may reach."""
    path = resources.settings.home.parent / "secret.txt"
    path.write_text("swordfish", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "path",
    ["../settings.py", "%2e%2e/settings.py", "..%2fsettings.py", "%2e%2e%2fsettings.py", "....//settings.py",
     "%252e%252e/settings.py", "..%5csettings.py", "/etc/passwd", "%00", "vendor/../../settings.py",
     "a" * 5000, "%ff%fe", "%ed%a0%80", "a%0d%0ab"],
)  # fmt: skip
async def test_files_of_the_page_are_all_that_is_served(path: str, client: Client) -> None:
    reply = await client.get("http://127.0.0.1:8000/web/" + path)
    assert reply.status_code in {400, 404}, reply.text[:200]
    assert "FOOTNOTE_" not in reply.text


@pytest.mark.parametrize("document_id", [*CLIMBING[:-1], "con", "a" * 200])
async def test_id_of_a_document_names_no_file(
    document_id: str, garden: str, admin: Client, resources: Resources, secret: Path
) -> None:
    before = files_of(resources.settings.home)
    body = {"documents": [{"id": document_id, "text": "words"}]}
    reply = await admin.post("/v1/collections/garden/documents", json=body)
    (item,) = reply.json()["items"]
    if item["status"] == "created":
        listed = await admin.get("/v1/collections/garden/documents")
        assert document_id in [document["id"] for document in listed.json()["documents"]]
    assert files_of(resources.settings.home) - before <= {"footnote.db-wal", "footnote.db-shm"}


@pytest.mark.parametrize("filename", CLIMBING[:-1])
async def test_name_of_an_uploaded_file_is_a_name_only(
    filename: str, garden: str, admin: Client, resources: Resources, secret: Path
) -> None:
    before = files_of(resources.settings.home.parent)
    files = [("file", (filename + ".txt", b"words of a file", "text/plain"))]
    for path in ("files", "jobs/ingest"):
        reply = await admin.post(f"/v1/collections/garden/{path}", files=files)
        assert reply.status_code in {200, 202}, reply.text
    home = resources.settings.home
    assert files_of(home.parent) - before <= {f"{home.name}/{path}" for path in files_of(home)}
    assert {path.rpartition("/")[2] for path in files_of(home / "uploads")} == {"0"}


@pytest.mark.parametrize("name", CLIMBING)
async def test_snapshot_is_written_nowhere_else(
    name: str, admin: Client, resources: Resources, secret: Path
) -> None:
    reply = await admin.post("/v1/snapshots", json={"name": name})
    assert reply.status_code == 422, reply.text
    assert (await resources.jobs.list()).jobs == ()


@pytest.mark.parametrize("name", CLIMBING)
async def test_collection_has_a_plain_name(name: str, admin: Client) -> None:
    assert (await admin.post("/v1/collections", json={"name": name})).status_code == 422


@pytest.mark.parametrize("name", [*CLIMBING, "../models/mine", "models/.."])
async def test_classifier_is_looked_for_in_its_folder_only(name: str, resources: Resources) -> None:
    home = resources.settings.home
    for folder in (home.parent, home, home / "models"):
        folder.mkdir(exist_ok=True)
        (folder / "classifier.json").write_text("{}")
    with pytest.raises((FootnoteError, ValueError)) as caught:
        find_classifier(home, name)
    assert "swordfish" not in str(caught.value)


@pytest.mark.parametrize("name", CLIMBING)
async def test_trained_model_has_a_plain_name(name: str, garden: str, admin: Client) -> None:
    reply = await admin.post("/v1/admin/collections/garden/train", json={"name": name})
    assert reply.status_code == 422, reply.text


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e"])
async def test_model_of_the_api_is_a_name_only(name: str, garden: str, client: Client) -> None:
    assert (await client.get(f"/v1/models/{name}")).status_code in {400, 404}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/embeddings", {"model": name, "input": "a"}),
        ("/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "a"}]}),
        (
            "/v1/chat/completions",
            {"model": f"footnote:{name}", "messages": [{"role": "user", "content": "a"}]},
        ),
        ("/v2/rerank", {"model": name, "query": "a", "documents": ["b"]}),
        ("/v1/classify", {"model": name, "input": ["a"]}),
    ]
    for path, body in bodies:
        reply = await client.post(path, json=body)
        assert 400 <= reply.status_code < 500, (path, reply.text)
        assert "root:" not in reply.text


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
