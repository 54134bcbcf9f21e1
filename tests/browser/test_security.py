"""What a real browser lets through: sign-in, pages of other sites, documents that carry scripts."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import httpx
import pytest

from tests.browser.conftest import Site

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect

NewPage = Callable[..., Page]


@pytest.fixture
def elsewhere() -> Iterator[Callable[[str], str]]:
    """Serves one page from another port of this machine: to a browser the same site, another origin."""
    servers: list[HTTPServer] = []

    def serve(markup: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(markup.encode())

            def log_message(self, *told: object) -> None:
                """Keep quiet."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def sign_in(page: Page, key: str) -> None:
    """By the form; the shared session of the other tests is left alone."""
    page.goto("/login")
    page.get_by_label("A link or a key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/")


def names_of(site: Site) -> set[str]:
    with site.api() as api:
        return {each["name"] for each in api.get("/v1/collections").json()["collections"]}


def test_visitor_signs_in_with_a_key_and_out_again(new_page: NewPage, site: Site) -> None:
    page = new_page(signed_in=False, locale="en-US")
    page.goto("/collections")
    expect(page.locator('form[action="/collections"]')).to_have_count(0)
    sign_in(page, site.key)
    page.goto("/collections")
    expect(page.locator('form[action="/collections"]')).to_have_count(1)
    (cookie,) = [each for each in page.context.cookies() if each["name"] == "footnote_session"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/")
    assert "footnote_session" not in {each["name"] for each in page.context.cookies()}
    own = {"Sec-Fetch-Site": "same-origin", "Cookie": f"footnote_session={cookie['value']}"}
    reply = httpx.post(f"{site.address}/v1/collections", json={"name": "late"}, headers=own)
    assert reply.status_code == 401


def test_used_link_leads_to_a_page_that_says_so(new_page: NewPage, site: Site) -> None:
    page = new_page(signed_in=False, locale="en-US")
    page.goto("/login?token=fnlink_used")
    expect(page.locator(".notice.problem")).to_contain_text("used before")
    expect(page.get_by_label("A link or a key")).to_be_visible()
    page.faults.clear()  # type: ignore[attr-defined]  # the browser tells of the 401


@pytest.mark.parametrize("way", ["form", "fetch"])
def test_page_on_another_port_changes_nothing(
    way: str, new_page: NewPage, site: Site, elsewhere: Callable[[str], str]
) -> None:
    name = f"evil-{uuid4().hex[:8]}"
    attacks = {
        "form": f"<form id=f method=post action='{site.address}/collections'>"
        f"<input name=name value={name}></form><script>f.submit()</script>",
        "fetch": f"<script>fetch('{site.address}/v1/collections', {{method: 'POST', credentials: 'include',"
        f"mode: 'no-cors', body: JSON.stringify({{name: '{name}'}})}})</script>",
    }
    page = new_page(signed_in=False, locale="en-US")
    sign_in(page, site.key)
    with page.expect_request(lambda request: request.method == "POST"):
        page.goto(elsewhere(attacks[way]))
    page.wait_for_timeout(1000)
    assert any("403" in fault or "BLOCKED" in fault for fault in page.faults)  # type: ignore[attr-defined]
    assert name not in names_of(site)
    page.faults.clear()  # type: ignore[attr-defined]  # the browser tells of the refusal


def test_no_page_of_ours_shows_in_a_frame(
    new_page: NewPage, site: Site, elsewhere: Callable[[str], str]
) -> None:
    page = new_page(signed_in=False, locale="en-US")
    page.goto(elsewhere(f"<iframe src='{site.address}/collections'></iframe>"))
    page.wait_for_timeout(1000)
    assert any("frame" in fault for fault in page.faults)  # type: ignore[attr-defined]
    page.faults.clear()  # type: ignore[attr-defined]


def test_document_runs_no_script(page: Page, site: Site) -> None:
    """Not in a list, not in a search, not in the reader, not as the original."""
    name = f"hostile-{uuid4().hex[:8]}"
    markup = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    document = {
        "id": f"a{markup}",
        "title": markup,
        "text": f"Tomatoes {markup}",
        "metadata": {markup: markup},
    }
    upload = ("page.html", f"<html><body><p>Leeks.</p>{markup}</body></html>".encode(), "text/html")
    with site.api() as api:
        api.post("/v1/collections", json={"name": name}).raise_for_status()
        api.post(f"/v1/collections/{name}/documents", json={"documents": [document]}).raise_for_status()
        api.post(f"/v1/collections/{name}/files", files={"file": upload}).raise_for_status()
    for path in (f"/collections/{name}", f"/?c={name}&q=tomatoes"):
        page.goto(path)
        expect(page.get_by_text("window.hacked").first).to_be_attached()
        assert page.evaluate("window.hacked") is None
    page.goto(f"/collections/{name}/documents/page.html")
    assert page.evaluate("window.hacked") is None
    reply = page.request.get(f"/v1/collections/{name}/originals/page.html")
    assert reply.headers["content-disposition"].startswith("attachment")
