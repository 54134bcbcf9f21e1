"""Bytes a chunk takes in each store, measured at several sizes and drawn out to those that do not fit here.

The law of each part of a store is the line through its sizes (capacity_law.py).
"""

import json
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.capacity_law import Law, Sizes, fit
from tests.benchmarks.capacity_report import GUIDE_PAGE, markdown
from tests.benchmarks.capacity_stores import STORES
from tests.benchmarks.environments import WORKPLACE
from tests.benchmarks.report import replace_section
from tests.benchmarks.scale_corpus import ScaleCorpus, load_corpus

ENCODED = 10_000  # texts with the encoder's own vectors; those of the others are as long
RESULTS = WORKPLACE / "results" / "capacity.json"
ORDER = ("SQLite", "PostgreSQL", "FAISS, hnsw", "FAISS, ivf", "pgvector")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[10_000, 20_000, 30_000],
        help="within 10,000 and 32,000 graphs of PostgreSQL are there, and inverted lists equally many",
    )
    parser.add_argument(
        "--stores",
        nargs="+",
        choices=STORES,
        default=list(STORES),
        help="the others keep their last figures",
    )
    parser.add_argument("--guide", action="store_true", help="write the section into the guide")


def measure(options: Namespace) -> Mapping[str, object]:
    sizes = sorted(options.sizes)
    corpus = load_corpus(max(sizes[-1], ENCODED), encoded=ENCODED)
    with tempfile.TemporaryDirectory(dir=WORKPLACE) as folder:
        for store in options.stores:
            grown = STORES[store](corpus, sizes, Path(folder) / store)
            _keep(corpus, {name: _laws(parts) for name, parts in grown.items()})
    found = _kept()
    missing = [name for name in ORDER if name not in found["stores"]]
    if missing:
        print(f"no section yet: measure {', '.join(missing)} too", file=sys.stderr)
    else:
        _write(found, into_guide=options.guide)
    return found


def _laws(parts: Sizes) -> dict[str, Law]:
    return {part: fit(points) for part, points in parts.items()}


def _keep(corpus: ScaleCorpus, laws: Mapping[str, Mapping[str, Law]]) -> None:
    """Put the laws of some stores beside those of the others, which earlier runs have found."""
    texts = [len(corpus.text(i).encode()) for i in range(ENCODED)]
    stores = {**(_kept()["stores"] if RESULTS.is_file() else {}), **laws}
    found = {
        "dimension": corpus.vectors.shape[1],
        "text_bytes": round(sum(texts) / len(texts)),
        "stores": {name: stores[name] for name in ORDER if name in stores},
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return kept


def _write(found: Mapping[str, object], into_guide: bool) -> None:
    section = markdown(found)
    RESULTS.with_suffix(".md").write_text(section, encoding="utf-8")
    if into_guide:
        page = GUIDE_PAGE.read_text(encoding="utf-8")
        GUIDE_PAGE.write_text(replace_section(page, section), encoding="utf-8")
