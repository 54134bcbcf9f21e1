"""Questions whose sentence is known, but not the words in it that answer: the decoder of a stage finds them.

In one sentence that is known to hold the answer even a half-trained decoder finds it; what it learns from
that is to find it among many sentences (self-training, Scudder 1965; "noisy student", Xie et al. 2020).
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from generation.reader import GroundedReader
from training.decoder_data import QaRecord
from training.decoder_mining import exported, likeliest_span, record_key, spans_reader

# Of the whole answer: of those below about a third were wrong when read through, of those above few.
MIN_LOG_LIKELIHOOD = -1.2


def with_found_spans(records: Sequence[QaRecord], weights: Path, cache: Path) -> list[QaRecord]:
    """The records with the words of their first answer, a sentence, that the decoder of `weights` is sure of
    as the only answer, in the style "span"; those that it is unsure of are left out.

    cache: a JSON file where the spans are kept, since a run resumes.
    """
    if not cache.exists():
        cache.write_text(json.dumps(_find(records, weights)))
    found = json.loads(cache.read_text())
    return [
        replace(record, answers=(tuple(found[key]),), style="span")
        for record in records
        if (key := record_key(record)) in found
    ]


def _find(records: Sequence[QaRecord], weights: Path) -> dict[str, tuple[int, int]]:
    workers = os.cpu_count() or 1
    with exported(weights) as folder, ThreadPoolExecutor(workers) as pool:
        readers = [spans_reader(folder, threads=1) for _ in range(workers)]
        shares = [records[start::workers] for start in range(workers)]
        return {key: span for found in pool.map(_sure_spans, shares, readers) for key, span in found}


def _sure_spans(records: Sequence[QaRecord], reader: GroundedReader) -> list[tuple[str, tuple[int, int]]]:
    found = []
    for record in records:
        start, end = record.answers[0]
        reading = likeliest_span(reader, record.question, record.context[start:end])
        if reading.signals and reading.signals.log_likelihood >= MIN_LOG_LIKELIHOOD:
            found.append((record_key(record), (start + reading.start, start + reading.end)))
    return found
