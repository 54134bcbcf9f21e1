"""Fits how sure a finished decoder may be, and writes it into its manifest.

    python -m training.decoder_confidence ARTIFACT [--data ../shared/data] [--dry-run]

The decoder answers questions that training never saw, with refusal off: alone with their passage, with the
passages around it, and without it. What it noticed (`generation.confidence.Signals`) is weighed by logistic
regression into the probability that an answer is right. All figures are out of fold, by passage.
"""

import argparse
import json
import os
import random
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from embeddings.artifact import load_manifest, write_manifest
from embeddings.errors import FootnoteError, InvalidInput
from generation.confidence import SIGNAL_NAMES, ConfidenceModel
from generation.decoder import Decoder, DecoderSpec
from generation.metrics import auroc, calibration_error, f1_score, holds_answer
from generation.reader import GroundedReader
from generation.sampling import ANSWER_TOKENS, SamplingSettings
from generation.threshold import ScoredAnswer, best_f1_point, threshold_curve
from generation.types import Passage, Reader, Reading
from training.confidence_selection import Judged, rescale, select_signals, weigh
from training.decoder_alterations import altered_questions
from training.decoder_data import QaRecord
from training.decoder_recipe import held_out_records

PASSAGES = 5  # what an answer request reads by default
# Share of the questions that are asked once more beside other passages, without their own, and altered until
# their passage no longer holds the answer: else only two articles would have questions without one.
BESIDE_OTHERS, WITHOUT_GOLD, ALTERED = 0.5, 0.1, 0.25

Asked = tuple[QaRecord, tuple[str, ...]]


def ask_variants(records: Sequence[QaRecord], seed: int = 7) -> Iterator[Asked]:
    """Each question with its passages: its own; for some once more with others of its group, in any order;
    for some, as a question without an answer, with the others only, or altered with its own.
    """
    rng = random.Random(seed)
    contexts: dict[str, list[str]] = defaultdict(list)
    for group, context in dict.fromkeys((record.group, record.context) for record in records):
        contexts[group].append(context)
    altered = altered_questions([record for record in records if record.answers], seed, ALTERED)
    for record in (*records, *altered):
        yield record, (record.context,)
        others = _others(record, contexts[record.group], rng)
        if others and rng.random() < BESIDE_OTHERS:
            beside = [record.context, *others]
            rng.shuffle(beside)
            yield record, tuple(beside)
        if others and record.answers and rng.random() < WITHOUT_GOLD:
            yield replace(record, answers=()), tuple(others)


def _others(record: QaRecord, contexts: Sequence[str], rng: random.Random) -> list[str]:
    """Passages of the group that do not hold an answer by chance."""
    answers = [record.context[start:end].casefold() for start, end in record.answers]
    free = [
        context
        for context in contexts
        if context != record.context and not any(answer in context.casefold() for answer in answers)
    ]
    return rng.sample(free, min(len(free), PASSAGES - 1))


def judge(reader: Reader, asked: Asked) -> Judged | None:
    """Answer with refusal off; None where the reader told no signals, as for a question that is too long."""
    record, texts = asked
    passages = [Passage(number, text) for number, text in enumerate(texts, start=1)]
    try:
        *_, reading = reader.read(
            record.question,
            passages,
            SamplingSettings(max_tokens=ANSWER_TOKENS),
            refuse_below=None,
            cancelled=lambda: False,
        )
    except InvalidInput:
        return None
    if not isinstance(reading, Reading) or reading.signals is None:
        return None
    gold = [record.context[start:end] for start, end in record.answers]
    answer = ScoredAnswer(
        reading.answer_probability,
        worth(reading.text, gold, whole=reading.signals.sentences > 0),
        f1_score("", gold),
        given=bool(reading.text),
    )
    # Two articles are most of what is held out, so folds are cut between passages, not between articles.
    passage = f"{record.group}#{zlib.crc32(record.context.encode())}"
    return Judged(reading.signals, answer, passage, bool(record.answers))


def worth(text: str, gold: Sequence[str], *, whole: bool) -> float:
    """F1, 0 to 1. whole: of whole sentences, which are right when they hold a gold span."""
    return 1.0 if whole and gold and holds_answer(text, gold) else f1_score(text, gold)


@dataclass(frozen=True, slots=True)
class FittedConfidence:
    """What goes into a manifest, and the figures out of fold.

    refuse_below: the threshold of the highest F1. figures: of the fitted probability and, with the ending
    `_before`, of the confidence that the decoder told as it came.
    """

    model: ConfidenceModel
    refuse_below: float
    figures: dict[str, float]


def fit_judged(judged: Sequence[Judged]) -> FittedConfidence:
    """Choose signals, ridge and threshold out of fold, and fit the model to all answers.

    Raises InvalidInput when there are too few groups, or all answers are right or all wrong.
    """
    selection = select_signals(judged)
    model = rescale(weigh(judged, selection.names, selection.l2), judged)
    fitted = [
        replace(each.answer, confidence=probability)
        for each, probability in zip(judged, selection.probabilities.tolist(), strict=True)
    ]
    before = {f"{name}_before": value for name, value in _figures(judged, [e.answer for e in judged]).items()}
    figures = {"questions": float(len(judged)), "l2": selection.l2, **_figures(judged, fitted), **before}
    return FittedConfidence(model, best_f1_point(threshold_curve(fitted)).threshold, figures)


def _figures(judged: Sequence[Judged], answers: Sequence[ScoredAnswer]) -> dict[str, float]:
    """How well the confidences of these answers do."""
    confidence, right = [each.confidence for each in answers], [each.right for each in answers]
    curve = threshold_curve(answers)
    found = {
        "auroc": auroc(confidence, [each.answerable for each in judged]),
        "right_auroc": auroc(confidence, right),
        "ece": calibration_error(confidence, right),
        "f1_unrefused": curve[0].f1,
        "f1_at_threshold": best_f1_point(curve).f1,
    }
    return {name: round(value, 4) for name, value in found.items()}


def write_confidence(artifact: Path, fitted: FittedConfidence) -> None:
    """Put the model and its threshold into the manifest of an artifact folder; its files stay as they are."""
    manifest = load_manifest(artifact)
    spec = msgspec.convert(manifest.graph, DecoderSpec)
    section = msgspec.structs.replace(spec, confidence=fitted.model, refuse_below=fitted.refuse_below)
    measured = {f"confidence_{name}": value for name, value in fitted.figures.items()}
    parity = {**manifest.parity, **measured}
    graph = msgspec.to_builtins(section)
    write_manifest(artifact, msgspec.structs.replace(manifest, graph=graph, parity=parity))


def fit_artifact(artifact: Path, records: Sequence[QaRecord], threads: int) -> FittedConfidence:
    """Ask the decoder of an artifact folder, fit, and write its manifest.

    records: that it was not trained on. Raises InvalidInput as `fit_judged`; the manifest is then as before.
    """
    reader = GroundedReader(Decoder.load(artifact, threads))
    fitted = fit_judged(judge_all(reader, records))
    write_confidence(artifact, fitted)
    return fitted


def judge_all(
    reader: Reader, records: Sequence[QaRecord], progress: Callable[[int], None] = lambda _: None
) -> list[Judged]:
    """All variants of all questions. progress: called with the number of answers."""
    found = []
    for done, asked in enumerate(ask_variants(records), start=1):
        judged = judge(reader, asked)
        if judged is not None:
            found.append(judged)
        progress(done)
    return found


def signal_areas(judged: Sequence[Judged]) -> dict[str, float]:
    """For each signal alone, how well it parts right answers from wrong ones: an area under the ROC curve."""
    right = [each.answer.right for each in judged]
    return {
        name: round(auroc([getattr(each.signals, name) for each in judged], right), 4)
        for name in SIGNAL_NAMES
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.decoder_confidence", description=__doc__)
    data = Path(os.environ.get("FOOTNOTE_DATA", "../shared/data"))
    parser.add_argument("artifact", type=Path, help="folder of the exported decoder")
    parser.add_argument("--data", type=Path, default=data, help="folder of the training sets (%(default)s)")
    parser.add_argument("--limit", type=int, help="every so many questions are left out until these remain")
    parser.add_argument("--answers", type=Path, help="JSON file to keep them in; where it exists, it is read")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="(%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="only print the figures")
    options = parser.parse_args(arguments)
    try:
        judged = _answers(options)
        fitted = fit_judged(judged)
    except (FileNotFoundError, FootnoteError) as error:
        sys.exit(f"{error}")
    print(json.dumps({"alone": signal_areas(judged), **fitted.figures}))
    print(f"weights {fitted.model.weights}, bias {fitted.model.bias:.4f}, refuse below {fitted.refuse_below}")
    if not options.dry_run:
        write_confidence(options.artifact, fitted)
        print(f"written: {options.artifact}")


def _answers(options: argparse.Namespace) -> list[Judged]:
    """Asked, or as they were kept."""
    if options.answers is not None and options.answers.is_file():
        return msgspec.json.decode(options.answers.read_bytes(), type=list[Judged])
    records = held_out_records(options.data)
    every = 1 if options.limit is None else max(1, len(records) // options.limit)
    reader = GroundedReader(Decoder.load(options.artifact, options.threads))
    judged = judge_all(reader, records[::every], _tell)
    if options.answers is not None:
        options.answers.write_bytes(msgspec.json.encode(judged))
    return judged


def _tell(done: int) -> None:
    if done % 100 == 0:
        print(f"{done} answers", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
