"""How an answer is printed."""

import re
from dataclasses import replace

import pytest

from app.cli.answer_text import print_answer, watching_answer
from app.cli.search import print_hits
from app.services.types import AnswerOutput, Hit, HitScores, SearchOutput
from generation.types import Answer, AnswerSentence, AnswerStatus, Citation, MessageDelta
from retrieval.types import SearchMode

TEXT = "Plant tomatoes in May, after the last frost."
HIT = Hit("beds/tomatoes.md", 2, "Tomatoes", 12, 56, TEXT, 3, ("Tomatoes",), {}, 0.9, HitScores(0.9))
MAY = Citation(1, "beds/tomatoes.md", 2, 30, 33, "May", "Tomatoes", 3)
FROST = Citation(2, "beds/tomatoes.md", 2, 45, 55, "last frost", "Tomatoes")


def output(answer: Answer) -> AnswerOutput:
    search = SearchOutput("When?", SearchMode.HYBRID, (HIT,), None, 1.0, False, 1)
    return AnswerOutput(answer, search, 2.0)


def printed(capsys: pytest.CaptureFixture[str], answer: Answer) -> list[str]:
    print_answer(output(answer))
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich takes every stream for a terminal with colours."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def test_an_answer_has_its_mark_and_its_note(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(AnswerStatus.ANSWERED, "May", 0.9, (AnswerSentence("May", (1,)),), (MAY,))
    expected = ["May [1]", "", "[1] beds/tomatoes.md v2 [30:33] page 3", "    “May”"]
    assert printed(capsys, answer) == expected


@pytest.mark.usefixtures("terminal")
def test_marks_are_coloured_on_a_terminal_and_plain_with_no_color(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = (AnswerSentence("In May.", (1,)), AnswerSentence("Or never."))
    answer = Answer(AnswerStatus.ANSWERED, "In May. Or never.", 0.9, sentences, (MAY,))
    coloured = printed(capsys, answer)
    assert coloured[0] == "In May. \x1b[1;36m[1]\x1b[0m"
    assert coloured[1] == "\x1b[33mOr never.\x1b[0m \x1b[33m(unsupported)\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    plain = "".join(printed(capsys, answer))
    assert "[1]" in plain
    assert "(unsupported)" in plain
    assert not re.search(r"\x1b\[[\d;]*3\dm", plain)


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_text_is_shown_as_it_comes_and_taken_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with watching_answer() as show:
        show(output(Answer(AnswerStatus.NOT_FOUND)).search)
        show(MessageDelta("Plant tomatoes "))
        show(MessageDelta("in\x1b[31m May."))
    written = capsys.readouterr().out
    assert "Plant tomatoes in�[31m May." in written, "an escape sequence of a document does not pass"
    assert written.rstrip("\n").endswith("\x1b[2K"), "the line is cleared for the answer with its marks"


def test_a_pipe_gets_the_finished_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with watching_answer() as show:
        show(MessageDelta("Plant tomatoes in May."))
    assert capsys.readouterr().out == ""


def test_a_question_that_was_rewritten_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(AnswerStatus.NOT_FOUND)
    print_answer(output(answer), "And when?")
    assert capsys.readouterr().out.splitlines()[0] == "Asked: When?"
    print_answer(output(answer), "When?")
    assert "Asked" not in capsys.readouterr().out


def test_a_long_sentence_is_not_broken_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 50 + "end."
    answer = Answer(AnswerStatus.ANSWERED, long, 0.9, (AnswerSentence(long, (1,)),), (MAY,))
    assert printed(capsys, answer)[0] == f"{long} [1]"


def test_each_sentence_carries_its_own_marks(capsys: pytest.CaptureFixture[str]) -> None:
    sentences = (AnswerSentence("In May.", (1, 2)), AnswerSentence("Or never."))
    answer = Answer(AnswerStatus.ANSWERED, "In May. Or never.", 0.9, sentences, (MAY, FROST))
    lines = printed(capsys, answer)
    assert lines[:2] == ["In May. [1][2]", "Or never. (unsupported)"]
    assert lines[-2:] == ["[2] beds/tomatoes.md v2 [45:55]", "    “last frost”"]


def test_not_found_shows_the_nearest_passages_and_no_footnotes(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, Answer(AnswerStatus.NOT_FOUND, confidence=0.1))
    assert lines == [
        "Not found in this collection.",
        "The nearest passages:",
        "- beds/tomatoes.md v2 [12:56] page 3 · Tomatoes",
        "  Plant tomatoes in May, after the last frost.",
    ]


def test_passages_only_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(AnswerStatus.PASSAGES_ONLY, None, None, (AnswerSentence("last frost", (2,)),), (FROST,))
    lines = printed(capsys, answer)
    assert lines[0].startswith("The decoder does not answer this question.")
    assert lines[1] == "last frost [2]"


def test_cut_question_is_told_beside_the_answer_and_the_hits(capsys: pytest.CaptureFixture[str]) -> None:
    whole = output(Answer(AnswerStatus.NOT_FOUND))
    cut = replace(whole, search=replace(whole.search, query_truncated=True))
    print_answer(whole)
    print_hits(whole.search, explain=False)
    assert capsys.readouterr().err == ""
    print_answer(cut)
    print_hits(cut.search, explain=False)
    assert capsys.readouterr().err.count("dense search saw only its beginning") == 2
