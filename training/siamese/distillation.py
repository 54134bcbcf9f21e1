"""A smaller encoder that gives nearly the vectors of a bigger one. No labels are wanted.

    footnote train distil TEACHER --texts FOLDER_OR_FILE --layers 3 --output FOLDER

The student is the teacher with fewer layers, or another model. First, if asked for, it learns to guess masked
words as the teacher does (masked_distillation.py); then to give the teacher's vectors (students.py). Stopped,
it goes on where it was when the command is given again.
"""

import argparse
import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from embeddings.errors import FootnoteError, InvalidInput
from training.encoder_folder import appearing_whole, check_output
from training.minilm import minilm_directory
from training.siamese.fitting import Watch
from training.siamese.masked_distillation import MaskedStage
from training.siamese.plan import Optimisation
from training.siamese.progress import RunCancelled
from training.siamese.reading import read_corpus
from training.siamese.students import LEARNING_RATE, Distillation, DistillationReport, distil

__all__ = ["Distillation", "DistillationReport", "distil", "main", "read_texts"]


def read_texts(sources: Sequence[Path]) -> list[str]:
    """Texts of corpora (`corpus.jsonl[.gz]`, or a folder in BEIR form) and of files with one text a line."""
    texts: list[str] = []
    for source in sources:
        found = sorted(source.glob("corpus.jsonl*")) if source.is_dir() else [source]
        if not found or not found[0].is_file():
            raise InvalidInput(
                f"there are no texts in {source}",
                field="texts",
                found=str(source),
                expected="corpus.jsonl, a folder with one, or a text file",
            )
        lines = ".jsonl" not in found[0].name
        texts += (
            found[0].read_text(encoding="utf-8").splitlines() if lines else read_corpus(found[0]).values()
        )
    return list(dict.fromkeys(text for text in texts if text.strip()))


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    stopped = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopped.set())
    try:
        print(json.dumps(asdict(_run(options, stopped.is_set)), indent=2))
    except RunCancelled:
        sys.exit("stopped; the checkpoint is saved, run the same command to go on")
    except FootnoteError as error:
        sys.exit(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="footnote train distil", description=__doc__)
    parser.add_argument(
        "teacher", type=Path, help="folder of sentence-transformers, or MiniLM-L6 as `bundled`"
    )
    parser.add_argument(
        "--texts", type=Path, nargs="+", required=True, help="corpora, or files of a text a line"
    )
    parser.add_argument("--output", type=Path, required=True, help="new folder of the student")
    parser.add_argument("--layers", type=int, help="how many of the teacher's layers stay")
    parser.add_argument("--student", type=Path, help="another model to train, in place of --layers")
    parser.add_argument("--epochs", type=float, default=3.0, help="over the texts (%(default)s)")
    parser.add_argument(
        "--masked-epochs", type=float, default=0.0, help="of DistilBERT's stage before (none)"
    )
    parser.add_argument("--distance", choices=("cosine", "mse"), default="cosine", help="between vectors")
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE, help="peak (%(default)s)")
    parser.add_argument("--minutes", type=float, help="end the training after so long")
    parser.add_argument("--overwrite", action="store_true", help="replace what is in the output's place")
    return parser


def _run(options: argparse.Namespace, cancelled: Callable[[], bool]) -> DistillationReport:
    check_output(options.output, options.overwrite)
    end = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    optimisation = Optimisation(learning_rate=options.learning_rate, layer_decay=1.0)
    masked = MaskedStage(options.masked_epochs) if options.masked_epochs else None
    settings = Distillation(
        options.layers, options.student, options.epochs, masked, options.distance, optimisation=optimisation
    )
    work = options.output.with_name(f"{options.output.name}.checkpoints")
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), transient=True
    ) as bars:
        bar = bars.add_task("reading")
        watch = Watch(
            folder=work,
            show=lambda what, done, total: bars.update(bar, description=what, completed=done, total=total),
            seconds_left=lambda: end - time.monotonic(),
            cancelled=cancelled,
        )
        teacher = minilm_directory() if str(options.teacher) == "bundled" else options.teacher
        student, report = distil(teacher, read_texts(options.texts), settings, watch)
    with appearing_whole(options.output) as staging:
        student.save(str(staging), create_model_card=False)
    shutil.rmtree(work, ignore_errors=True)
    return report


if __name__ == "__main__":
    main()
