"""Releases in a real browser: reindexed, promoted, taken back; trainings with their figures."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.app.pages.told_training import report
from tests.browser.conftest import Site
from tests.browser.test_accessibility import faults_of

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect


@pytest.fixture
def collection(site: Site) -> str:
    """The name of a collection with two documents."""
    name = f"test-{uuid4().hex[:8]}"
    documents = [{"id": "a", "text": "Ropes hold ships."}, {"id": "b", "text": "Lamps guide them."}]
    with site.api() as api:
        api.post("/v1/collections", json={"name": name}).raise_for_status()
        api.post(f"/v1/collections/{name}/documents", json={"documents": documents}).raise_for_status()
    return name


def test_reindexed_release_is_promoted_and_taken_back(page: Page, collection: str) -> None:
    page.goto(f"/collections/{collection}/releases")
    form = page.locator("#reindex")
    form.get_by_label("Longest passage, tokens").fill("64")
    form.get_by_label("Overlap of neighbours, tokens").fill("0")
    form.get_by_label("Put it in service when it passes").uncheck()
    form.get_by_role("button", name="Start the reindex").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("section.job .tag").first).to_have_text("done", timeout=180_000)
    page.get_by_role("link", name="release 2").click()
    page.get_by_role("button", name="Put in service").click()
    expect(page.get_by_role("heading", name="In service: release 2")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Go back to release 1").click()
    expect(page.get_by_role("heading", name="In service: release 1")).to_be_visible()


def test_golden_query_is_kept_and_removed(page: Page, collection: str) -> None:
    page.goto(f"/collections/{collection}/releases")
    page.get_by_label("Query", exact=True).fill("what holds ships?")
    page.get_by_label("Ids of the documents").fill("a")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("cell", name="what holds ships?")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("cell", name="what holds ships?")).to_have_count(0)


@pytest.mark.parametrize("look", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}])
def test_training_shows_figures_queries_and_curve(
    new_page: Callable[..., Page], site: Site, collection: str, look: dict[str, object]
) -> None:
    with site.api() as api:
        plan = {"plan": {"name": f"m-{uuid4().hex[:8]}"}, "dry_run": True}
        job = api.post(f"/v1/admin/collections/{collection}/train", json=plan).json()["id"]
        api.post(f"/v1/jobs/{job}/cancel").raise_for_status()
    folder = site.home / "training" / job
    (folder / "round-1").mkdir(parents=True, exist_ok=True)
    points = [{"step": step, "loss": 1 / step} for step in range(1, 30)]
    (folder / "round-1" / "loss.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    (folder / "report.json").write_text(json.dumps(report()), encoding="utf-8")
    page = new_page(locale="en-US", **look)
    page.goto(f"/jobs/{job}")
    expect(page.get_by_role("img", name="Loss: from 1.000")).to_be_visible()
    expect(page.get_by_role("img", name="23 better, 65 equal, 12 worse").first).to_be_attached()
    expect(page.get_by_text("when to plant <tomatoes>")).to_be_visible()
    assert faults_of(page) == []
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
