"""The bundled decoder beside simpler ways to answer: the same questions, each with its own passage.

The decoder refuses below its own threshold, the span extractor below one that is fitted here to questions of
the training files that neither was trained on. The best sentence is always told: its score says too little of
whether there is an answer, so the threshold of the highest F1 would refuse nearly everything.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from generation.answering import NEVER_REFUSE, Answerer, Depth
from generation.artifact import BUNDLED_DECODER
from generation.decoder import Decoder
from generation.evaluation import answer_record, evaluate_answers
from generation.questions import Record, gold_source, read_records
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.threshold import best_f1_point, threshold_curve
from generation.types import Reader
from tests.benchmarks.answer_baselines import EncoderSentence, WordSentence
from tests.benchmarks.answers_report import markdown
from tests.benchmarks.environments import WORKPLACE
from training.decoder_recipe import SPAN_FILES, existing, held_out

SETS = {
    "squad": "squad/dev.jsonl.gz",
    "nq": "nq_gold/dev.jsonl.gz",
    "policyqa": "policyqa/dev.jsonl.gz",
    "fairytaleqa": "fairytaleqa/dev.jsonl.gz",
}
SPAN_CHECKPOINTS = WORKPLACE / "span-extractor"
# They read passages of any length in any script.
WHOLE = Depth(latin_only=False, max_passage_chars=None)

Figures = dict[str, float | int | None]


def add_arguments(parser: ArgumentParser) -> None:
    data = Path(os.environ.get("FOOTNOTE_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder of the public data (%(default)s)")
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument(
        "--limit", type=int, default=None, help="only the first questions of each set; nothing is written"
    )
    parser.add_argument("--decoder", type=Path, default=BUNDLED_DECODER, help="folder (%(default)s)")
    parser.add_argument(
        "--span-extractor", type=Path, default=SPAN_CHECKPOINTS, help="its checkpoints (%(default)s)"
    )
    parser.add_argument("--only", nargs="+", choices=sorted(CONTENDERS), help="default: all there are")


def measure(options: Namespace) -> Mapping[str, object]:
    """Answer the questions with every contender; the figures, which are also written to .bench/results beside
    those of earlier runs with other contenders or sets.
    """
    sets = {name: read_records(options.data / SETS[name], options.limit) for name in options.sets}
    unseen = unseen_questions(options.data, options.limit)
    found: dict[str, dict[str, Figures]] = {}
    for name in options.only or CONTENDERS:
        answerer = CONTENDERS[name](options, unseen)
        if answerer is None:
            print(f"{name}: nothing to measure", file=sys.stderr)
            continue
        found[name] = {each: measure_set(name, each, answerer, sets[each]) for each in sets}
    if options.limit is not None:
        return {"limit": options.limit, "contenders": found}
    return write(found)


def measure_set(contender: str, name: str, answerer: Answerer, records: Sequence[Record]) -> Figures:
    """The figures of `generation.evaluation.summarize`, and the threshold."""
    figures = evaluate_answers(records, answerer, lambda record: [gold_source(record)])
    print(f"{contender}, {name}: {json.dumps(figures)}", file=sys.stderr)
    return {**figures, "threshold": answerer.refuse_below}


def unseen_questions(data: Path, limit: int | None = None) -> list[Record]:
    """The questions of the groups that training leaves out."""
    records = (record for name in SPAN_FILES for record in read_records(existing(data, name)))
    unseen = [record for record in records if record.title is not None and held_out(record.title)]
    return unseen if limit is None else unseen[:: max(1, len(unseen) // limit)]


def fitted(reader: Reader, unseen: Sequence[Record]) -> Answerer:
    """Refusing below the threshold of the highest F1 on these questions."""
    free = Answerer(reader, refuse_below=NEVER_REFUSE, depth=WHOLE)
    told = (answer_record(record, free, [gold_source(record)], SamplingSettings()) for record in unseen)
    scored = [answer for outcome in told if (answer := outcome.scored) is not None]
    threshold = best_f1_point(threshold_curve(scored)).threshold
    return Answerer(reader, refuse_below=threshold, depth=WHOLE)


def _encoder_sentence(_: Namespace, __: Sequence[Record]) -> Answerer:
    reader = EncoderSentence(Encoder.load(BUNDLED_ENCODER, os.cpu_count() or 1))
    return Answerer(reader, refuse_below=NEVER_REFUSE, depth=WHOLE)


def _word_sentence(_: Namespace, __: Sequence[Record]) -> Answerer:
    return Answerer(WordSentence(), refuse_below=NEVER_REFUSE, depth=WHOLE)


def _span_extractor(options: Namespace, unseen: Sequence[Record]) -> Answerer | None:
    """None before it is trained."""
    from tests.benchmarks.span_reader import SpanReader  # noqa: PLC0415  # loads torch

    try:
        return fitted(SpanReader.load(options.span_extractor), unseen)
    except FileNotFoundError:
        return None


def _decoder(options: Namespace, _: Sequence[Record]) -> Answerer:
    reader = GroundedReader(Decoder.load(options.decoder, os.cpu_count() or 1))
    return Answerer(reader, refuse_below=reader.refuse_below)


Opener = Callable[[Namespace, Sequence[Record]], Answerer | None]

CONTENDERS: dict[str, Opener] = {
    "encoder-sentence": _encoder_sentence,
    "bm25-sentence": _word_sentence,
    "span-extractor": _span_extractor,
    "decoder": _decoder,
}


def write(found: Mapping[str, Mapping[str, Figures]]) -> dict[str, object]:
    """Write answers.json and answers.md; returns what the first holds."""
    results = WORKPLACE / "results"
    results.mkdir(parents=True, exist_ok=True)
    path = results / "answers.json"
    earlier = json.loads(path.read_text(encoding="utf-8"))["contenders"] if path.is_file() else {}
    merged = {name: {**earlier.get(name, {}), **found.get(name, {})} for name in CONTENDERS}
    summary = {"cores": os.cpu_count(), "contenders": {name: each for name, each in merged.items() if each}}
    path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    (results / "answers.md").write_text(markdown(summary), encoding="utf-8")
    print(f"written to {results}", file=sys.stderr)
    return summary
