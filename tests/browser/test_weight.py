"""What a page costs: bytes, and time until something is seen; of five tries the best counts."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

MAX_BYTES = 200_000
MAX_FIRST_PAINT_MS = 500
PAGES = ["/", "/?c=garden&q=compost&w=search", "/collections", "/collections/garden", "/jobs", "/models"]
PAGES += ["/collections/garden/map", "/playground"]


@pytest.mark.parametrize("address", PAGES)
def test_page_is_light_and_asks_nobody_else(address: str, new_page: Callable[..., "Page"]) -> None:
    page = new_page()
    sizes: dict[str, int] = {}
    page.on("response", lambda reply: sizes.update({reply.url: len(reply.body())}))
    page.goto(address, wait_until="networkidle")
    assert sum(sizes.values()) < MAX_BYTES, sizes
    assert {url.split("/")[2] for url in sizes} == {page.url.split("/")[2]}


@pytest.mark.parametrize("address", PAGES)
def test_something_is_seen_soon(address: str, new_page: Callable[..., "Page"]) -> None:
    paints = []
    for _ in range(5):
        page = new_page()
        page.goto(address)
        paints.append(
            page.evaluate(
                """() => new Promise((tell) => new PerformanceObserver((list) => {
                    const paint = list.getEntriesByName("first-contentful-paint")[0];
                    if (paint) tell(paint.startTime);
                }).observe({type: "paint", buffered: true}))"""
            )
        )
    assert min(paints) < MAX_FIRST_PAINT_MS, paints
