"""`footnote ask`: an answer with numbered notes, streamed as it is decoded; with --chat one after another."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.answer_text import print_answer, print_conversation, watching_answer
from app.cli.arguments import CollectionOption, FilterOption, ModeOption, parse_filter_option
from app.cli.output import AsJson, print_json
from app.cli.session import run_with_resources
from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.resources import Resources
    from app.services.types import AnswerEvent, AnswerInput, AnswerOutput


def ask(  # noqa: PLR0913 - the options of one question
    question: Annotated[str | None, typer.Argument(help="The question; with --chat the first one.")] = None,
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
    chat: Annotated[
        bool, typer.Option("--chat", help="Read one question after another; needs a decoder that chats.")
    ] = False,
    conversation: Annotated[
        int | None, typer.Option(metavar="ID", help="Go on with a conversation that the collection keeps.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question from the documents of a collection, with footnotes."""
    from app.services.types import AnswerInput
    from generation.sampling import SamplingSettings
    from retrieval.types import SearchMode

    sampling = SamplingSettings(temperature, top_k, top_p, seed, max_tokens, tuple(stop or ()))
    filter_ = parse_filter_option(where)
    wanted = AnswerInput(question or "", passages, filter_, SearchMode(mode), sampling, rerank)
    if chat:
        from app.cli.chat import Chat

        Chat(collection, wanted, conversation, as_json).run()
    elif question is None:
        raise InvalidInput(
            "there is no question",
            field="QUESTION",
            found="nothing",
            expected="a question",
            next_step="write it behind the command in quotes, or ask several with --chat",
        )
    else:
        _ask_once(collection, wanted, conversation, as_json)


def _ask_once(collection: str, wanted: "AnswerInput", conversation: int | None, as_json: bool) -> None:
    if as_json:
        from app.http.answer_schemas import AnswerReply

        output = _answer(collection, wanted, conversation, lambda _: None)
        print_json(AnswerReply.of(output, explain=False))
        return
    with watching_answer() as show:
        output = _answer(collection, wanted, conversation, show)
    print_answer(output, wanted.question)
    if output.conversation_id is not None and conversation is None:
        print_conversation(output.conversation_id)


def _answer(
    collection: str, wanted: "AnswerInput", conversation: int | None, show: "Callable[[AnswerEvent], None]"
) -> "AnswerOutput":
    async def work(resources: "Resources") -> "AnswerOutput":
        return await answer_in(resources, collection, wanted, conversation, show)

    return run_with_resources(work)


async def answer_in(
    resources: "Resources",
    collection: str,
    wanted: "AnswerInput",
    conversation: int | None,
    show: "Callable[[AnswerEvent], None]",
) -> "AnswerOutput":
    """Ask once in the data folder. show: gets each event as it comes."""
    from app.services.conversation_types import OPERATOR
    from app.services.types import AnswerOutput

    final: AnswerOutput | None = None
    asked = resources.conversations.answer(collection, wanted, OPERATOR, conversation)
    async with aclosing(asked) as events:
        async for event in events:
            show(event)
            if isinstance(event, AnswerOutput):
                final = event
    if final is None:
        raise RuntimeError("the answer ended without its final event")
    return final
