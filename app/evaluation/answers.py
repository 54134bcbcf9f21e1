"""Answers measured on a file of questions, from the gold passage or end to end."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from app.resources import Models, Resources, open_resources
from app.services.answers import source_of
from app.services.types import DocumentInput, SearchInput
from app.settings import Settings
from embeddings.errors import FootnoteError
from generation.answering import Answerer
from generation.evaluation import evaluate_answers
from generation.prompt import AnswerStyle
from generation.questions import Record, gold_source, read_records
from generation.types import Source

COLLECTION = "evaluation"
PASSAGES = 5  # what an answer request reads by default
BATCH_DOCUMENTS = 64

Figures = dict[str, float | int | None]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class AnswerTask:
    """What to measure. retrieve: search all passages of the file instead of giving each question its own.

    limit: the first questions only, while all passages are searched; None: every question.
    refuse: let the decoder say that the answer is not there. style: of all answers of the bundled decoder;
    None goes by the question, as the service does.
    """

    data: Path
    retrieve: bool = False
    limit: int | None = None
    refuse: bool = True
    style: AnswerStyle | None = None


def measure_answers(task: AnswerTask, models: Models, settings: Settings, progress: Progress) -> Figures:
    """Answer the questions and return the figures of `generation.evaluation.summarize`.

    progress: called with what is done, how many, and of how many. Raises InvalidInput for the file,
    FootnoteError when the models have no decoder.
    """
    everything = read_records(task.data)
    records = everything[: task.limit]
    answerer = _answerer(models, task.refuse).styled(task.style)
    if task.retrieve:
        found = asyncio.run(_retrieve(everything, records, models, settings, progress))
    else:
        found = {record: [gold_source(record)] for record in records}
    return evaluate_answers(
        records,
        answerer,
        found.__getitem__,
        progress=lambda done: progress("questions", done, len(records)),
    )


def _answerer(models: Models, refuse: bool) -> Answerer:
    if models.answerer.reader is None:
        raise FootnoteError(
            "there is no decoder to measure",
            found="no decoder",
            expected="the bundled decoder, or one of your own",
            next_step="train one with footnote train decoder, or set FOOTNOTE_DECODER",
        )
    return models.answerer if refuse else models.answerer.never_refusing()


async def _retrieve(
    everything: Iterable[Record],
    records: Sequence[Record],
    models: Models,
    settings: Settings,
    progress: Progress,
) -> dict[Record, list[Source]]:
    """Make a collection of all passages, in a data folder that is removed again, and search it."""
    with TemporaryDirectory(prefix="footnote-eval-") as folder:
        async with open_resources(replace(settings, home=Path(folder)), models) as resources:
            await _store_passages(resources, everything, progress)
            return {record: await _search(resources, record.question) for record in records}


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
    return [source_of(hit) for hit in output.hits]
