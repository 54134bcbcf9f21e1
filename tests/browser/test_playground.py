"""The playground in a browser, with the bundled decoder."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.test_accessibility import LOOKS, faults_of
from tests.browser.test_weight import MAX_BYTES

if TYPE_CHECKING:
    from playwright.sync_api import Page

QUESTION = "/playground?kind=collection&collection=garden&prompt=How+often+is+compost+turned%3F"
DONE = "[data-side={}] .figures:not(:empty)"
PATIENCE_MS = 180_000


def run(page: "Page", *sides: str) -> None:
    page.click("#prompt-form button.main")
    for side in sides or ("a",):
        page.wait_for_selector(DONE.format(side), timeout=PATIENCE_MS)


def answer(page: "Page", side: str = "a") -> str:
    return page.inner_text(f"[data-side={side}] .tokens").replace("■", "").strip()


def test_an_answer_is_shown_token_by_token_with_what_was_weighed(page: "Page") -> None:
    page.goto(QUESTION)
    run(page)
    assert "every four weeks" in answer(page)
    assert page.locator(".tokens span").count() >= 3
    assert page.locator(".tokens span").first.get_attribute("class").startswith("p")  # type: ignore[union-attr]
    assert "confidence" in page.inner_text(".output")
    assert "Compost is turned every four weeks" in page.inner_text(".output")
    assert "mean probability" in page.inner_text(".figures")


def test_alternatives_are_shown_to_the_mouse_and_the_keyboard(page: "Page") -> None:
    page.goto(QUESTION)
    run(page)
    page.hover(".tokens span >> nth=0")
    assert page.locator("#token-tip tr").count() >= 2
    page.mouse.move(0, 0)
    page.wait_for_selector("#token-tip", state="hidden")
    page.focus(".tokens")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#token-tip", state="visible")
    page.keyboard.press("Escape")
    page.wait_for_selector("#token-tip", state="hidden")


def test_two_settings_stand_side_by_side_and_in_the_address(page: "Page") -> None:
    page.goto(QUESTION)
    page.check("input[name=compare]")
    page.fill("#b-temperature", "1.9")
    page.fill("#b-seed", "7")
    run(page, "a", "b")
    assert "b.temperature=1.9" in page.url
    assert "compare=1" in page.url
    drawn = answer(page, "b")
    page.reload()
    assert page.input_value("#b-seed") == "7"
    run(page, "a", "b")
    assert answer(page, "b") == drawn
    if drawn != answer(page, "a"):
        assert page.locator(".differs").count() >= 1


def test_a_text_can_be_asked_about_on_a_light_page(page: "Page") -> None:
    sizes: dict[str, int] = {}
    page.on("response", lambda reply: sizes.update({reply.url: len(reply.body())}))
    page.goto("/playground", wait_until="networkidle")
    assert sum(sizes.values()) < MAX_BYTES, sizes
    page.select_option("select[name=kind]", "text")
    page.fill("textarea[name=text]", "The old mill was built in 1783. It ground rye until 1950.")
    page.fill("textarea[name=prompt]", "When was the old mill built?")
    run(page)
    assert "1783" in answer(page)


def test_a_value_out_of_range_is_told_beside_its_settings(new_page: Callable[..., "Page"]) -> None:
    page = new_page()
    page.goto(QUESTION)
    page.fill("#a-top_p", "7")
    page.click("#prompt-form button.main")
    page.wait_for_selector("[data-side=a] .problem .notice")
    assert "top_p is 7" in page.inner_text("[data-side=a] .problem")
    page.faults.clear()  # type: ignore[attr-defined]  # the browser tells of the 422 in its console


def test_it_speaks_russian_and_fits_a_phone(new_page: Callable[..., "Page"]) -> None:
    page = new_page(locale="ru-RU", viewport={"width": 390, "height": 800}, color_scheme="dark")
    page.goto(QUESTION)
    run(page)
    assert page.inner_text("h1") == "Песочница"
    assert "средняя вероятность" in page.inner_text(".figures")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("look", LOOKS)
def test_the_playground_has_no_serious_fault(look: str, new_page: Callable[..., "Page"]) -> None:
    page = new_page(**LOOKS[look])
    page.goto(QUESTION + "&compare=1&b.temperature=1")
    run(page, "a", "b")
    assert faults_of(page) == []
    page.locator("[data-side=b] .settings summary").click()
    page.hover("[data-side=a] .tokens span >> nth=0")
    assert faults_of(page) == []
