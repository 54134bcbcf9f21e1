"""The map of a collection in a browser."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.browser.test_accessibility import LOOKS, faults_of
from tests.browser.test_weight import MAX_BYTES

if TYPE_CHECKING:
    from playwright.sync_api import Page

GARDEN = "/collections/garden/map"
MARKUP = "<script>document.title = 'caught'</script>"
DRAWN = "#map[aria-busy=false]"
# Drawing it for the first time takes as long as the machine is busy.
PATIENCE_MS = 240_000


def draw(page: "Page") -> None:
    page.goto(GARDEN)
    page.wait_for_selector(DRAWN, timeout=PATIENCE_MS)
    page.wait_for_selector("#map-legend li")


def painted(page: "Page") -> int:
    """How many pixels of the canvas are not empty."""
    script = """canvas => { const pen = canvas.getContext("2d");
      const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
      let count = 0; for (let i = 3; i < data.length; i += 4) count += data[i] > 0; return count; }"""
    page.wait_for_timeout(200)
    return int(page.eval_on_selector("#map-canvas", script))


def test_the_map_is_drawn_with_a_legend_and_a_list(page: "Page") -> None:
    draw(page)
    assert painted(page) > 100
    assert re.fullmatch(r"\d+ of \d+ passages, release 1", page.inner_text("#map-status"))
    page.click("#map-list summary")
    assert page.locator("#map-clusters a").count() >= 1


def test_a_point_tells_its_title_and_opens_the_document(page: "Page") -> None:
    draw(page)
    page.focus("#map-canvas")
    page.keyboard.press("n")
    title = page.inner_text("#map-tip strong")
    assert title
    assert page.inner_text("#map-status").startswith(title)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/collections/garden/documents/.+\?v=1&s=\d+&e=\d+#span"))
    page.wait_for_selector("#span")


def test_zoom_stands_in_the_address_and_survives_a_reload(page: "Page") -> None:
    draw(page)
    page.click("[data-zoom=in]")
    page.focus("#map-canvas")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile(r"at=-0\.\d+%2C0\.000%2C1\.600"))
    address = page.url
    page.reload()
    page.wait_for_selector(DRAWN)
    assert page.url == address
    page.click("[data-zoom=all]")
    page.wait_for_url(re.compile(r"map\?(?!.*at=)"))


def test_points_are_coloured_by_a_field(page: "Page") -> None:
    draw(page)
    page.select_option("select[name=field]", "bed")
    page.wait_for_selector("#map-legend-title:text-is('bed')")
    assert "field=bed" in page.url
    assert {"1", "2", "3"} <= {text[0] for text in page.locator("#map-legend button").all_inner_texts()}
    before = painted(page)
    page.click("#map-legend button >> nth=0")
    assert page.get_attribute("#map-legend button >> nth=0", "aria-pressed") == "true"
    assert painted(page) > 0
    assert before > 0


def test_what_a_search_finds_stands_out(page: "Page") -> None:
    draw(page)
    page.fill("#map-query", "compost")
    page.click("#map-form button")
    page.wait_for_selector("#map-status:has-text('passages found are on the map')")
    assert "q=compost" in page.url


def test_markup_of_a_title_is_text(page: "Page") -> None:
    draw(page)
    page.focus("#map-canvas")
    for _ in range(100):
        page.keyboard.press("n")
        if page.inner_text("#map-tip strong") == MARKUP:
            break
    assert page.inner_text("#map-tip strong") == MARKUP
    assert page.title() == "Map of garden – Footnote"


@pytest.mark.parametrize("look", LOOKS)
def test_the_map_is_drawn_in_each_look_without_a_serious_fault(
    look: str, new_page: Callable[..., "Page"]
) -> None:
    page = new_page(**LOOKS[look])
    draw(page)
    assert painted(page) > 100
    page.click("#map-list summary")
    assert faults_of(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_the_map_is_light(page: "Page") -> None:
    sizes: dict[str, int] = {}
    page.on("response", lambda reply: sizes.update({reply.url: len(reply.body())}))
    page.goto(GARDEN.replace("garden", "guide"))
    page.wait_for_selector(DRAWN, timeout=PATIENCE_MS)
    page.wait_for_load_state("networkidle")
    assert any("/v1/collections/guide/map" in url for url in sizes)
    assert sum(sizes.values()) < MAX_BYTES, sizes
