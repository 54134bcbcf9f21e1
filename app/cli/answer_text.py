"""How an answer stands on a terminal: sentences with their marks, numbered notes, or why there is none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.cli.output import one_line, open_console, print_text, printable
from app.cli.search import describe_place, print_truncation

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from app.services.types import AnswerEvent, AnswerOutput
    from generation.types import AnswerSentence, Citation

SHOWN_PASSAGES = 3
SHOWN_CHARACTERS = 300
# Names of rich's styles. Without colours the same words are there, so nothing is told by a colour alone.
MARK = "bold cyan"
UNSUPPORTED = "yellow"
NOTICE = "bold yellow"
QUOTE = "italic"
ASIDE = "dim"
_REFRESHES_A_SECOND = 8


def print_answer(output: "AnswerOutput", asked: str | None = None) -> None:
    """Print the answer with its notes. asked: what was typed; a question that was rewritten is told."""
    from generation.types import AnswerStatus

    console = open_console()
    print_truncation(output.search)
    answer, used = output.answer, output.search.query
    if asked is not None and used != asked:
        print_text(console, (f"Asked: {printable(used)}", ASIDE))
    match answer.status:
        case AnswerStatus.ANSWERED:
            _print_sentences(console, answer.sentences)
        case AnswerStatus.PASSAGES_ONLY:
            told = "The decoder does not answer this question. The sentences nearest to it:"
            print_text(console, (told, NOTICE))
            _print_sentences(console, answer.sentences)
        case AnswerStatus.NOT_FOUND:
            _print_nearest(console, output)
    if answer.citations:
        print_text(console)
    for citation in answer.citations:
        _print_note(console, citation)


def print_conversation(number: int) -> None:
    """Tell on stderr which conversation keeps what was asked."""
    told = f"Kept in conversation {number}: --conversation {number} goes on with it."
    print_text(open_console(stderr=True), (told, ASIDE))


@contextmanager
def watching_answer() -> "Iterator[Callable[[AnswerEvent], None]]":
    """Yield what is told each event, to show the text on a terminal as it is decoded.

    It goes when the answer with its marks takes its place. A pipe gets only that.
    """
    from rich.live import Live

    from app.services.types import SearchOutput
    from generation.types import MessageDelta

    console = open_console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda _: None
        return
    text = ""
    with Live(console=console, transient=True, refresh_per_second=_REFRESHES_A_SECOND) as live:
        live.update(_waiting("Opening the collection"))

        def show(event: "AnswerEvent") -> None:
            nonlocal text
            if isinstance(event, SearchOutput):
                live.update(_waiting("Reading the passages"))
            elif isinstance(event, MessageDelta):
                text += event.text
                live.update(_last_lines(console, text))

        yield show


def _waiting(what: str) -> "RenderableType":
    from rich.spinner import Spinner

    return Spinner("dots", text=what, style=ASIDE)


def _last_lines(console: "Console", text: str) -> "RenderableType":
    """What of the text fits on the screen: more could not be taken back."""
    from rich.text import Text

    lines = Text(printable(text)).wrap(console, console.width)
    return Text("\n").join(lines[-max(1, console.height - 1) :])


def _print_sentences(console: "Console", sentences: "tuple[AnswerSentence, ...]") -> None:
    for sentence in sentences:
        style = "" if sentence.supported else UNSUPPORTED
        print_text(console, (one_line(sentence.text, SHOWN_CHARACTERS), style), " ", _marks(sentence))


def _marks(sentence: "AnswerSentence") -> tuple[str, str]:
    if not sentence.supported:
        return "(unsupported)", UNSUPPORTED
    return "".join(f"[{number}]" for number in sentence.citations), MARK


def _print_note(console: "Console", citation: "Citation") -> None:
    place = f"{citation.document_id} v{citation.version} [{citation.start}:{citation.end}]"
    page = "" if citation.page is None else f" page {citation.page}"
    print_text(console, (f"[{citation.number}]", MARK), f" {printable(place)}{page}")
    print_text(console, "    ", (f"“{one_line(citation.quote, SHOWN_CHARACTERS)}”", QUOTE))


def _print_nearest(console: "Console", output: "AnswerOutput") -> None:
    print_text(console, ("Not found in this collection.", NOTICE))
    hits = output.search.hits[:SHOWN_PASSAGES]
    if hits:
        print_text(console, "The nearest passages:")
    for hit in hits:
        print_text(console, f"- {describe_place(hit)}")
        print_text(console, "  ", (one_line(hit.text, SHOWN_CHARACTERS), QUOTE))
