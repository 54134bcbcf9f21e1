"""The real service and a real browser. `make test-browser` installs what they need; `make test` passes them
over.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.retrieval.documents import make_pdf

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SWITCH = "FOOTNOTE_BROWSER_TESTS"
START_S = 300
PATIENCE_MS = 60_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pass over the tests of this folder unless they are asked for."""
    if os.environ.get(SWITCH):
        return
    reason = pytest.mark.skip(reason="needs a browser: run `make test-browser`")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(reason)


@dataclass(frozen=True, slots=True)
class Site:
    """The running service. address: without a slash at its end; key: an administrator's; home: its data
    folder; state: the cookies of a browser that was signed in.
    """

    address: str
    link: str
    key: str
    home: Path
    state: dict[str, Any] = field(default_factory=dict)

    def api(self) -> httpx.Client:
        """A client of the JSON API with the administrator's key."""
        return httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {self.key}"}, timeout=120
        )


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service with its guide and the collection `garden`, on a free port, in a folder of its own."""
    home, log = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("log") / "serve.log"
    with log.open("w") as output:
        service = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            env=_without_settings() | {"FOOTNOTE_HOME": str(home), "FOOTNOTE_PORT": str(_free_port())},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        started = _wait_until_ready(service, log, home)
        _plant_garden(started)
        yield started
    finally:
        service.terminate()
        service.wait(30)


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Chromium: FOOTNOTE_CHROMIUM, else the system's, else Playwright's own."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # only `make test-browser` installs it

    found = os.environ.get("FOOTNOTE_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser: "Browser", site: Site) -> Iterator[Callable[..., "Page"]]:
    """Opens pages: `new_page(signed_in=False, locale="ru-RU", color_scheme="dark", viewport={...})`.

    A test fails when a page of its wrote an error to the console, unless it empties `page.faults`.
    """
    contexts: list[tuple[BrowserContext, list[str]]] = []

    def make(signed_in: bool = True, **options: Any) -> "Page":
        state = _signed_in(browser, site) if signed_in else None
        context = browser.new_context(base_url=site.address, storage_state=state, **options)
        context.set_default_timeout(PATIENCE_MS)
        opened, faults = context.new_page(), []
        opened.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.faults = faults  # type: ignore[attr-defined]
        contexts.append((context, faults))
        return opened

    yield make
    for context, _ in contexts:
        context.close()
    assert [fault for _, faults in contexts for fault in faults] == []


@pytest.fixture
def page(new_page: Callable[..., "Page"]) -> "Page":
    """A page that is signed in as an administrator, in English."""
    return new_page(locale="en-US")


def _signed_in(browser: "Browser", site: Site) -> Any:
    if not site.state:
        with browser.new_context() as context:
            context.new_page().goto(site.link)
            site.state.update(context.storage_state())
    return site.state


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(service: "subprocess.Popen[bytes]", log: Path, home: Path) -> Site:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        told = log.read_text()
        link, key = re.search(r"http://\S+/login\?token=\S+", told), re.search(r"fn_\S+", told)
        if "is ready at" in told and link and key:
            return Site(link[0].partition("/login")[0], link[0], key[0], home)
        if service.poll() is not None:
            raise RuntimeError(f"the service did not start:\n{told}")
        time.sleep(0.2)
    raise RuntimeError(f"the service was not ready after {START_S} s:\n{log.read_text()}")


def _plant_garden(site: Site) -> None:
    """A collection whose answers are known: English, Russian, a paged PDF, and a text full of markup."""
    tomatoes = (
        "Tomatoes like the sun. Plant tomatoes in the middle of May, after the last frost. Water them in the "
        "morning.\n\n" + "Tie the stems to a stake as they grow. " * 400 + "Pick the last ones in October."
    )
    documents = [
        {"id": "beds/tomatoes", "title": "Tomatoes", "text": tomatoes, "metadata": {"bed": 1}},
        {
            "id": "снег",
            "title": "Снег на грядках",
            "text": "Убирайте снег с грядок весной. Первый редис сеют в середине апреля.",
            "metadata": {"bed": 2},
        },
        {
            "id": "a<b>&c.txt",
            "title": "<script>document.title = 'caught'</script>",
            "text": "Beans climb on poles 🌱 of two metres. <img src=x onerror=alert(1)>",
            "metadata": {"bed": 3},
        },
    ]
    handbook = [
        ["The handbook of the allotment society."],
        ["Compost is turned every four weeks.", "It is ready after nine months."],
        ["Dogs are not allowed on the paths."],
    ]
    with site.api() as api:
        api.post("/v1/collections", json={"name": "garden"}).raise_for_status()
        added = api.post("/v1/collections/garden/documents", json={"documents": documents})
        files = {"file": ("handbook.pdf", make_pdf(handbook), "application/pdf")}
        both = [added.json(), api.post("/v1/collections/garden/files", files=files).json()]
    assert [reply["errors"] for reply in both] == [False, False], both
