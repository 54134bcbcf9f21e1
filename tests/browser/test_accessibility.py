"""Faults that axe-core calls serious or critical, in each state of the pages, and a walk by keyboard."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

VENDOR = Path(__file__).parent / "vendor"
AXE = VENDOR / "axe.min.js"
BAD = {"serious", "critical"}
# Each page, and what has to be there before it is looked at.
STATES = {
    "first": ("/", "#question"),
    "answered": ("/?c=garden&q=How+often+is+compost+turned%3F", "#answer > .answered"),
    "passages_only": ("/?c=garden&q=Когда+сеют+первый+редис%3F", "#answer > .passages_only"),
    "not_found": ("/?c=garden&q=Who+painted+the+Mona+Lisa%3F", "#answer > .not_found"),
    "search": ("/?c=garden&q=compost&w=search&fk=bed&fo=min&fv=1", ".hit"),
    "reader": ("/collections/garden/documents/handbook.pdf?v=1&s=95&e=111#span", "#span"),
    "login": ("/login", "main form"),
    "problem": ("/?c=nothing&q=x", ".problem"),
    "collections": ("/collections", "h1"),
    "collection": ("/collections/garden", "h1"),
    "releases": ("/collections/garden/releases", "h1"),
    "jobs": ("/jobs", "h1"),
    "models": ("/models", "h1"),
    "map": ("/collections/garden/map", "h1"),
    "playground": ("/playground", "h1"),
}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark", "locale": "ru-RU"},
    "narrow": {"viewport": {"width": 390, "height": 844}},
}


def faults_of(page: "Page") -> list[tuple[str, str]]:
    """The serious faults of the page as it stands: rule, and the markup that breaks it."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [
        (rule["id"], node["html"][:120]) for rule in found if rule["impact"] in BAD for node in rule["nodes"]
    ]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("state", STATES)
def test_page_has_no_serious_fault(state: str, look: str, new_page: Callable[..., "Page"]) -> None:
    address, ready = STATES[state]
    page = new_page(**LOOKS[look])
    page.goto(address)
    page.wait_for_selector(ready)
    assert faults_of(page) == []
    if state == "problem":
        page.faults.clear()  # type: ignore[attr-defined]


def test_document_beside_an_answer_has_no_serious_fault(page: "Page") -> None:
    page.goto(STATES["answered"][0])
    page.click(".chip")
    page.wait_for_selector("#reader #span")
    assert faults_of(page) == []


@pytest.mark.parametrize("state", ["answered", "search", "reader", "collection", "jobs"])
def test_narrow_page_does_not_scroll_sideways(state: str, new_page: Callable[..., "Page"]) -> None:
    address, ready = STATES[state]
    page = new_page(**LOOKS["narrow"])
    page.goto(address)
    page.wait_for_selector(ready)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_keyboard_alone_reaches_a_footnote_and_comes_back(page: "Page") -> None:
    page.goto(STATES["answered"][0])
    page.wait_for_selector(STATES["answered"][1])
    focused = "document.activeElement.className"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "skip"
    for _ in range(40):
        page.keyboard.press("Tab")
        if "chip" in page.evaluate(focused):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#reader #span")
    page.keyboard.press("Escape")
    page.wait_for_selector("#reader", state="hidden")
    assert "chip" in page.evaluate(focused)


def test_answer_is_told_to_screen_readers(page: "Page") -> None:
    page.goto(STATES["answered"][0])
    page.wait_for_selector(STATES["answered"][1])
    assert page.get_attribute("#answer", "aria-busy") == "false"
    assert page.inner_text("#status") == "Done."
    assert page.get_attribute(".chip", "aria-label") == "Footnote 1: handbook.pdf"


def test_vendored_file_is_what_its_readme_says() -> None:
    expected = re.search(r"`axe\.min\.js` \| `(\w{64})`", (VENDOR / "README.md").read_text())
    assert expected is not None
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == expected[1]
