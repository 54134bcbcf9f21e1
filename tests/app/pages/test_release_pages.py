import json
import re
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient as Client

from app.encoders import LoadedEncoder
from app.pages.training_views import TrainingView
from app.resources import Models, Resources
from app.services.release_types import ReindexInput, ReleaseState
from app.services.training_types import TrainingReport
from app.services.types import Scope
from tests.app.hashing_encoder import HashingEncoder
from tests.app.http.conftest import Keys
from tests.app.pages.test_job_views import RUNNING
from tests.app.pages.told_training import report, tell

HTMX = {"HX-Request": "true"}
PAGE = "/collections/garden/releases"


@pytest.fixture
def models(models: Models) -> Models:
    """Any folder holds an encoder of 48 dimensions."""

    def load(folder: Path) -> LoadedEncoder:
        return LoadedEncoder(HashingEncoder(f"{folder.name}@1", dimension=48), models.tokenizer)

    return Models(models.encoder, models.tokenizer, models.answerer, load)


async def ready_release(resources: Resources) -> int:
    release = await resources.releases.reindex("garden", ReindexInput(encoder="wide"), promote=False)
    assert release.state == ReleaseState.READY
    return release.number


async def serving(resources: Resources) -> int:
    releases = await resources.releases.list("garden")
    return next(each.number for each in releases if each.state == ReleaseState.SERVING)


async def test_release_is_promoted_and_taken_back(admin: Client, garden: str, resources: Resources) -> None:
    number = await ready_release(resources)
    page = (await admin.get(PAGE)).text
    assert f'hx-post="{PAGE}/{number}/promote"' in page
    assert f'hx-post="{PAGE}/rollback"' not in page
    promoted = await admin.post(f"{PAGE}/{number}/promote", headers=HTMX)
    assert "In service: release 2" in promoted.text
    assert await serving(resources) == 2
    assert f'hx-post="{PAGE}/rollback"' in promoted.text
    back = await admin.post(f"{PAGE}/rollback")
    assert (back.status_code, back.headers["location"]) == (303, PAGE)
    assert await serving(resources) == 1


async def test_release_that_may_not_serve_is_a_problem(
    admin: Client, garden: str, resources: Resources
) -> None:
    await resources.releases.begin("garden", ReindexInput(encoder="wide"))
    reply = await admin.post(f"{PAGE}/2/promote", headers=HTMX)
    assert (reply.status_code, "is building" in reply.text) == (409, True)
    assert f"{PAGE}/2/promote" not in (await admin.get(PAGE)).text


async def test_retired_releases_are_pruned(admin: Client, garden: str, resources: Resources) -> None:
    for tokens in (64, 32):
        wanted = ReindexInput(chunk_max_tokens=tokens, chunk_overlap_tokens=0)
        await resources.releases.reindex("garden", wanted, promote=True)
    assert f"{PAGE}/prune" in (await admin.get(PAGE)).text
    reply = await admin.post(f"{PAGE}/prune", headers=HTMX)
    assert re.search(r"Reclaimed: 2 passages", reply.text)


async def test_training_stands_with_the_release_that_it_made(
    admin: Client, garden: str, resources: Resources
) -> None:
    number = await ready_release(resources)
    job = await tell(resources, "garden", release=number)
    page = (await admin.get(PAGE)).text
    row = re.search(rf'<th scope="row" class="number"[^>]*>{number}</th>.*?</tr>', page, re.DOTALL)
    assert row is not None
    assert f'href="#training-{job.id}"' in row[0]
    assert re.search(r"59\.7 → 63\.2", row[0])
    assert f'id="training-{job.id}"' in page


async def test_trainings_and_golden_queries_are_for_administrators(
    client: Client, garden: str, resources: Resources, keys: Keys
) -> None:
    await tell(resources, "garden")
    await resources.releases.add_golden("garden", "my private question", ["beds/tomatoes"])
    client.headers.update(keys[Scope.WRITE])
    page = (await client.get(PAGE)).text
    assert "In service: release 1" in page
    for hidden in ("training-", "private", "to plant"):
        assert hidden not in page


async def test_training_of_a_deleted_namesake_is_not_shown(
    admin: Client, garden: str, resources: Resources
) -> None:
    job = await tell(resources, "garden")
    await resources.collections.delete("garden")
    await resources.collections.create("garden")
    assert job.id not in (await admin.get(PAGE)).text


async def test_train_button_starts_a_dry_run(admin: Client, garden: str, resources: Resources) -> None:
    form = {"dry_run": "yes", "name": "better", "plan": '{"optimisation": {"epochs": 1}}'}
    files = [("file", ("pairs.jsonl", b'{"query": "a", "positive": "b"}\n'))]
    reply = await admin.post(f"{PAGE}/train", data=form, files=files, headers=HTMX)
    (job,) = (await resources.jobs.list()).jobs
    assert reply.headers["hx-redirect"] == f"/jobs/{job.id}"
    assert (job.input["dry_run"], job.input["promote"], job.items.pending) == (True, "never", 1)
    assert job.input["plan"]["optimisation"]["epochs"] == 1
    again = await admin.post(f"{PAGE}/train", data={"dry_run": ""}, files=files, headers=HTMX)
    assert (again.status_code, "under way" in again.text) == (409, True)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"plan": "[1]"}, "a JSON object"),
        ({"plan": '{"epochs": 1}'}, "epochs"),
        ({"name": "../up"}, "A-Z a-z 0-9"),
    ],
)
async def test_wrong_training_is_told_and_not_started(
    admin: Client, garden: str, resources: Resources, form: dict[str, str], told: str
) -> None:
    # A browser sends an empty part for a file that was not chosen.
    reply = await admin.post(f"{PAGE}/train", data=form, files=[("file", ("", b"", ""))], headers=HTMX)
    assert (reply.status_code, told in reply.text) == (422, True), reply.text
    assert (await resources.jobs.list()).jobs == ()


async def test_reindex_form_starts_a_job(admin: Client, garden: str, resources: Resources) -> None:
    form = {"encoder": "", "chunk_max_tokens": "48", "chunk_overlap_tokens": "0"}
    reply = await admin.post(f"{PAGE}/reindex", data=form)
    (job,) = (await resources.jobs.list()).jobs
    assert reply.headers["location"] == f"/jobs/{job.id}"
    assert dict(job.input) == {"number": 2, "promote": False}
    assert (await resources.releases.get("garden", 2)).chunk_max_tokens == 48


async def test_golden_queries_are_kept_and_removed(admin: Client, garden: str, resources: Resources) -> None:
    form = {"query": "when to plant?", "document_ids": "beds/tomatoes\r\n\r\nснег\r\n"}
    assert "when to plant?" in (await admin.post(f"{PAGE}/golden", data=form, headers=HTMX)).text
    (golden,) = await resources.releases.golden("garden")
    assert golden.document_ids == ("beds/tomatoes", "снег")
    await admin.post(f"{PAGE}/golden/{golden.id}/remove")
    assert await resources.releases.golden("garden") == ()


async def test_models_page_names_models_their_users_and_the_damaged_one(
    admin: Client, garden: str, resources: Resources
) -> None:
    shelf = resources.settings.home / "models"
    (shelf / "broken").mkdir(parents=True)
    (shelf / "broken" / "manifest.json").write_text("{")
    (shelf / ".half.partial").mkdir()
    (shelf / "wide").mkdir()
    manifest: dict[str, Any] = {
        "name": "wide",
        "kind": "encoder",
        "source": "a <friend>",
        "licence": "MIT",
        "precision": "fp32",
        "files": {"model.onnx": {"size_bytes": 3_000_000, "sha256": "ab" * 32}},
        "encoder": {"dimension": 48, "max_tokens": 128, "pooling": "mean"},
    }
    (shelf / "wide" / "manifest.json").write_text(json.dumps(manifest))
    (shelf / "wide" / "README.md").write_text("# Wide <script>", encoding="utf-8")
    page = (await admin.get("/models")).text
    assert "wide@abababababab" in page
    assert ("a &lt;friend&gt;" in page, "# Wide &lt;script&gt;" in page, "3 MB" in page) == (True, True, True)
    assert "the model in" in page
    assert ".half" not in page


def test_unjudged_training_has_no_verdict() -> None:
    view = TrainingView.of(RUNNING, TrainingReport({}, (), None))
    assert (view.better, view.domain, view.sets, view.charts) == (None, None, (), ())


def test_wins_and_losses_are_apart_and_the_largest_come_first() -> None:
    domain = TrainingView.of(RUNNING, TrainingReport({}, (), report())).domain
    assert domain is not None
    assert [round(each.gain, 2) for each in domain.won] == [0.75]
    assert [round(each.gain, 2) for each in domain.lost] == [-1.0, -0.1]
