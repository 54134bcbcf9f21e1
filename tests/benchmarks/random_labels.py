"""Trainings on labels drawn at random: the gate has to refuse every one of them.

The smallest honest corpus: documents of SciFact with claims that really are about them, except that each
claim is said to be about another one. Training and held-out claims are labelled alike, so that an encoder
that learned the labels by heart would still have nothing to show.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from retrieval.benchmark import RetrievalTask, load_task
from tests.benchmarks.texts import NoData, data_folder
from training.siamese.folder import REPORT
from training.siamese.plan import PlannedOptimisation, TrainingPlan, write_plan

DOCUMENTS = 200
STEPS = 10  # a little more than one pass over the claims
MAX_TOKENS = 64  # there is nothing to be found behind them, either


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=20, help="with other labels each (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)


def measure(arguments: Namespace) -> Mapping[str, object]:
    """How many of the runs were refused, and why."""
    try:
        task = load_task(data_folder() / "scifact", "train")
    except NoData as error:
        return {"skipped": str(error)}
    reports, minutes = [], []
    for run in range(arguments.runs):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            reports.append(train_on_chance(task, Path(folder), arguments.seed + run))
        minutes.append((time.monotonic() - began) / 60)
        print(f"run {run + 1}: promote={reports[-1]['promote']}: {reports[-1]['reasons']}", file=sys.stderr)
    refused = sum(not report["promote"] for report in reports)
    reasons = Counter(reason.partition(":")[0] for report in reports for reason in report["reasons"])
    return {
        "runs": arguments.runs,
        "refused": refused,
        "reasons": dict(reasons.most_common(5)),
        "gains": [round(report["domain"]["gain"], 2) for report in reports],
        "minutes_longest": round(max(minutes), 1),
        "passed": refused == arguments.runs,
    }


def train_on_chance(task: RetrievalTask, folder: Path, seed: int) -> dict[str, Any]:
    """One run in a folder; its report."""
    sources = folder / "sources"
    write_chance(task, sources, random.Random(seed))
    optimisation = PlannedOptimisation(max_steps=STEPS, batch_examples=32, max_tokens=MAX_TOKENS, seed=seed)
    run = folder / "run"
    run.mkdir()
    # By itself it would be judged by cross-validation, which is four trainings.
    plan = TrainingPlan(name="chance", sources=(str(sources),), optimisation=optimisation, folds=1, minutes=3)
    write_plan(run, plan)
    subprocess.run([sys.executable, "-m", "training.siamese.run", str(run)], check=True, env=dict(os.environ))
    report: dict[str, Any] = json.loads((run / REPORT).read_text(encoding="utf-8"))
    return report


def write_chance(task: RetrievalTask, folder: Path, rng: random.Random) -> None:
    """A BEIR folder whose claims were dealt out anew to the documents that claims are about."""
    judged = [(query, next(iter(grades))) for query, grades in task.qrels.items() if any(grades.values())]
    documents = list(dict.fromkeys(document for _, document in judged))[:DOCUMENTS]
    queries = [query for query, document in judged if document in set(documents)]
    dealt = [rng.choice(documents) for _ in queries]
    (folder / "qrels").mkdir(parents=True)
    _write(folder / "corpus.jsonl", ({"_id": each, "text": task.documents[each]} for each in documents))
    _write(folder / "queries.jsonl", ({"_id": each, "text": task.queries[each]} for each in queries))
    lines = [f"{query}\t{document}\t1" for query, document in zip(queries, dealt, strict=True)]
    text = "\n".join(["query-id\tcorpus-id\tscore", *lines]) + "\n"
    (folder / "qrels" / "train.tsv").write_text(text, encoding="utf-8")


def _write(path: Path, rows: Any) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
