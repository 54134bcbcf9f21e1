"""Collections in a real browser: made, filled by drag and drop, emptied, deleted."""

from pathlib import Path
from uuid import uuid4

import pytest

from tests.browser.conftest import Site
from tests.browser.test_accessibility import faults_of

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect

DROP = """([form, files]) => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) transfer.items.add(new File([text], name, {type: "text/plain"}));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    form.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
  }
}"""


@pytest.fixture
def collection(site: Site) -> str:
    """The name of an empty collection."""
    name = f"test-{uuid4().hex[:8]}"
    with site.api() as api:
        api.post("/v1/collections", json={"name": name}).raise_for_status()
    return name


def drop(page: Page, files: dict[str, str]) -> None:
    form = page.locator("#upload").element_handle()
    page.evaluate(DROP, [form, list(files.items())])


def test_collection_is_made_and_deleted_by_hand(page: Page) -> None:
    name = f"made-{uuid4().hex[:8]}"
    page.goto("/collections")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create").click()
    page.wait_for_url(f"**/collections/{name}")
    expect(page.get_by_text("There are no documents yet.")).to_be_visible()
    page.get_by_text("Delete this collection").click()
    page.get_by_label(f"Type {name} to confirm").fill("something else")
    page.get_by_role("button", name="Delete for good").click()
    expect(page.get_by_role("alert")).to_contain_text("nothing was deleted")
    page.get_by_label(f"Type {name} to confirm").fill(name)
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url("**/collections")
    expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)
    page.faults.clear()  # type: ignore[attr-defined]  # the browser tells of the refusal too


def test_taken_name_is_told_in_place_and_the_form_keeps_what_was_typed(page: Page, collection: str) -> None:
    page.goto("/collections")
    page.get_by_label("Name").fill(collection)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("there is already a collection")
    expect(page.get_by_label("Name")).to_have_value(collection)
    page.faults.clear()  # type: ignore[attr-defined]


def test_dropped_files_tell_each_its_end_and_are_listed(page: Page, collection: str) -> None:
    page.goto(f"/collections/{collection}")
    drop(page, {"roses.md": "# Roses\n\nPrune roses in spring.", "empty.txt": "", "broken.pdf": "no PDF"})
    rows = page.locator("#upload-list > li")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="roses.md").locator(".tag.good")).to_have_text("added")
    expect(rows.filter(has_text="empty.txt")).to_contain_text("The file is empty.")
    expect(rows.filter(has_text="broken.pdf").locator(".tag.bad")).to_have_text("failed")
    expect(page.locator("#uploads-summary")).to_contain_text("2 / 2 / 3")
    expect(page.locator("#documents")).to_contain_text("roses.md")
    expect(page.locator("#documents tbody tr")).to_have_count(1)
    assert faults_of(page) == []


def test_many_files_become_a_job_that_is_followed_to_its_end(page: Page, collection: str) -> None:
    page.goto(f"/collections/{collection}")
    drop(page, {f"note {number:02}.txt": f"Note {number}." for number in range(12)} | {"bad.pdf": "no PDF"})
    job = page.locator("#upload-list section.job")
    expect(job).to_be_visible()
    expect(job.locator(".tag").first).to_have_text("done", timeout=180_000)
    expect(page.locator("#documents .count")).to_have_text("12")
    failed = page.locator("#upload-list tbody tr")
    expect(failed).to_have_count(1)
    expect(failed).to_contain_text("bad.pdf")


def test_chosen_files_are_sent_and_dangerous_names_stay_text(
    page: Page, collection: str, tmp_path: Path
) -> None:
    evil = tmp_path / "<img src=x onerror=alert(1)>.txt"
    evil.write_text("Evil names are names.", encoding="utf-8")
    page.goto(f"/collections/{collection}")
    page.get_by_label("Files", exact=True).set_input_files(evil)
    expect(page.locator("#upload-list .tag.good")).to_have_text("added")
    expect(page.locator("#documents tbody")).to_contain_text("<img src=x")
    assert page.locator("main img").count() == 0


def test_selected_documents_are_deleted_after_a_question(page: Page, site: Site, collection: str) -> None:
    documents = [{"id": f"bed/{number:03}", "text": f"Bed {number}."} for number in range(30)]
    with site.api() as api:
        api.post(f"/v1/collections/{collection}/documents", json={"documents": documents}).raise_for_status()
    page.goto(f"/collections/{collection}")
    page.get_by_role("link", name="Show more").click()
    expect(page.locator("#documents tbody tr")).to_have_count(30)
    page.get_by_label("select bed/003").check()
    page.get_by_label("select bed/029").check()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete the selected").click()
    expect(page.locator("#documents .count")).to_have_text("28")
    expect(page.get_by_label("select bed/003")).to_have_count(0)


def test_reader_without_a_link_sees_no_form(new_page, collection: str) -> None:  # type: ignore[no-untyped-def]
    page = new_page(signed_in=False, locale="en-US")
    page.goto(f"/collections/{collection}")
    expect(page.locator("#upload")).to_have_count(0)
    expect(page.get_by_text("footnote keys page-link --scope write")).to_be_visible()
