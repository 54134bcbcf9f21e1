"""`footnote ask --chat`: questions that follow one another, each answered from the collection."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from app.cli.answer_text import print_answer, print_conversation, watching_answer
from app.cli.ask import answer_in
from app.cli.failures import EXIT_FAILURE, describe, failure_fields
from app.cli.output import json_text, open_console, print_text
from app.cli.session import open_session
from embeddings.errors import FootnoteError, InvalidInput

if TYPE_CHECKING:
    from app.resources import Resources
    from app.services.types import AnswerInput, AnswerOutput

PROMPT = "> "
FORGET, QUIT = "/new", "/quit"
HELP = f"Ask on; {FORGET} forgets what was said, {QUIT} or Ctrl-D ends."


class Chat:
    """A conversation on a terminal, or one question a line from a pipe.

    wanted: how to ask; its question, if there is one, is the first. conversation_id: one that is kept. A
    question that fails is told, and the next one is asked; the exit code is then 1.
    """

    def __init__(
        self, collection: str, wanted: "AnswerInput", conversation_id: int | None, as_json: bool
    ) -> None:
        self._collection = collection
        self._wanted = wanted
        self._conversation_id = conversation_id
        self._as_json = as_json
        self._failed = False

    def run(self) -> None:
        """Answer until the questions end. Raises InvalidInput where the decoder can't take up a history."""
        with open_session() as session:
            session(self._check)
            for question in self._questions():
                if question == FORGET:
                    self._forget()
                else:
                    self._ask(session, question)
        if self._failed:
            raise typer.Exit(EXIT_FAILURE)

    async def _check(self, resources: "Resources") -> None:
        await resources.collections.get(self._collection)
        if not resources.answers.can_rewrite:
            reader = resources.reader
            raise InvalidInput(
                "the decoder that is installed here copies answers out of passages; it cannot take up a "
                "follow-up question",
                field="--chat",
                found="no decoder" if reader is None else reader.model_id,
                expected="a decoder that chats",
                next_step="ask single questions, without --chat; or set FOOTNOTE_DECODER or "
                "FOOTNOTE_DECODER_URL",
            )

    def _questions(self) -> Iterator[str]:
        if self._wanted.question.strip():
            yield self._wanted.question
        elif _at_terminal() and not self._as_json:
            print_text(open_console(stderr=True), (HELP, "dim"))
        for line in read_lines():
            if line.strip() == QUIT:
                return
            if line.strip():
                yield line.strip()

    def _forget(self) -> None:
        self._wanted = replace(self._wanted, history=())
        self._conversation_id = None

    def _ask(self, session: Callable[[Any], Any], question: str) -> None:
        asked = replace(self._wanted, question=question)
        try:
            output = self._answer(session, asked)
        except FootnoteError as error:
            self._failed = True
            fields = failure_fields(error)
            typer.echo(json_text(fields, indented=False) if self._as_json else describe(error), err=True)
        else:
            self._print(output, question)
            self._remember(output)

    def _answer(self, session: Callable[[Any], Any], asked: "AnswerInput") -> "AnswerOutput":
        place = self._collection, asked, self._conversation_id
        if self._as_json:
            output: AnswerOutput = session(lambda r: answer_in(r, *place, lambda _: None))
        else:
            with watching_answer() as show:
                output = session(lambda r: answer_in(r, *place, show))
        return output

    def _print(self, output: "AnswerOutput", question: str) -> None:
        number = output.conversation_id
        if self._as_json:
            from app.http.answer_schemas import AnswerReply

            typer.echo(json_text(AnswerReply.of(output, explain=False), indented=False))
        else:
            print_answer(output, question)
            if number is not None and number != self._conversation_id:
                print_conversation(number)
            typer.echo()

    def _remember(self, output: "AnswerOutput") -> None:
        """What is kept needs no history of ours."""
        from app.services.follow_ups import MAX_HISTORY
        from generation.causal.chat import ChatMessage

        if output.conversation_id is not None:
            self._conversation_id = output.conversation_id
            return
        said = [ChatMessage("user", output.search.query)]
        if output.answer.text is not None:
            said.append(ChatMessage("assistant", output.answer.text))
        self._wanted = replace(self._wanted, history=(*self._wanted.history, *said)[-MAX_HISTORY:])


def read_lines() -> Iterator[str]:
    """Lines of standard input to its end; on a terminal with a prompt and a history of its own."""
    if not _at_terminal():
        yield from (line.rstrip("\n") for line in sys.stdin)
        return
    import readline  # noqa: F401  # gives input() its line editing

    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            typer.echo()
            return


def _at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
