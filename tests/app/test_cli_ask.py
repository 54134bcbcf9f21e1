"""How an answer is printed."""

from dataclasses import replace

import pytest

from app.cli.ask import print_answer
from app.cli.search import print_hits
from app.services.types import AnswerOutput, Hit, HitScores, SearchOutput
from generation.types import Answer, AnswerSentence, AnswerStatus, Citation
from retrieval.types import SearchMode

TEXT = "Plant tomatoes in May, after the last frost."
HIT = Hit("beds/tomatoes.md", 2, "Tomatoes", 12, 56, TEXT, 3, ("Tomatoes",), {}, 0.9, HitScores(0.9))
MAY = Citation(1, "beds/tomatoes.md", 2, 30, 33, "May", "Tomatoes", 3)
FROST = Citation(2, "beds/tomatoes.md", 2, 45, 55, "last frost", "Tomatoes")


def output(answer: Answer) -> AnswerOutput:
    search = SearchOutput("When?", SearchMode.HYBRID, (HIT,), None, 1.0, False, 1)
    return AnswerOutput(answer, search, 2.0)


def printed(capsys: pytest.CaptureFixture[str], answer: Answer, streamed: str = "") -> list[str]:
    print_answer(output(answer), streamed)
    return capsys.readouterr().out.splitlines()


def test_streamed_answer_gets_its_mark_and_its_footnote(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(AnswerStatus.ANSWERED, "May", 0.9, (AnswerSentence("May", (1,)),), (MAY,))
    expected = [" [1]", "", "[1] beds/tomatoes.md v2 [30:33] page 3", "    “May”"]
    assert printed(capsys, answer, streamed="May") == expected


def test_answer_that_differs_from_its_stream_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(AnswerStatus.ANSWERED, "May", 0.9, (AnswerSentence("May", (1,)),), (MAY,))
    assert printed(capsys, answer, streamed="may")[:2] == ["", "May [1]"]


def test_each_sentence_carries_its_own_marks(capsys: pytest.CaptureFixture[str]) -> None:
    sentences = (AnswerSentence("In May.", (1, 2)), AnswerSentence("Or never."))
    answer = Answer(AnswerStatus.ANSWERED, "In May. Or never.", 0.9, sentences, (MAY, FROST))
    lines = printed(capsys, answer, streamed="In May. Or never.")
    assert lines[1:3] == ["In May. [1][2]", "Or never. (unsupported)"]
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
    print_answer(whole, "")
    print_hits(whole.search, explain=False)
    assert capsys.readouterr().err == ""
    print_answer(cut, "")
    print_hits(cut.search, explain=False)
    assert capsys.readouterr().err.count("dense search saw only its beginning") == 2
