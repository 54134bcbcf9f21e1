import hashlib
import re

import pytest

from app.http.page import WEB
from tests.app.http.conftest import Client

OWN_FILES = ["index.html", "page.css", "page.js", "icon.svg", "swagger.html", "swagger.js"]
ELSEWHERE = re.compile(r"https?://(?!www\.w3\.org/)|//cdn|@import")


@pytest.mark.parametrize("path", ["/", "/schema"])
async def test_page_allows_only_scripts_and_styles_of_our_own(path: str, client: Client) -> None:
    reply = await client.get(path)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"


async def test_problem_carries_the_protecting_headers_too(client: Client) -> None:
    reply = await client.get("/nothing")
    assert "sandbox" in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/schema"])
async def test_every_asset_that_a_page_names_is_served(path: str, client: Client) -> None:
    page = (await client.get(path)).text
    assets = re.findall(r'(?:src|href)="(/web/[^"]+)"', page)
    assert len(assets) >= 3
    for asset in assets:
        assert (await client.get(asset)).status_code == 200


@pytest.mark.parametrize("name", OWN_FILES)
def test_own_file_names_nothing_outside(name: str) -> None:
    assert not ELSEWHERE.search((WEB / name).read_text(encoding="utf-8"))


def test_page_has_no_inline_code_and_puts_documents_in_as_text() -> None:
    page = (WEB / "index.html").read_text(encoding="utf-8")
    script = (WEB / "page.js").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_page_is_small() -> None:
    assert sum((WEB / name).stat().st_size for name in OWN_FILES) < 60_000


def test_vendored_files_are_what_their_readme_says() -> None:
    readme = (WEB / "vendor" / "README.md").read_text(encoding="utf-8")
    sums = re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", readme)
    assert [name for name, _ in sums] == ["swagger-ui-bundle.js", "swagger-ui.css"]
    for name, expected in sums:
        assert hashlib.sha256((WEB / "vendor" / name).read_bytes()).hexdigest() == expected
