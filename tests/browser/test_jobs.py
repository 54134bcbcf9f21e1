"""Jobs in a real browser: followed, stopped, taken up again."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.browser.conftest import Site

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect


def ingest(site: Site, files: dict[str, bytes]) -> str:
    """The id of a job that takes files into a collection of its own."""
    name = f"jobs-{uuid4().hex[:8]}"
    with site.api() as api:
        api.post("/v1/collections", json={"name": name}).raise_for_status()
        sent = [("file", (file, data)) for file, data in files.items()]
        return str(api.post(f"/v1/collections/{name}/jobs/ingest", files=sent).json()["id"])


def test_job_is_followed_to_its_end_without_a_reload(page: Page, site: Site) -> None:
    job = ingest(site, {"good.txt": b"Good text.", "bad.pdf": b"no PDF"})
    page.goto(f"/jobs/{job}")
    expect(page.locator("section.job .tag").first).to_have_text("done", timeout=180_000)
    expect(page.locator("section.job")).not_to_have_attribute("hx-trigger", "every 1s")
    failed = page.get_by_role("row").filter(has_text="bad.pdf")
    expect(failed.locator(".tag.bad")).to_have_text("failed")
    page.get_by_role("button", name="Try the failed ones again").click()
    expect(page.locator("section.job")).to_contain_text("attempt 2")
    expect(page.locator("section.job .tag").first).to_have_text("done", timeout=180_000)
    page.get_by_role("link", name="show only the failed").click()
    expect(page.get_by_role("row").filter(has_text="good.txt")).to_have_count(0)


def test_job_is_cancelled_and_goes_on(page: Page, site: Site) -> None:
    text = b"Ropes hold ships at the quay. " * 2000
    job = ingest(site, {f"{number}.txt": b"%d " % number + text for number in range(60)})
    page.goto(f"/jobs/{job}")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("section.job .tag").first).to_have_text("cancelled")
    page.get_by_role("button", name="Go on where it stopped").click()
    expect(page.locator("section.job")).to_contain_text("attempt 2")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("section.job .tag").first).to_have_text("cancelled")
    page.goto("/jobs?state=cancelled")
    expect(page.locator(f"a[href='/jobs/{job}']")).to_be_visible()


def test_jobs_fit_a_narrow_screen_in_russian(new_page: Callable[..., Page], site: Site) -> None:
    ingest(site, {"good.txt": b"Good text."})
    page = new_page(locale="ru-RU", viewport={"width": 390, "height": 844})
    page.goto("/jobs")
    expect(page.get_by_role("heading", level=1)).to_have_text("Задания")
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
