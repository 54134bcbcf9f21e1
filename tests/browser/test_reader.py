"""The reader as a page of its own."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.browser.conftest import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

LONG = "/collections/garden/documents/beds/tomatoes"


def test_span_is_marked_and_stands_in_the_middle_of_the_screen(page: "Page") -> None:
    page.goto(f"{LONG}?v=1&s=12000&e=12020#span")
    place = page.locator("#span").bounding_box()
    height = page.viewport_size["height"]
    assert height * 0.2 < place["y"] < height * 0.8


def test_earlier_and_later_text_come_in_place_until_the_ends(page: "Page") -> None:
    page.goto(f"{LONG}?v=1&s=8000&e=8010")
    assert "Tomatoes like the sun" not in page.inner_text(".text")
    page.click("text=Earlier text")
    page.wait_for_selector("text=Tomatoes like the sun")
    page.click("text=Later text")
    page.wait_for_selector("text=Pick the last ones in October")
    assert page.locator(".part").count() == 0
    assert page.locator("#span").count() == 1


def test_stretches_join_without_losing_or_adding_a_letter(page: "Page", site: Site) -> None:
    page.goto(f"{LONG}?v=1&s=8000&e=8010")
    page.click("text=Earlier text")
    page.wait_for_selector("text=Tomatoes like the sun")
    page.click("text=Later text")
    page.wait_for_selector("text=Pick the last ones in October")
    with site.api() as api:
        stored = api.get("/v1/collections/garden/text/beds/tomatoes").json()["text"]
    assert page.evaluate("document.querySelector('.text').textContent") == stored


def test_paged_document_shows_its_pages(page: "Page") -> None:
    page.goto("/collections/garden/documents/handbook.pdf")
    assert page.locator(".pagebreak").all_inner_texts() == ["page 1", "page 2", "page 3"]


def test_id_full_of_markup_opens(page: "Page") -> None:
    page.goto("/collections/garden/documents/a%3Cb%3E%26c.txt")
    assert page.inner_text("h1") == "<script>document.title = 'caught'</script>"
    assert "caught'</script>" in page.title()


def test_original_can_be_saved(page: "Page") -> None:
    page.goto("/collections/garden/documents/handbook.pdf")
    with page.expect_download() as saved:
        page.click("text=Original")
    assert saved.value.suggested_filename == "handbook.pdf"


def test_outdated_citation_says_that_the_document_changed(
    new_page: Callable[..., "Page"], site: Site
) -> None:
    with site.api() as api:
        for text in ("The pond is deep.", "The pond is shallow."):
            sent = {"documents": [{"id": "pond", "text": text}]}
            api.post("/v1/collections/garden/documents", json=sent).raise_for_status()
    page = new_page()
    page.goto("/collections/garden/documents/pond?v=1&s=12&e=16#span")
    assert page.inner_text("#span") == "deep"
    assert "changed since" in page.inner_text(".notice")


def test_document_that_is_not_there_is_told_as_a_page(page: "Page") -> None:
    page.goto("/collections/garden/documents/nothing")
    assert "nothing" in page.inner_text(".problem")
    page.faults.clear()  # type: ignore[attr-defined]
