"""`footnote ask`: an answer with numbered footnotes, streamed as it is decoded."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.arguments import CollectionOption, FilterOption, ModeOption, parse_filter_option
from app.cli.output import AsJson, one_line, print_json, printable
from app.cli.search import describe_place, print_truncation
from app.cli.session import run_with_resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.resources import Resources
    from app.services.types import AnswerInput, AnswerOutput
    from generation.types import AnswerSentence, Citation

SHOWN_PASSAGES = 3
SHOWN_CHARACTERS = 300


def ask(  # noqa: PLR0913 - the options of one question
    question: Annotated[str, typer.Argument(help="The question.")],
    *,
    collection: CollectionOption,
    passages: Annotated[int, typer.Option(help="How many of the best passages to answer from.")] = 5,
    mode: ModeOption = "hybrid",
    where: FilterOption = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Choose passages with the reranker.")] = False,
    temperature: Annotated[float, typer.Option(help="0 is greedy; above 0 samples.")] = 0.0,
    top_k: Annotated[int, typer.Option(help="Sample among this many tokens; 0 is off.")] = 0,
    top_p: Annotated[
        float, typer.Option(help="Sample among tokens of this total probability; 1 is off.")
    ] = 1.0,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same sample.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 160,
    stop: Annotated[
        list[str] | None, typer.Option(help="A text that ends the answer; repeat for several.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question from the documents of a collection, with footnotes."""
    from app.services.types import AnswerInput
    from generation.sampling import SamplingSettings
    from retrieval.types import SearchMode

    sampling = SamplingSettings(temperature, top_k, top_p, seed, max_tokens, tuple(stop or ()))
    wanted = AnswerInput(question, passages, parse_filter_option(where), SearchMode(mode), sampling, rerank)
    if as_json:
        from app.http.answer_schemas import AnswerReply

        print_json(AnswerReply.of(_answer(collection, wanted, lambda _: None), explain=False))
    else:
        streamed = _Streamed()
        print_answer(_answer(collection, wanted, streamed.print), streamed.text)


class _Streamed:
    """The answer's text as far as it has been printed."""

    def __init__(self) -> None:
        self.text = ""

    def print(self, delta: str) -> None:
        self.text += delta
        typer.echo(printable(delta), nl=False)


def _answer(collection: str, wanted: "AnswerInput", on_delta: "Callable[[str], None]") -> "AnswerOutput":
    """Ask once in the data folder. on_delta: gets the answer's text piece by piece."""
    from app.services.types import AnswerOutput
    from generation.types import MessageDelta

    async def work(resources: "Resources") -> AnswerOutput:
        final: AnswerOutput | None = None
        async with aclosing(resources.answers.answer(collection, wanted)) as events:
            async for event in events:
                if isinstance(event, MessageDelta):
                    on_delta(event.text)
                elif isinstance(event, AnswerOutput):
                    final = event
        if final is None:
            raise RuntimeError("the answer ended without its final event")
        return final

    return run_with_resources(work)


def print_answer(output: "AnswerOutput", streamed: str) -> None:
    """Print what is left to say after the stream: marks, footnotes, or why there is no answer."""
    from generation.types import AnswerStatus

    print_truncation(output.search)
    answer = output.answer
    match answer.status:
        case AnswerStatus.ANSWERED:
            _print_marks(answer.sentences, answer.text == streamed)
        case AnswerStatus.PASSAGES_ONLY:
            typer.echo("The decoder does not answer this question. The sentences nearest to it:")
            _print_sentences(answer.sentences)
        case AnswerStatus.NOT_FOUND:
            _print_nearest(output)
    if answer.citations:
        typer.echo()
    for citation in answer.citations:
        _print_footnote(citation)


def _print_marks(sentences: "tuple[AnswerSentence, ...]", streamed: bool) -> None:
    """Behind a streamed sentence only its marks are missing; several are printed again, each with its own."""
    if streamed and len(sentences) == 1:
        typer.echo(f" {_marks(sentences[0])}")
        return
    typer.echo()
    _print_sentences(sentences)


def _print_sentences(sentences: "tuple[AnswerSentence, ...]") -> None:
    for sentence in sentences:
        typer.echo(f"{one_line(sentence.text, SHOWN_CHARACTERS)} {_marks(sentence)}")


def _marks(sentence: "AnswerSentence") -> str:
    if not sentence.supported:
        return "(unsupported)"
    return "".join(f"[{number}]" for number in sentence.citations)


def _print_footnote(citation: "Citation") -> None:
    place = f"{citation.document_id} v{citation.version} [{citation.start}:{citation.end}]"
    page = "" if citation.page is None else f" page {citation.page}"
    typer.echo(f"[{citation.number}] {printable(place)}{page}")
    typer.echo(f"    “{one_line(citation.quote, SHOWN_CHARACTERS)}”")


def _print_nearest(output: "AnswerOutput") -> None:
    typer.echo("Not found in this collection.")
    hits = output.search.hits[:SHOWN_PASSAGES]
    if hits:
        typer.echo("The nearest passages:")
    for hit in hits:
        typer.echo(f"- {describe_place(hit)}")
        typer.echo(f"  {one_line(hit.text, SHOWN_CHARACTERS)}")
