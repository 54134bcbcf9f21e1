import hashlib
import re
from pathlib import Path

import pytest

from app.http.page import WEB
from app.pages.rendering import TEMPLATES
from tests.app.http.conftest import Client

OWN_FILES = sorted(
    str(path.relative_to(WEB)) for path in WEB.rglob("*.*") if path.parent.name != "vendor" and path.is_file()
)
ELSEWHERE = re.compile(r"https?://(?!www\.w3\.org/)|//cdn|@import")


@pytest.mark.parametrize("path", ["/", "/schema"])
async def test_page_allows_only_scripts_and_styles_of_our_own(path: str, client: Client) -> None:
    reply = await client.get(path)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] in {"no-referrer", "same-origin"}


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


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_template_has_no_inline_code_and_trusts_no_text(path: Path) -> None:
    template = path.read_text(encoding="utf-8")
    assert not re.search(
        r"<script(?![^>]* src=)(?![^>]*json)|<style| style=| on\w+=|hx-on|hx-vals=.js:", template
    )
    assert not re.search(r"\|\s*safe\b|autoescape\s+false", template)
    assert not ELSEWHERE.search(template)


@pytest.mark.parametrize("path", sorted((WEB / "js").glob("*.js")), ids=lambda path: path.name)
def test_script_evaluates_no_text(path: Path) -> None:
    script = path.read_text(encoding="utf-8")
    assert not re.search(r"outerHTML\s*=|insertAdjacentHTML|document\.write|eval\(|new Function", script)


def test_vendored_files_are_what_their_readme_says() -> None:
    readme = (WEB / "vendor" / "README.md").read_text(encoding="utf-8")
    sums = re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", readme)
    assert [name for name, _ in sums] == ["swagger-ui-bundle.js", "swagger-ui.css", "htmx.min.js"]
    for name, expected in sums:
        assert hashlib.sha256((WEB / "vendor" / name).read_bytes()).hexdigest() == expected
