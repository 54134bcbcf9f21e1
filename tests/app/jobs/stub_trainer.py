"""In place of the training process: counts steps, and makes a model that no engine could load.

python -m tests.app.jobs.stub_trainer FOLDER. The plan's `licence` says how it behaves: `slow` takes four
seconds, `deaf` does not hear SIGTERM, `worse` makes no better model, `refuses` tells of a failure, `breaks`
does not, `dies` is killed.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from embeddings.artifact import EncoderSpec, ModelManifest, describe_file, write_manifest
from training.siamese.plan import TrainingPlan, read_plan
from training.siamese.progress import ProgressFile, RunCancelled

STEPS = 20
STOPPED: list[int] = []


def train(folder: Path, plan: TrainingPlan) -> None:
    progress = ProgressFile(folder, "train", lambda: bool(STOPPED))
    reached = folder / "reached"
    first = int(reached.read_text()) if reached.exists() else 0
    print("start", os.getpid(), first, flush=True)  # into the log, which stays
    if plan.licence == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "round-1").mkdir(exist_ok=True)
    with (folder / "round-1" / "loss.jsonl").open("a") as losses:
        for step in range(first, STEPS):
            progress.show("steps", step, STEPS)
            time.sleep(0.2 if plan.licence in ("slow", "deaf") else 0.001)
            losses.write(json.dumps({"step": step, "loss": 1 / (step + 1)}) + "\n")
            temporary = folder / "reached.tmp"
            temporary.write_text(str(step + 1))
            temporary.replace(reached)
    progress.show("steps", STEPS, STEPS)


def export(folder: Path, plan: TrainingPlan) -> None:
    artifact = folder / "artifact"
    (artifact / "checkpoint").mkdir(parents=True, exist_ok=True)
    (artifact / "checkpoint" / "weights").write_bytes(b"weights")
    (artifact / "model.onnx").write_bytes(plan.name.encode())
    manifest = ModelManifest(
        name=plan.name,
        kind="encoder",
        source="tests",
        licence=plan.licence,
        precision="fp32",
        files={"model.onnx": describe_file(artifact / "model.onnx")},
        encoder=EncoderSpec(48, 258, pooling="mean"),
    )
    write_manifest(artifact, manifest)


def main(folder: Path) -> None:
    plan = read_plan(folder)
    if plan.licence != "deaf":
        signal.signal(signal.SIGTERM, lambda number, _: STOPPED.append(number))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if plan.licence == "refuses":
        told = {"code": "invalid_input", "message": "too few examples", "field": "data", "found": "3"}
        (folder / "failure.json").write_text(json.dumps(told))
        sys.exit(1)
    if plan.licence == "breaks":
        raise RuntimeError("the weights are a poem")
    try:
        train(folder, plan)
    except RunCancelled:
        sys.exit(130)
    export(folder, plan)
    better = plan.licence != "worse"
    reasons = [] if better else ["the lower bound of the gain is -0.4"]
    (folder / "report.json").write_text(json.dumps({"promote": better, "reasons": reasons, "domain": {}}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
