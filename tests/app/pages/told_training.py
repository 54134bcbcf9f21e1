"""A training that has judged, as its process leaves it in its folder."""

import json
from typing import Any

from app.jobs.attempts import AttemptRef, begin_attempt, end_job
from app.jobs.training import submit_training
from app.jobs.types import JobInfo, JobState
from app.resources import Resources
from app.services.training_types import TrainingInput

QUERY = "when to plant <tomatoes>"
INTERVAL = {"value": 0.03, "low": 0.01, "high": 0.05}


def judged(old: float, new: float, **more: Any) -> dict[str, Any]:
    """What a report says of one set."""
    return {
        "measure": "nDCG@10",
        "examples": 100,
        "passages": 500,
        "old": old,
        "new": new,
        "gain": round(new - old, 3),
        "gain_at_least": round(new - old - 1, 3),
        "gain_at_most": round(new - old + 1, 3),
        "meaningful": True,
        "metrics": {"ndcg@10": {"old": old / 100, "new": new / 100, "gain": INTERVAL}},
        "wins": 23,
        "losses": 12,
        "ties": 65,
        "largest": [
            {"query": QUERY, "old": 0.25, "new": 1.0},
            {"query": "frost", "old": 0.5, "new": 0.4},
            {"query": "снег", "old": 1.0, "new": 0.0},
        ],
        **more,
    }


def report(*, better: bool = True) -> dict[str, Any]:
    """A report as `training.siamese.run` writes it, shortened."""
    round_1 = {
        "mining": {"pairs": 80, "negatives": 70},
        "objective": "MultipleNegativesRanking",
        "why": "most examples are pairs",
        "precision": "bf16",
        "steps": 18,
        "seconds": 609.8,
    }
    return {
        "plan": {},
        "data": {"train": {"uploaded": 80, "passages": 500}, "held_out": {"uploaded": 20, "passages": 500}},
        "training": {"pretraining": None, "rounds": [round_1]},
        "promote": better,
        "reasons": ["on held-out examples nDCG@10 went from 59.7 to 63.2"],
        "domain": judged(59.737, 63.156),
        "general": {
            "xquad_en": judged(95.5, 95.4),
            "sts": judged(
                80.0, 80.0, measure="Spearman correlation", wins=None, losses=None, ties=None, largest=[]
            ),
        },
        "model_id": {"old": "old@1", "new": "new@2"},
        "seconds": 745.0,
    }


async def tell(
    resources: Resources, collection: str, *, better: bool = True, release: int | None = None
) -> JobInfo:
    """Ask for a training of the collection, and do what its job does of it: the files and the end."""
    job = await submit_training(resources.training, resources.jobs, collection, TrainingInput())
    folder = resources.training.folder(job.id)
    (folder / "round-1").mkdir(parents=True)
    points = [{"step": 0, "metric": 0.6}, *({"step": step, "loss": 2 / step} for step in range(1, 19))]
    lines = "".join(json.dumps(point) + "\n" for point in [*points, {"step": 18, "metric": 0.7}])
    (folder / "round-1" / "loss.jsonl").write_text(lines, encoding="utf-8")
    told = report(better=better)
    (folder / "report.json").write_text(json.dumps(told), encoding="utf-8")
    result = {
        "better": better,
        "reasons": told["reasons"],
        "artifact": None,
        "model": "new" if release else None,
    }
    ref = AttemptRef(job.id, 1)
    async with resources.database.write() as connection:
        await begin_attempt(connection, ref)
        await end_job(connection, ref, {"state": JobState.DONE, "result": {**result, "release": release}})
    return await resources.jobs.get(job.id)
