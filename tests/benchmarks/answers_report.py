"""The figures of the answers as Markdown."""

from collections.abc import Iterator, Mapping
from typing import Any

TITLES = {
    "encoder-sentence": "best sentence, by the encoder",
    "bm25-sentence": "best sentence, by BM25",
    "span-extractor": "MiniLM as a span extractor",
    "decoder": "the bundled decoder",
}
COLUMNS = {
    "EM": "em",
    "F1": "f1",
    "F1 of answerable, refusal off": "answerable_f1_unrefused",
    "ROUGE-L": "answerable_rouge_l_unrefused",
    "holds the answer": "answerable_held_unrefused",
    "AUROC of refusal": "auroc",
    "AUROC of right": "right_auroc",
    "ECE": "ece",
    "F1 at the best threshold": "best_threshold_f1",
}
_NOTE = """EM and F1 are over all questions, with the refusals of those who refuse; the next three
columns over the answerable ones with refusal off, "holds the answer" being the share of answers that contain
a gold answer whole. AUROC of refusal: answerable against unanswerable questions; of right: right against
wrong answers."""


def markdown(summary: Mapping[str, Any]) -> str:
    """One table for each set, with what its columns are. summary: as `answers.write` returns it."""
    contenders = summary["contenders"]
    sets = list(dict.fromkeys(name for found in contenders.values() for name in found))
    return "\n\n".join([*("\n".join(_table(name, contenders)) for name in sets), _NOTE]) + "\n"


def _table(name: str, contenders: Mapping[str, Any]) -> Iterator[str]:
    measured = {each: found[name] for each, found in contenders.items() if name in found}
    first = next(iter(measured.values()))
    asked = f"{name}: {first['n']:,} questions, {first['n_answerable']:,} with an answer"
    yield f"| {asked} | {' | '.join(COLUMNS)} | ms, p50 / p95 |"
    yield "|" + "---|" * (len(COLUMNS) + 2)
    for each, figures in measured.items():
        shares = " | ".join(_share(figures[column]) for column in COLUMNS.values())
        yield f"| {TITLES[each]} | {shares} | {figures['ms_p50']:.1f} / {figures['ms_p95']:.1f} |"


def _share(value: float | None) -> str:
    """Three digits without the zero before the point."""
    return "" if value is None else f"{value:.3f}".removeprefix("0")
