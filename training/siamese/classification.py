"""Text classification from a few examples of each label, in SetFit's manner.

    python -m training.siamese.classification --data FILE --name NAME --models FOLDER

First the encoder learns to bring texts of a label together and to keep labels apart, from pairs of the
examples; then a logistic regression is fitted on its vectors. Both see the int8 encoder that will serve.
Source: Tunstall et al., Efficient Few-Shot Learning Without Prompts, 2022.
"""

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from embeddings.artifact import BUNDLED_ENCODER, load_manifest
from embeddings.classifier import (
    ENCODER,
    ClassifierManifest,
    ManifestFields,
    centroid_head,
    require_two,
    write_classifier,
)
from embeddings.encoder import Encoder
from embeddings.errors import FootnoteError, InvalidInput, ModelDamaged
from training.encoder_conversion import Conversion, convert_encoder
from training.encoder_folder import appearing_whole, check_output
from training.encoder_origin import Provenance, trace
from training.encoder_source import quiet_transformers, read_source
from training.minilm import minilm_directory
from training.siamese.classifier_card import write_classifier_card
from training.siamese.classifier_head import fit_head, measure_head
from training.siamese.export import BOUNDS, collection_texts
from training.siamese.fitting import FitReport, Watch, fit
from training.siamese.plan import OBJECTIVES, Objective, Optimisation
from training.siamese.progress import Show
from training.siamese.reading import read_sources
from training.siamese.types import LabelledText, TrainingData

# Pairs that the encoder learns from: SetFit's 20 for each text, but no more than a few minutes' worth.
ITERATIONS = 20
MOST_PAIRS = 12_800
# With so many labels a batch holds one pair of each and every other label is a negative.
MANY_LABELS = 16
MAX_TOKENS = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class ClassifierPlan:
    """What to make.

    shots: examples of each label, drawn; None: all; test: texts to measure on; None: what was not drawn, or
    nothing; base: folder of sentence-transformers, None: all-MiniLM-L6-v2; frozen: the encoder stays as it
    is; objective: "auto": by the number of labels.
    """

    name: str
    models: Path
    shots: int | None = None
    seed: int = 7
    base: Path | None = None
    frozen: bool = False
    objective: str = "auto"
    iterations: int = ITERATIONS
    learning_rate: float = 5e-5
    licence: str | None = None
    overwrite: bool = False


def train_classifier(
    plan: ClassifierPlan,
    texts: Sequence[LabelledText],
    test: Sequence[LabelledText] | None = None,
    show: Show = lambda _what, _done, _total: None,
) -> ClassifierManifest:
    """Train, measure and let the classifier appear as a whole under `plan.models`.

    Raises InvalidInput for fewer than two labels or shots than there are examples, Conflict for a name that
    is taken, ModelDamaged when the encoder cannot be exported.
    """
    output = plan.models / _checked(plan.name)
    check_output(output, plan.overwrite)
    train, rest = draw_shots(without_repeats(texts), plan.shots, plan.seed)
    require_two([each.label for each in train])
    held_out = rest if test is None else test
    began = time.monotonic()
    with appearing_whole(output) as staging:
        fitted = _make_encoder(plan, train, staging / ENCODER, show)
        encoder = Encoder.load(staging / ENCODER, torch.get_num_threads())
        head = fit_head(_vectors(encoder, train), [each.label for each in train])
        training = _training(plan, train, fitted) | {"seconds": round(time.monotonic() - began, 1)}
        figures = _figures(encoder, head, train, held_out, show)
        manifest = write_classifier(staging, head, _fields(plan, encoder, training), figures)
        write_classifier_card(staging, manifest)
    return manifest


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            "the name of a classifier is also that of its folder",
            field="name",
            found=name,
            expected="letters, digits, '.', '_' and '-', beginning with a letter or digit",
        )
    return name


def without_repeats(texts: Sequence[LabelledText]) -> list[LabelledText]:
    """Each text once. Of one with several labels, the first counts."""
    return list({each.text.strip(): each for each in reversed(texts)}.values())[::-1]


def draw_shots(
    texts: Sequence[LabelledText], shots: int | None, seed: int
) -> tuple[list[LabelledText], list[LabelledText]]:
    """So many texts of each label, and the others. Raises InvalidInput where a label has fewer."""
    if shots is None:
        return list(texts), []
    by_label: dict[str, list[LabelledText]] = defaultdict(list)
    for each in texts:
        by_label[each.label].append(each)
    rng = random.Random(seed)
    drawn: list[LabelledText] = []
    for label, own in sorted(by_label.items()):
        if len(own) < shots:
            raise InvalidInput(
                f"label {label!r} has {len(own)} examples, fewer than the {shots} shots asked for",
                field="shots",
                found=str(len(own)),
                expected=f"at least {shots}",
                next_step="ask for fewer shots, or add examples",
            )
        drawn += rng.sample(own, shots)
    taken = {id(each) for each in drawn}
    return drawn, [each for each in texts if id(each) not in taken]


def _make_encoder(
    plan: ClassifierPlan, train: Sequence[LabelledText], output: Path, show: Show
) -> FitReport | None:
    """Put the encoder's artifact into `output`, trained unless the plan says frozen."""
    if plan.frozen and plan.base is None:
        shutil.copytree(BUNDLED_ENCODER, output)
        return None
    with tempfile.TemporaryDirectory(prefix="footnote-classifier-") as scratch:
        folder, report = plan.base or minilm_directory(), None
        if not plan.frozen:
            folder, report = _contrast(plan, train, Path(scratch), show)
        _export(plan, folder, [each.text for each in train], output)
    return report


def _contrast(
    plan: ClassifierPlan, train: Sequence[LabelledText], scratch: Path, show: Show
) -> tuple[Path, FitReport]:
    """Bring texts of a label together. Returns the folder of the trained encoder."""
    with quiet_transformers():
        base = str(plan.base or minilm_directory())
        model = SentenceTransformer(base, device="cpu", local_files_only=True)
    model.prompts, model.default_prompt_name = {}, None  # all texts are of one kind
    repeats = max(1, min(plan.iterations, MOST_PAIRS // len(train)))
    # Every repetition of a text meets another of its label.
    data = TrainingData(labelled=tuple(train) * repeats)
    most = max(1, MOST_PAIRS // 64)
    optimisation = Optimisation(
        epochs=1.0,
        max_steps=most,
        learning_rate=plan.learning_rate,
        max_tokens=MAX_TOKENS,
        evaluations=0,
        seed=plan.seed,
    )
    objective = Objective(name=objective_for(plan.objective, train))
    report = fit(model, data, objective, optimisation, Watch(scratch / "fit", show))
    model.save(str(scratch / "model"))
    return scratch / "model", report


def objective_for(name: str, texts: Sequence[LabelledText]) -> str:
    """The objective by name; "auto": SetFit's, or with many labels the one that compares them all at once."""
    if name != "auto":
        return name
    many = len({each.label for each in texts}) >= MANY_LABELS
    return "MultipleNegativesRanking" if many else "CosineSimilarity"


def _export(plan: ClassifierPlan, folder: Path, texts: Sequence[str], output: Path) -> None:
    """Convert to int8; to fp32 where int8 strays too far from the trained encoder."""
    conversion = Conversion(output, _origin(plan), collection_texts(texts), bounds=BOUNDS)
    source = read_source(folder)
    try:
        convert_encoder(source, conversion)
    except ModelDamaged:
        convert_encoder(source, replace(conversion, precision="fp32"))


def _origin(plan: ClassifierPlan) -> Provenance:
    """Of the encoder inside."""
    if plan.base is None:
        known = load_manifest(BUNDLED_ENCODER)
        base = Provenance(known.name, known.source, known.licence)
    else:
        base = trace(str(plan.base), plan.base)
    source = base.source if plan.frozen else f"trained for the classifier {plan.name} from {base.source}"
    return Provenance(plan.name, source, plan.licence or base.licence)


def _vectors(encoder: Encoder, texts: Sequence[LabelledText]) -> Any:
    return encoder.encode([each.text for each in texts], "")


def _fields(plan: ClassifierPlan, encoder: Encoder, training: dict[str, Any]) -> ManifestFields:
    manifest = encoder.manifest
    licence = plan.licence or manifest.licence
    return ManifestFields(plan.name, manifest.source, licence, encoder.model_id, "", training)


def _training(
    plan: ClassifierPlan, train: Sequence[LabelledText], fitted: FitReport | None
) -> dict[str, Any]:
    """Data and settings, for the manifest."""
    told = {"texts": len(train), "shots": plan.shots, "seed": plan.seed, "frozen": plan.frozen}
    return told | ({} if fitted is None else {"encoder": asdict(fitted)})


def _figures(
    encoder: Encoder,
    head: Any,
    train: Sequence[LabelledText],
    held_out: Sequence[LabelledText],
    show: Show,
) -> dict[str, Any]:
    """Accuracy on held-out texts, and what the encoder gave before it was trained."""
    if not held_out:
        return {}
    labels, names = [each.label for each in held_out], [each.label for each in train]
    show("measurements", 0, 2)
    figures = asdict(measure_head(head, _vectors(encoder, held_out), labels))
    show("measurements", 1, 2)
    bundled = Encoder.load(BUNDLED_ENCODER, torch.get_num_threads())
    examples, texts = _vectors(bundled, train), _vectors(bundled, held_out)
    before = {
        "regression": asdict(measure_head(fit_head(examples, names), texts, labels)),
        "centroids": asdict(measure_head(centroid_head(examples, names), texts, labels)),
    }
    show("measurements", 2, 2)
    return figures | {"bundled_encoder": before}


def main(given: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, 1 for a failure, 130 after Ctrl-C."""
    options = _options(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # lets half-made folders be removed
    try:
        texts = read_labelled(options.data)
        test = read_labelled([options.test]) if options.test else None
        manifest = train_classifier(_plan(options), texts, test, _bar())
    except FootnoteError as error:
        details = [error.message, *(f"  next: {error.next_step}" for _ in [0] if error.next_step)]
        print("error: " + "\n".join(details), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    _print(manifest, options.models / manifest.name)
    return 0


def read_labelled(sources: Sequence[Path]) -> tuple[LabelledText, ...]:
    """Texts with labels. Raises InvalidInput for files without columns text and label."""
    data = read_sources(sources)
    if not data.labelled:
        raise InvalidInput(
            "a classifier learns from texts with labels",
            field="data",
            found=f"{len(data)} examples of another shape",
            expected="columns text and label",
        )
    return data.labelled


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="footnote train classifier", description=_DESCRIPTION)
    parser.add_argument("--data", type=Path, action="append", required=True, help="texts with labels")
    parser.add_argument("--name", required=True, help="of the classifier")
    parser.add_argument("--models", type=Path, required=True, help="folder that it is made in")
    parser.add_argument("--test", type=Path, help="texts with labels to measure on")
    parser.add_argument("--shots", type=int, help="examples of each label to train on; the rest measures")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--base", type=Path, help="a folder of sentence-transformers")
    parser.add_argument("--frozen", action="store_true", help="leave the encoder as it is")
    parser.add_argument("--objective", choices=("auto", *OBJECTIVES), default="auto")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="pairs for each text")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--licence", help="by default the base model's")
    parser.add_argument("--overwrite", action="store_true", help="replace a classifier of this name")
    return parser.parse_args(given)


_DESCRIPTION = "Train a classifier from texts with labels (.jsonl, .csv, .tsv, .parquet; text and label)."


def _plan(options: argparse.Namespace) -> ClassifierPlan:
    fields = {name: getattr(options, name) for name in ClassifierPlan.__dataclass_fields__}
    return ClassifierPlan(**fields)


def _bar() -> Callable[[str, int, int], None]:
    """Lines on stderr, at most one in two seconds."""
    last = [0.0]

    def show(what: str, done: int, total: int) -> None:
        if time.monotonic() - last[0] >= 2 or done == total:
            last[0] = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return show


def _print(manifest: ClassifierManifest, folder: Path) -> None:
    print(f"{manifest.classifier_id} in {folder}: {len(manifest.labels)} labels")
    figures = manifest.figures
    if not figures:
        print("accuracy was not measured: name texts with --test, or draw examples with --shots")
        return
    before = figures["bundled_encoder"]
    rows = [("trained", figures), ("bundled encoder, regression", before["regression"])]
    for what, row in [*rows, ("bundled encoder, centroids", before["centroids"])]:
        print(f"{what:<28} accuracy {row['accuracy']:.4f} ({row['low']:.4f} to {row['high']:.4f})")


if __name__ == "__main__":
    sys.exit(main())
