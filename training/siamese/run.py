"""One retraining of the encoder, from its folder's plan to an artifact and a verdict.

    python -m training.siamese.run FOLDER [--ray ADDRESS [--ray-workers N]]

What each stage makes stays in the folder, so that the same command goes on after a kill. Exit status: 0 when
the report is written, also when it says not to promote; 130 after SIGTERM or Ctrl-C; 1 for a failure, which
failure.json tells.
"""

import argparse
import json
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from sentence_transformers import SentenceTransformer

from embeddings.artifact import BUNDLED_ENCODER, MANIFEST
from embeddings.encoder import Encoder
from embeddings.errors import FootnoteError
from retrieval.benchmark import RetrievalTask
from training.minilm import minilm_directory
from training.siamese.adapters import add_adapter, merge_adapter
from training.siamese.card import write_card
from training.siamese.drafting import draft_here
from training.siamese.encoding import encode_with
from training.siamese.export import export_encoder
from training.siamese.fitting import Watch, fit
from training.siamese.folder import ARTIFACT, FAILURE, REPORT
from training.siamese.general import Task, load_general
from training.siamese.judgement import MAX_PASSAGES, Trial, judge, thin
from training.siamese.keeping import kept, write_json
from training.siamese.layer_mixing import mix_layers, open_encoder
from training.siamese.negatives import MiningReport, mine_negatives
from training.siamese.on_ray import OnRay, RayEncode
from training.siamese.plan import Negatives, Optimisation, TrainingPlan, read_plan
from training.siamese.preparing import Prepared, prepare
from training.siamese.pretraining import pretrain
from training.siamese.progress import ProgressFile, RunCancelled
from training.siamese.remembering import Remembering
from training.siamese.splitting import Split, held_out_task, part_of
from training.siamese.together import train_together
from training.siamese.types import EncodeTexts, Pair, Shape, TrainingData
from training.siamese.validation import make_validator

MODEL = "model"
TRAINING = "training.json"
# Of the minutes that a plan allows, what is left to export and judgement.
TRAINING_SHARE = 0.7
WRITTEN_ONLY = "the held-out examples are written queries: what people ask may gain less, or lose"
# A run that was told to stop and is deep in a library ends hard after so long: all it keeps is written whole.
GRACE_S = 1.5

_Mined = Mapping[tuple[str, str], Pair]


@dataclass(slots=True)
class SiameseRun:
    """A run in its folder.

    old: the encoder in service; cancelled: whether to stop; RunCancelled then comes from where the run is.
    Of a part of a cross-validation: part: its name, followed_in: the folder of the whole run, which tells of
    progress; trainings: that share the time that is left, this one and those behind it; mined: the pairs with
    their negatives, by query and positive. ray: the cluster that prepares, and that trains where it has
    several workers for it. written: whether most examples are written queries, which settings go by that the
    plan leaves open.
    """

    folder: Path
    plan: TrainingPlan
    old: Encoder
    cancelled: Callable[[], bool] = lambda: False
    began: float = field(default_factory=time.monotonic)
    part: str = ""
    followed_in: Path | None = None
    trainings: int = 1
    mined: _Mined | None = None
    ray: OnRay | None = None
    written: bool = False
    _encode_in_service: EncodeTexts = field(init=False)

    def __post_init__(self) -> None:
        self._encode_in_service = Remembering(self.old.encode) if self.ray is None else self.ray.encode

    def go(self) -> dict[str, Any]:
        """Do what is left to do. Returns the report, which then also stands in the folder."""
        load_general(self.plan.general)  # what is missing or broken fails now and not at the end
        draft = draft_here if self.ray is None else self.ray.draft
        show = self._progress("prepare").show
        prepared = prepare(self.folder, self.plan, self._encode_in_service, show, draft)
        # Before the long part: it may find that there is too little to be judged on.
        task = held_out_task(prepared.held_out, prepared.train)
        self.written = prepared.train.mostly_written
        report: dict[str, Any] = {"plan": self._settled_plan(), "data": prepared.report}
        trials = self._cross_validate(prepared, task)
        report["training"] = self._train(prepared)
        self._export(prepared, report)
        new = Encoder.load(self.folder / ARTIFACT, torch.get_num_threads())
        caveats = (WRITTEN_ONLY,) if prepared.held_out.mostly_written else ()
        return self._judge(trials or [Trial(task, new)], new, report, caveats)

    @property
    def _optimisation(self) -> Optimisation:
        return self.plan.optimisation.settled(written=self.written)

    @property
    def _negatives(self) -> Negatives:
        return self.plan.negatives.settled(written=self.written)

    def _settled_plan(self) -> dict[str, Any]:
        """The plan with what is done where it leaves something open."""
        settled = {"optimisation": self._optimisation, "negatives": self._negatives}
        return {**msgspec.to_builtins(self.plan), **msgspec.to_builtins(settled)}

    def _cross_validate(self, prepared: Prepared, task: Task) -> list[Trial]:
        """Train once for each part of what is judged, on all other parts; nothing without such parts."""
        if not prepared.folds or not isinstance(task, RetrievalTask):
            return []
        whole = thin(task, MAX_PASSAGES // len(prepared.folds))
        mined = self._mined_in_service(prepared.train)
        return [
            Trial(part_of(whole, fold.held_out), self._fold(number, fold, mined, prepared))
            for number, fold in enumerate(prepared.folds, 1)
        ]

    def _fold(self, number: int, fold: Split, mined: _Mined | None, prepared: Prepared) -> Encoder:
        """The encoder that learned from all parts but one, as it would serve."""
        count = len(prepared.folds)
        folder = self.folder / f"fold-{number}"
        folder.mkdir(exist_ok=True)
        run = replace(
            self,
            folder=folder,
            part=f", part {number} of {count + 1}",
            followed_in=self.folder,
            trainings=count + 2 - number,
            mined=mined,
        )
        if not (folder / ARTIFACT / MANIFEST).is_file():
            own = replace(prepared, train=fold.train)
            run._export(own, {"training": run._train(own)})
            shutil.rmtree(folder / MODEL)
        return Encoder.load(folder / ARTIFACT, torch.get_num_threads())

    def _progress(self, stage: str) -> ProgressFile:
        return ProgressFile(self.followed_in or self.folder, f"{stage}{self.part}", self.cancelled)

    def _train(self, prepared: Prepared) -> dict[str, Any]:
        """Pre-train, then mine and fit as often as planned. The model and what is told of it stay."""
        told = self.folder / TRAINING
        if not (self.folder / MODEL).is_dir():
            model = self._base_model()
            report: dict[str, Any] = {"pretraining": self._pretrain(model, prepared), "rounds": []}
            add_adapter(model, self.plan.adapter)
            for number in range(1, self.plan.negatives.rounds + 1):
                report["rounds"].append(self._round(model, number, prepared))
            merge_adapter(model)
            write_json(told, report)
            _save(model, self.folder / MODEL)
        return dict(json.loads(told.read_text()))

    def _base_model(self) -> SentenceTransformer:
        model = open_encoder(Path(self.plan.base) if self.plan.base else minilm_directory())
        return mix_layers(model) if self.plan.layer_mixing else model

    def _pretrain(self, model: SentenceTransformer, prepared: Prepared) -> dict[str, Any] | None:
        settings = self.plan.pretraining
        if settings.kind == "none":
            return None
        watch = self._watch("pretrain", "pretraining", 2)
        return asdict(pretrain(model, prepared.train.corpus, settings, self._optimisation, watch))

    def _round(self, model: SentenceTransformer, number: int, prepared: Prepared) -> dict[str, Any]:
        pairs, mining = self._mined(model, number, prepared.train)
        settings = self._optimisation
        validate = make_validator(prepared.validation.pairs, prepared.train.corpus, settings.seed)
        share = msgspec.structs.replace(settings, epochs=settings.epochs / self.plan.negatives.rounds)
        rounds = self.plan.negatives.rounds - number + 1
        watch = replace(self._watch("train", f"round-{number}", rounds), validate=validate)
        data = replace(prepared.train, pairs=pairs)
        self._fit_together(model, data, share, watch)
        return {"mining": mining, **asdict(fit(model, data, self.plan.objective, share, watch))}

    def _fit_together(
        self, model: SentenceTransformer, data: TrainingData, settings: Optimisation, watch: Watch
    ) -> None:
        """Have the cluster's workers do what `fit` is about to do, where there are several."""
        if self.ray is None:
            return
        self.ray.encode.let_go()
        if self.ray.workers > 1:
            # Cancelling ends this process, and Ray ends the workers with it.
            told = ProgressFile((self.followed_in or self.folder).resolve(), f"train{self.part}")
            address, workers = self.ray.address, self.ray.workers
            train_together(address, workers, model, data, self.plan.objective, settings, watch, told)

    def _mined(
        self, model: SentenceTransformer, number: int, data: TrainingData
    ) -> tuple[tuple[Pair, ...], dict[str, Any] | None]:
        """The pairs with hard negatives, and the report. Kept: a run that resumes must find the same."""
        if data.shape not in (Shape.PAIRS, Shape.TRIPLETS):
            return data.pairs, None
        if number == 1 and self.mined is not None:
            return tuple(self.mined.get((pair.query, pair.positive), pair) for pair in data.pairs), None
        return self._mine(number, self._encode(model, number), data)

    def _mined_in_service(self, data: TrainingData) -> _Mined | None:
        """For all parts at once, where they start from the encoder in service."""
        if not self._starts_in_service or data.shape not in (Shape.PAIRS, Shape.TRIPLETS):
            return None
        pairs, _ = self._mine(1, self._encode_in_service, data)
        return {(pair.query, pair.positive): pair for pair in pairs}

    def _mine(
        self, number: int, encode: EncodeTexts, data: TrainingData
    ) -> tuple[tuple[Pair, ...], dict[str, Any] | None]:
        def mine() -> tuple[tuple[Pair, ...], dict[str, Any]]:
            reports: list[MiningReport] = []
            show = self._progress("mine").show
            wanted = self._negatives
            mined = mine_negatives(data.pairs, data.corpus, encode, wanted, show, reports.append)
            return mined, asdict(reports[0])

        return kept(self.folder / f"mined-{number}.pickle", mine)

    def _encode(self, model: SentenceTransformer, number: int) -> EncodeTexts:
        """The encoder in service where it is the model still: its int8 graph is three times as fast."""
        return self._encode_in_service if number == 1 and self._starts_in_service else encode_with(model)

    @property
    def _starts_in_service(self) -> bool:
        """Whether the first round's model is the encoder in service."""
        base = Path(self.plan.base).parent if self.plan.base else BUNDLED_ENCODER
        unchanged = self.plan.pretraining.kind == "none" and not self.plan.layer_mixing
        return unchanged and base == Path(self.plan.in_service or BUNDLED_ENCODER)

    def _watch(self, stage: str, name: str, parts: int) -> Watch:
        """parts: that the time left for training is shared by, this one and those behind it."""
        now, show = time.monotonic(), self._progress(stage).show
        end = now + (self._training_end() - now) / (parts * self.trainings)
        return Watch(
            self.folder,
            show,
            seconds_left=lambda: end - time.monotonic(),
            cancelled=self.cancelled,
            name=name,
        )

    def _training_end(self) -> float:
        minutes = self.plan.minutes
        return math.inf if minutes is None else self.began + 60 * minutes * TRAINING_SHARE

    def _export(self, prepared: Prepared, report: dict[str, Any]) -> None:
        if (self.folder / ARTIFACT / MANIFEST).is_file():
            return
        self._progress("export").show("models", 0, 1)  # about half a minute
        texts = list(prepared.train.corpus.values())
        export_encoder(self.folder / MODEL, self.folder / ARTIFACT, self.plan, texts, report)

    def _judge(
        self, trials: Sequence[Trial], new: Encoder, report: dict[str, Any], caveats: tuple[str, ...]
    ) -> dict[str, Any]:
        verdict = judge(
            trials, self.plan.general, self.old, new, self.plan.gate, self._progress("judge").show
        )
        report |= asdict(replace(verdict, reasons=(*verdict.reasons, *caveats)))
        report["model_id"] = {"old": self.old.model_id, "new": new.model_id}
        report["seconds"] = round(time.monotonic() - self.began, 1)
        write_card(self.folder / ARTIFACT, report, self.folder)
        write_json(self.folder / REPORT, report)
        return report


def _save(model: SentenceTransformer, folder: Path) -> None:
    """Save as sentence-transformers does; the folder appears whole."""
    temporary = folder.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save(str(temporary), create_model_card=False)
    temporary.rename(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.siamese.run", description=__doc__)
    parser.add_argument("folder", type=Path, help="the run's folder, with plan.json in it")
    parser.add_argument("--ray", metavar="ADDRESS", help="prepare the data on this Ray cluster: HOST:PORT")
    parser.add_argument("--ray-workers", metavar="N", type=int, default=1, help="that train together there")
    given = parser.parse_args(arguments)
    folder: Path = given.folder
    (folder / FAILURE).unlink(missing_ok=True)
    stopped = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: _stop(stopped))
    try:
        plan = read_plan(folder)
        torch.set_num_threads(plan.threads or os.cpu_count() or 1)
        torch.manual_seed(plan.optimisation.seed)
        in_service = Path(plan.in_service or BUNDLED_ENCODER)
        old = Encoder.load(in_service, torch.get_num_threads())
        ray = given.ray and OnRay(given.ray, RayEncode(given.ray, old, in_service), given.ray_workers)
        SiameseRun(folder, plan, old, stopped.is_set, ray=ray).go()
    except RunCancelled:
        sys.exit(130)
    except FootnoteError as error:
        write_json(folder / FAILURE, _told(error))
        sys.exit(str(error))


def _stop(stopped: threading.Event) -> None:
    stopped.set()
    timer = threading.Timer(GRACE_S, os._exit, (130,))
    timer.daemon = True
    timer.start()


def _told(error: FootnoteError) -> dict[str, Any]:
    fields = ("code", "field", "found", "expected", "next_step")
    return {"message": str(error), **{name: getattr(error, name, None) for name in fields}}


if __name__ == "__main__":
    main()
