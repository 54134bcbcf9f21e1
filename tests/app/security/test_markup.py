"""No page and no error shows a stranger's text as markup."""

import pytest

from app.services.types import Scope
from tests.app.http.conftest import Client
from tests.app.security.conftest import OWN_PAGE, Signed

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"
BROWSER = {"Accept": "text/html,application/xhtml+xml", **OWN_PAGE}
HOSTILE_PATHS = [
    f"/{MARKUP}",
    f"/collections/{MARKUP}",
    f"/collections/garden/documents/{MARKUP}",
    f"/jobs/{MARKUP}",
    f"/?c={MARKUP}",
    f"/?c=garden&q={MARKUP}",
    f"/?c=garden&q={MARKUP}&plain=1",
    f"/?c=garden&q=x&m={MARKUP}",
    f"/?unknown={MARKUP}",
    f"/login?token={MARKUP}",
    f"/v1/collections/{MARKUP}",
    f"/v1/{MARKUP}",
    f"/v1/jobs?state={MARKUP}",
    f"/schema/{MARKUP}",
    f"/web/{MARKUP}",
]


@pytest.mark.parametrize("path", HOSTILE_PATHS)
@pytest.mark.parametrize("fragment", [False, True])
async def test_address_is_never_shown_as_markup(
    path: str, fragment: bool, garden: str, client: Client
) -> None:
    headers = BROWSER | ({"HX-Request": "true"} if fragment else {})
    reply = await client.get(path, headers=headers)
    assert reply.headers["x-content-type-options"] == "nosniff"
    if reply.headers.get("content-type", "").startswith("text/html"):
        assert "<script>alert" not in reply.text
        assert "<img src=x" not in reply.text
    else:
        assert (
            reply.headers.get("content-type", "json").rpartition("/")[2].startswith(("json", "problem+json"))
        )


async def test_document_is_never_shown_as_markup(garden: str, client: Client, admin: Client) -> None:
    document = {
        "id": f"doc{MARKUP}",
        "title": MARKUP,
        "text": f"# {MARKUP}\n\ntomatoes {MARKUP}",
        "metadata": {MARKUP: MARKUP},
    }
    made = await admin.post("/v1/collections/garden/documents", json={"documents": [document]})
    assert made.json()["items"][0]["status"] == "created"
    pages = [
        "/collections",
        "/collections/garden",
        "/collections/garden/listing",
        "/collections/garden/documents/doc%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/?c=garden&q=tomatoes&plain=1",
        "/?c=garden&q=tomatoes&w=search&plain=1",
    ]
    for path in pages:
        for extra in ({}, {"HX-Request": "true"}):
            reply = await client.get(path, headers=BROWSER | extra)
            assert reply.status_code == 200, (path, reply.text[:300])
            assert "<script>alert" not in reply.text, path
            assert "<img src=x" not in reply.text, path


async def test_original_that_is_a_page_runs_nothing(garden: str, client: Client, admin: Client) -> None:
    name = 'evil"; filename=x.html'
    page = f"<html><body><p>Words.</p>{MARKUP}</body></html>".encode()
    files = {"file": (name, page, "text/html")}
    made = await admin.post("/v1/collections/garden/files", files=files)
    (item,) = made.json()["items"]
    assert item["status"] == "created", item
    listed = await client.get("/v1/collections/garden/documents")
    document_id = next(each["id"] for each in listed.json()["documents"] if each["filename"])
    reply = await client.get(f"/v1/collections/garden/originals/{document_id.replace('%', '%25')}")
    assert reply.status_code == 200, reply.text
    assert "sandbox" in reply.headers["content-security-policy"]
    assert reply.headers["content-disposition"].startswith("attachment")
    assert '"' not in reply.headers["content-disposition"]


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: a=b.html", "a\n.html"])
async def test_name_with_controls_is_refused(name: str, garden: str, admin: Client) -> None:
    reply = await admin.post("/v1/collections/garden/files", files={"file": (name, b"words", "text/html")})
    assert "set-cookie" not in reply.headers
    assert reply.status_code == 200
    assert reply.json()["items"][0]["status"] == "error"


async def test_wrong_form_field_is_not_shown_as_markup(garden: str, client: Client, cookie: Signed) -> None:
    del client.headers["authorization"]
    headers = BROWSER | await cookie(Scope.ADMIN)
    for path, form in (
        ("/collections", {"name": MARKUP}),
        ("/login", {"token": MARKUP}),
        ("/preferences", {"language": MARKUP}),
    ):
        reply = await client.post(path, data=form, headers=headers)
        assert "<script>alert" not in reply.text, path
        assert reply.status_code in {400, 401, 422}, (path, reply.status_code)
