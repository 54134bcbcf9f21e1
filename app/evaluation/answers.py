"""Answers measured on a file of questions, from the gold passage or end to end."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from app.resources import Resources, open_resources
from app.services.types import DocumentInput, SearchInput
from app.settings import Settings
from embeddings.errors import FootnoteError
from generation.answering import NEVER_REFUSE, Answerer
from generation.evaluation import FindSources, Record, evaluate_answers, gold_source, read_records
from generation.types import Source

COLLECTION = "evaluation"
PASSAGES = 5  # what an answer request reads by default
BATCH_DOCUMENTS = 64

Figures = dict[str, float | int | None]
Progress = Callable[[str, int, int], None]


class StoppedError(Exception):
    """The caller no longer waits for the figures."""


@dataclass(frozen=True, slots=True)
class AnswerTask:
    """What to measure. retrieve: search all passages of the file instead of giving each question its own.

    limit: the first questions only; refuse: let the decoder say that the answer is not there.
    """

    data: Path
    retrieve: bool = False
    limit: int | None = None
    refuse: bool = True


async def measure_answers(task: AnswerTask, settings: Settings, progress: Progress) -> Figures:
    """Answer the questions in a data folder of their own, which is removed, and return the figures.

    progress: called with what is done, how many and of how many. Raises InvalidInput for the file, FootnoteError
    without a decoder. A cancel ends the work after the question in hand.
    """
    everything = read_records(task.data)
    records = everything[: task.limit]
    with TemporaryDirectory(prefix="footnote-eval-") as folder:
        async with open_resources(replace(settings, home=Path(folder))) as resources:
            answerer = _answerer(resources, task.refuse)
            find_sources = await _prepare(resources, task, everything, records, progress)
            stopping = threading.Event()

            def on_answer(done: int) -> None:
                if stopping.is_set():
                    raise StoppedError
                progress("questions", done, len(records))

            try:
                return await asyncio.to_thread(
                    evaluate_answers, records, answerer, find_sources, progress=on_answer
                )
            finally:
                stopping.set()


def _answerer(resources: Resources, refuse: bool) -> Answerer:
    if resources.reader is None:
        raise FootnoteError(
            f"there is no decoder in {resources.settings.decoder}",
            found="no decoder",
            expected="the bundled decoder, or one of your own",
            next_step="train one with footnote train decoder, or set FOOTNOTE_DECODER",
        )
    return resources.answerer if refuse else Answerer(resources.reader, refuse_below=NEVER_REFUSE)


async def _prepare(
    resources: Resources,
    task: AnswerTask,
    everything: Sequence[Record],
    records: Sequence[Record],
    progress: Progress,
) -> FindSources:
    if not task.retrieve:
        return lambda record: [gold_source(record)]
    await _store_passages(resources, everything, progress)
    found = {record: await _search(resources, record.question) for record in records}
    return lambda record: found[record]


async def _store_passages(resources: Resources, records: Iterable[Record], progress: Progress) -> None:
    """Make a document of each different passage. Raises what a passage was refused for."""
    titles = {record.context: record.title for record in records}
    documents = [
        DocumentInput(text, id=f"passage-{number}", title=title)
        for number, (text, title) in enumerate(titles.items(), start=1)
    ]
    await resources.collections.create(COLLECTION)
    for start in range(0, len(documents), BATCH_DOCUMENTS):
        batch = documents[start : start + BATCH_DOCUMENTS]
        for result in await resources.documents.add(COLLECTION, batch):
            if result.error is not None:
                raise result.error
        progress("passages", start + len(batch), len(documents))


async def _search(resources: Resources, question: str) -> list[Source]:
    output = await resources.search.search(COLLECTION, SearchInput(question, limit=PASSAGES))
    return [
        Source(hit.document_id, hit.version, hit.start, hit.end, hit.text, hit.title, hit.page)
        for hit in output.hits
    ]
