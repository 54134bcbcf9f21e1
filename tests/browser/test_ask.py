"""The first page in a browser."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

COMPOST = "/?c=garden&q=How+often+is+compost+turned%3F"
RADISH = "/?c=garden&q=Когда+сеют+первый+редис%3F"
NOWHERE = "/?c=garden&q=Who+painted+the+Mona+Lisa%3F"
ANSWERED = "#answer > .answered"


def test_question_is_asked_from_the_first_page_and_answered_with_footnotes(page: "Page") -> None:
    page.goto("/")
    page.select_option("select[name=c]", "garden")
    page.fill("#question", "How often is compost turned?")
    page.press("#question", "Enter")
    page.wait_for_selector(ANSWERED)
    assert "every four weeks" in page.inner_text(".lead")
    assert "c=garden" in page.url
    assert "fk=" not in page.url
    assert page.inner_text(".hit mark") == "every four weeks"
    assert page.title() == "How often is compost turned? – Footnote"


def test_chip_shows_its_quote_to_the_mouse_and_to_the_keyboard(page: "Page") -> None:
    page.goto(COMPOST)
    page.hover(".chip")
    assert "every four weeks" in page.inner_text("#quote q")
    assert page.inner_text("#quote cite") == "handbook.pdf, page 2"
    page.mouse.move(0, 0)
    page.wait_for_selector("#quote", state="hidden")
    page.focus(".chip")
    page.wait_for_selector("#quote", state="visible")
    page.keyboard.press("Escape")
    page.wait_for_selector("#quote", state="hidden")


def test_chip_opens_the_document_at_the_span_beside_the_answer_and_back_closes_it(page: "Page") -> None:
    page.goto(COMPOST)
    page.click(".chip")
    page.wait_for_selector("#reader #span")
    assert page.inner_text("#reader #span") == "every four weeks"
    assert "page 2" in page.inner_text("#reader header")
    assert "/collections/garden/documents/handbook.pdf" in page.url
    page.go_back()
    page.wait_for_selector("#reader", state="hidden")
    assert page.is_visible(ANSWERED)


def test_document_beside_an_answer_closes_by_key_and_button_and_a_reload_keeps_it(page: "Page") -> None:
    for close in (lambda: page.keyboard.press("Escape"), lambda: page.click("#reader [data-close]")):
        page.goto(COMPOST)
        page.click(".chip")
        page.wait_for_selector("#reader #span")
        close()
        page.wait_for_url("**/?c=garden*")
        assert page.is_hidden("#reader")
    page.click(".chip")
    page.wait_for_selector("#reader #span")
    page.reload()
    assert page.inner_text("main #span") == "every four weeks"


def test_question_out_of_the_decoders_depth_gets_the_closest_sentences(page: "Page") -> None:
    page.goto(RADISH)
    page.wait_for_selector("#answer > .passages_only")
    assert "середине апреля" in page.inner_text(".closest")
    assert page.locator(".closest .chip").count() >= 1


def test_question_that_the_collection_does_not_answer_says_so_and_shows_what_is_near(page: "Page") -> None:
    page.goto(NOWHERE)
    page.wait_for_selector("#answer > .not_found")
    assert page.inner_text(".lead") == "Not in this collection."
    assert page.inner_text("#found h2").lower() == "nearest passages"
    assert page.locator(".chip").count() == 0
    assert page.locator(".hit").count() >= 1


def test_search_without_an_answer_keeps_its_filter_in_the_address(page: "Page") -> None:
    page.goto("/?c=garden")
    page.select_option("select[name=w]", "search")
    page.click(".filter summary")
    page.fill(".condition input[name=fk]", "bed")
    page.select_option(".condition select", "min")
    page.fill(".condition input[name=fv]", "3")
    page.fill("#question", "poles")
    page.press("#question", "Enter")
    page.wait_for_selector(".hit")
    assert page.locator(".hit").count() == 1
    assert "fk=bed&fo=min&fv=3" in page.url
    page.reload()
    assert page.input_value(".condition input[name=fv]") == "3"


def test_markup_of_a_strangers_document_stays_text(page: "Page") -> None:
    page.goto("/?c=garden&q=beans+poles&w=search")
    assert "<script>" in page.inner_text(".hit h3")
    page.click(".hit a.place")
    page.wait_for_selector("#reader #span")
    assert "onerror" in page.inner_text("#reader .text")
    assert "caught" not in page.title()
    assert page.locator("#reader img, #reader script, .hit img").count() == 0


def test_each_hit_says_why_it_was_found(page: "Page") -> None:
    page.goto(COMPOST)
    page.click(".why summary")
    rows = page.locator(".hit").first.locator(".why tbody th").all_inner_texts()
    assert rows == ["meaning (dense)", "words (BM25)", "fused"]


def test_verdicts_are_kept_with_the_release(page: "Page", site: Site) -> None:
    page.goto(COMPOST)
    page.wait_for_selector(ANSWERED)
    page.click("#answer .verdict button[value=accepted]")
    page.wait_for_selector("#answer .tag.good")
    page.locator(".hit .verdict button[value=thumbs_down]").last.click()
    page.wait_for_selector(".hit .tag.warn")
    with site.api() as api:
        kept = api.get("/v1/admin/collections/garden/feedback").json()["feedback"]
    kinds = {(each["kind"], each["release"]) for each in kept}
    assert kinds == {("accepted", 1), ("thumbs_down", 1)}


def test_visitor_who_may_only_read_gets_no_thumbs(new_page: Callable[..., "Page"]) -> None:
    page = new_page(signed_in=False)
    page.goto(COMPOST)
    page.wait_for_selector(ANSWERED)
    assert page.locator(".verdict").count() == 0


def test_back_and_reload_show_the_answer_again_without_asking(page: "Page") -> None:
    page.goto(COMPOST)
    page.wait_for_selector(ANSWERED)
    page.wait_for_selector("#stop", state="hidden")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/ask?" in request.url else None)
    page.goto("/login")
    page.go_back()
    page.wait_for_selector(ANSWERED)
    page.reload()
    page.wait_for_selector(ANSWERED)
    assert "every four weeks" in page.inner_text(".hit mark")
    assert asked == []
    page.press("#question", "Enter")
    page.wait_for_selector(ANSWERED)
    assert len(asked) == 1


def test_stop_ends_the_answer(page: "Page") -> None:
    page.route("**/ask?*", lambda route: None)  # an answer that never comes
    page.goto(COMPOST, wait_until="domcontentloaded")
    page.click("#stop")
    assert page.inner_text("#status") == "Stopped."
    assert page.is_hidden("#stop")


def test_what_goes_wrong_is_told(page: "Page") -> None:
    page.route("**/ask?*", lambda route: route.abort())
    page.goto(COMPOST)
    page.wait_for_selector("#problem .problem")
    assert "did not answer" in page.inner_text("#problem")
    page.faults.clear()  # type: ignore[attr-defined]


def test_unknown_collection_is_a_page_that_says_what_to_do(page: "Page") -> None:
    page.goto("/?c=nothing&q=x")
    assert "nothing" in page.inner_text(".problem")
    assert page.is_visible("text=Back to the first page")
    page.faults.clear()  # type: ignore[attr-defined]


def test_answer_comes_without_scripts_too(new_page: Callable[..., "Page"]) -> None:
    page = new_page(java_script_enabled=False)
    page.goto("/?c=garden")
    page.fill("#question", "How often is compost turned?")
    page.press("#question", "Enter")
    assert "every four weeks" in page.inner_text(".answered .lead")
    page.click(".chip")
    assert page.inner_text("#span") == "every four weeks"


@pytest.mark.parametrize("locale", ["ru-RU", "en-US"])
def test_language_follows_the_browser_until_the_visitor_chooses(
    locale: str, new_page: Callable[..., "Page"]
) -> None:
    page = new_page(locale=locale)
    page.goto("/?c=garden")
    here, there = ("ru", "en") if locale == "ru-RU" else ("en", "ru")
    assert page.get_attribute("html", "lang") == here
    page.click(f"button[lang={there}]")
    page.wait_for_url("**/?c=garden")
    assert page.get_attribute("html", "lang") == there


def test_colours_can_be_chosen(page: "Page") -> None:
    page.goto("/")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(paper)
    page.click("button[name=theme]")
    page.click("button[name=theme][value=dark]")
    page.wait_for_selector("html[data-theme=dark]")
    assert page.evaluate(paper) != light


def test_slash_goes_to_the_question(page: "Page") -> None:
    page.goto("/?c=garden&q=compost&w=search")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "question"
