"""Classification from a few examples of each label: Banking77 (Casanueva et al. 2020), several draws.

Each draw is trained, exported to int8 and measured on the whole test set as `footnote train classifier` does,
beside the bundled encoder with a logistic regression and with the means of the same examples.
"""

import os
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any


def add_arguments(parser: ArgumentParser) -> None:
    """The options of this benchmark."""
    data = os.environ.get("FOOTNOTE_DATA", "../shared/data")
    parser.add_argument(
        "--data", type=Path, default=Path(data) / "banking77", help="train and test, .jsonl.gz"
    )
    parser.add_argument("--shots", type=int, default=8, help="examples of each label")
    parser.add_argument("--draws", type=int, default=3, help="of the examples, from seed 0 on")
    parser.add_argument("--objective", default="auto", help="CosineSimilarity is SetFit's")
    parser.add_argument("--iterations", type=int, help="pairs for each text")
    parser.add_argument("--frozen", action="store_true", help="leave the encoder as it is")


def measure(options: Namespace) -> Mapping[str, object]:
    """Mean accuracy over the draws, and that of each."""
    from training.siamese.classification import read_labelled  # noqa: PLC0415  loads torch

    train, test = (read_labelled([options.data / f"{part}.jsonl.gz"]) for part in ("train", "test"))
    began = time.monotonic()
    rows = [_draw(options, seed, train, test) for seed in range(options.draws)]
    columns = {
        "trained": [row["accuracy"] for row in rows],
        "regression": [row["bundled_encoder"]["regression"]["accuracy"] for row in rows],
        "centroids": [row["bundled_encoder"]["centroids"]["accuracy"] for row in rows],
    }
    return {
        "data": f"{options.data.name}, {options.shots} of each label, {len(test)} test texts",
        **{name: round(mean(values), 4) for name, values in columns.items()},
        "deviation": {name: round(stdev(v), 4) for name, v in columns.items() if len(v) > 1},
        "draws": [round(value, 4) for value in columns["trained"]],
        "log_loss": round(mean(row["log_loss"] for row in rows), 3),
        "calibration_error": round(mean(row["calibration_error"] for row in rows), 3),
        "seconds": round(time.monotonic() - began, 1),
    }


def _draw(options: Namespace, seed: int, train: Any, test: Any) -> dict[str, Any]:
    from training.siamese.classification import (  # noqa: PLC0415
        ITERATIONS,
        ClassifierPlan,
        train_classifier,
    )

    with tempfile.TemporaryDirectory() as models:
        plan = ClassifierPlan(
            name="banking77",
            models=Path(models),
            shots=options.shots,
            seed=seed,
            frozen=options.frozen,
            objective=options.objective,
            iterations=options.iterations or ITERATIONS,
        )
        figures = train_classifier(plan, train, test).figures
    print(f"draw {seed}: {figures['accuracy']:.4f}", file=sys.stderr, flush=True)
    return figures
