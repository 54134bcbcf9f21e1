"""Retraining with all settings at their defaults on public sets, judged on test queries that it never saw.

    python -m tests.benchmarks retraining scifact [--peer] [--workplace DIR] [--plan JSON]

Each domain gives a run what a user would give it: a BEIR folder with training queries, question-answer
pairs, labelled texts, or documents alone. With --peer the same examples also go to sentence-transformers'
own script.
"""

import gzip
import json
import os
import random
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from retrieval.benchmark import load_task
from tests.benchmarks.retraining_peer import PlainEncoder, train_peer
from training.siamese.folder import ARTIFACT, CORPUS, REPORT
from training.siamese.general import Task, load_general
from training.siamese.judgement import Judged, measure
from training.siamese.plan import Gate, TrainingPlan, write_plan
from training.siamese.reading import read_sources
from training.siamese.splitting import held_out_task

WORKPLACE = Path(".bench/retraining")
TEST_SHARE = 5  # one focus of MedQuAD in so many is only tested


@dataclass(frozen=True, slots=True)
class Domain:
    """test: what both encoders are measured on; sources: of the plan; documents: a BEIR folder of which the
    documents alone are given.
    """

    test: Callable[[Path, Path], Task]
    sources: Callable[[Path, Path], tuple[str, ...]] = lambda _data, _folder: ()
    documents: str | None = None


def _beir(name: str, split: str) -> Callable[[Path, Path], Task]:
    return lambda data, _folder: load_task(data / name, split)


def _medquad(data: Path, folder: Path) -> tuple[str, ...]:
    """Question and answer pairs of four illnesses in five; their answers and the others' are searched."""
    rows = [row for row in _rows(data / "medquad/medquad.jsonl.gz") if row["answer"].strip()]
    focuses = sorted({row["focus"] for row in rows})
    tested = set(random.Random(7).sample(focuses, len(focuses) // TEST_SHARE))
    beir = folder / "medquad"
    _write_rows(
        beir / "corpus.jsonl", ({"_id": row["_id"], "title": "", "text": row["answer"]} for row in rows)
    )
    _write_rows(beir / "queries.jsonl", ({"_id": row["_id"], "text": row["question"]} for row in rows))
    (beir / "qrels").mkdir(exist_ok=True)
    for split, wanted in (("train", False), ("test", True)):
        lines = [f"{row['_id']}\t{row['_id']}\t1" for row in rows if (row["focus"] in tested) == wanted]
        text = "\n".join(["query-id\tcorpus-id\tscore", *lines])
        (beir / "qrels" / f"{split}.tsv").write_text(text + "\n", encoding="utf-8")
    return (f"{beir}:train",)


def _banking(data: Path, _folder: Path) -> Task:
    train, test = (read_sources([data / f"banking77/{split}.jsonl.gz"]) for split in ("train", "test"))
    return held_out_task(test, train)


DOMAINS: dict[str, Domain] = {
    "scifact": Domain(_beir("scifact", "test"), lambda data, _: (f"{data / 'scifact'}:train",)),
    "cosqa": Domain(_beir("cosqa", "test"), lambda data, _: (f"{data / 'cosqa'}:dev",)),
    "medquad": Domain(lambda _, folder: load_task(folder / "medquad", "test"), _medquad),
    "banking77": Domain(_banking, lambda data, _: (str(data / "banking77/train.jsonl.gz"),)),
    "scifact-documents": Domain(_beir("scifact", "test"), documents="scifact"),
    "cranfield-documents": Domain(_beir("cranfield", "test"), documents="cranfield"),
}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("domain", choices=sorted(DOMAINS))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("FOOTNOTE_DATA", "../shared/data")))
    parser.add_argument("--workplace", type=Path, default=WORKPLACE)
    parser.add_argument("--plan", default="{}", help="settings that differ from the defaults, as JSON")
    parser.add_argument("--label", default="default", help="name of the run's folder")
    parser.add_argument("--peer", action="store_true", help="also train with sentence-transformers' script")


def measure_domain(options: Namespace) -> Mapping[str, object]:
    """Run, then measure test and general sets with the bundled encoder and the new one."""
    folder = (options.workplace / options.domain / options.label).resolve()
    domain, data = DOMAINS[options.domain], options.data.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sources = domain.sources(data, folder)
    if domain.documents:
        _copy_documents(data / domain.documents, folder)
    settings = {"name": options.domain, "sources": sources, **json.loads(options.plan)}
    write_plan(folder, msgspec.convert(settings, TrainingPlan))
    if not (folder / REPORT).is_file():  # measuring again takes no training
        subprocess.run([sys.executable, "-m", "training.siamese.run", str(folder)], check=True)
    general = [data / "stsb/en/test.jsonl.gz"]
    if "scifact" not in options.domain:
        general.append(data / "scifact")
    told: dict[str, Any] = {"domain": options.domain, "label": options.label}
    report = json.loads((folder / REPORT).read_text())
    told["minutes"] = round(report["seconds"] / 60, 1)
    told |= {"promote": report["promote"], "reasons": report["reasons"]}
    tasks = {"test": domain.test(data, folder), **load_general([str(path) for path in general])}
    told |= _figures(tasks, Encoder.load(folder / ARTIFACT, os.cpu_count() or 1))
    return told | (_peer_figures(folder, sources, tasks) if options.peer and sources else {})


def _figures(tasks: Mapping[str, Task], new: Any) -> dict[str, Any]:
    """The bundled encoder and a new one on each set."""
    old = Encoder.load(BUNDLED_ENCODER, os.cpu_count() or 1)
    judged = {name: measure(name, task, old, new, Gate(), lambda *_: None) for name, task in tasks.items()}
    return {name.rpartition("data/")[2]: _shown(each) for name, each in judged.items()}


def _peer_figures(folder: Path, sources: Iterable[str], tasks: Mapping[str, Task]) -> dict[str, Any]:
    seconds = train_peer(folder, list(sources))
    figures = _figures(tasks, PlainEncoder(folder / "peer"))
    return {"sentence-transformers": {"minutes": round(seconds / 60, 1), **figures}}


def _shown(judged: Judged) -> dict[str, Any]:
    """Points, 0 to 100. gain: with its two-sided 95 % interval where there is one."""
    change = judged.metrics.get(judged.measure.casefold())
    interval = [round(100 * bound, 2) for bound in (change.gain.low, change.gain.high)] if change else None
    figures = {"old": judged.old, "new": judged.new, "gain": judged.gain}
    rounded = {name: round(value, 2) for name, value in figures.items()}
    return {"measure": judged.measure, "examples": judged.examples, **rounded, "interval": interval}


def _copy_documents(source: Path, folder: Path) -> None:
    (folder / CORPUS).write_bytes((source / "corpus.jsonl.gz").read_bytes())


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
