from collections.abc import Callable

import pytest

from embeddings.errors import InvalidInput, Overloaded
from generation.answering import CHAT_DEPTH, Answerer
from generation.causal.chat import GroundedFormat
from generation.causal.chat_reader import ChatReader
from generation.causal.prompt_template import PromptTemplate, shipped_prompt
from generation.sampling import SamplingSettings
from generation.types import Answer, CitationFound, Draft, MessageDelta, Passage, PromptReport, Source
from tests.generation.causal.scripted_chat import ScriptedChat

WAR = "The Seven Years War began in 1756. It lasted 7 years."
GARDEN = "Tomatoes are planted in May. Water them daily."
NOT_FOUND = shipped_prompt("en").not_found
MINE = PromptTemplate(name="mine", system="", not_found="Nothing.", decoding="free")


def read(
    model: ScriptedChat,
    question: str = "When are tomatoes planted?",
    *,
    template: PromptTemplate | None = None,
    refuse_below: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    max_tokens: int = 64,
) -> list[str | Draft]:
    passages = [Passage(1, WAR), Passage(2, GARDEN)]
    steps = ChatReader(model, template).read(
        question,
        passages,
        SamplingSettings(max_tokens=max_tokens),
        refuse_below=refuse_below,
        cancelled=cancelled,
    )
    return list(steps)


def draft(steps: list[str | Draft]) -> Draft:
    assert isinstance(steps[-1], Draft)
    assert all(isinstance(step, str) for step in steps[:-1])
    return steps[-1]


def test_text_is_told_without_marks_which_the_draft_keeps() -> None:
    steps = read(ScriptedChat("They are planted in May. [2] Water them daily. [2]"))
    found = draft(steps)
    assert "".join(map(str, steps[:-1])) == found.text == "They are planted in May. Water them daily."
    assert found.marks == ((24, 2), (42, 2))
    assert (found.finish_reason, found.tokens, found.grounded) == ("stop", 10, False)
    assert found.prompt == PromptReport("cited-en", passages=2, examples=2)
    assert found.prompt_tokens > 50


@pytest.mark.parametrize(
    ("question", "name", "word"),
    [
        ("Когда сажают томаты?", "cited-ru", "Вопрос: Когда сажают томаты?"),
        ("番茄什么时候种植？", "cited-zh", "问题：番茄什么时候种植？"),
    ],
)
def test_the_prompt_is_in_the_question_s_language(question: str, name: str, word: str) -> None:
    model = ScriptedChat("May.")
    assert draft(read(model, question)).prompt.template == name
    assert model.asked[0][0][-1].content.endswith(word)


def test_a_decoder_that_can_be_held_to_the_passages_is() -> None:
    model = ScriptedChat("planted in May [2]", grounds=True)
    assert draft(read(model)).grounded
    assert model.asked[0][2] == GroundedFormat((WAR, GARDEN, NOT_FOUND), ("[1]", "[2]", "[0]"))
    assert not draft(read(model, template=MINE)).grounded
    assert model.asked[1][2] is None


def test_a_refusal_is_never_told() -> None:
    steps = read(ScriptedChat(f"{NOT_FOUND.upper()} Sorry."))
    assert len(steps) == 1
    assert (draft(steps).finish_reason, draft(steps).text, draft(steps).marks) == ("refused", "", ())


def test_what_begins_like_a_refusal_is_told_once_it_is_none() -> None:
    steps = read(ScriptedChat("The passages do not agree. [1]"))
    assert "".join(map(str, steps[:-1])) == "The passages do not agree."


def test_an_answer_that_ends_like_the_beginning_of_a_refusal_is_told() -> None:
    assert read(ScriptedChat("The passages"))[:-1] == ["The passages"]


def test_an_improbable_answer_is_withheld_before_a_word_of_it() -> None:
    model = ScriptedChat("May. [2]", probability=0.3, instead=NOT_FOUND)
    assert draft(read(model)).answer_probability == pytest.approx(0.3)
    steps = read(model, refuse_below=0.5)
    assert [draft(steps)] == steps
    assert (steps[0].finish_reason, steps[0].tokens) == ("refused", 1)  # type: ignore[union-attr]
    assert model.closed == 2
    assert draft(read(model, refuse_below=0.2)).finish_reason == "stop"


def test_without_probabilities_the_threshold_refuses_nothing() -> None:
    found = draft(read(ScriptedChat("May. [2]"), refuse_below=0.9))
    assert (found.text, found.answer_probability) == ("May.", None)


def test_a_cancelled_reading_has_no_draft_and_closes_the_decoder() -> None:
    model = ScriptedChat("They are planted in May.")
    asked: list[bool] = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 2

    steps = read(model, cancelled=cancelled)
    assert "".join(map(str, steps)) == "They"
    assert model.closed == 1


def test_the_answer_leaves_half_of_the_context_to_the_prompt() -> None:
    model = ScriptedChat("May.", context_tokens=400)
    read(model, max_tokens=1000)
    assert model.asked[0][1].max_tokens == 200


def test_what_found_no_room_in_the_context_is_told() -> None:
    model = ScriptedChat("May.", context_tokens=160)
    prompt = draft(read(model, max_tokens=50)).prompt
    assert (prompt.passages, prompt.dropped_passages, prompt.dropped_examples) == (1, 1, 2)
    with pytest.raises(InvalidInput) as caught:
        read(model, "When? " * 200)
    assert caught.value.field == "question"


def test_a_failure_of_the_decoder_is_raised() -> None:
    with pytest.raises(Overloaded, match="busy"):
        read(ScriptedChat("", fails=Overloaded("busy")))


def ask(model: ScriptedChat, question: str, *texts: str) -> list[object]:
    answerer = Answerer(ChatReader(model), refuse_below=0.0, depth=CHAT_DEPTH)
    sources = [Source(f"doc-{n}", 1, 0, len(text), text) for n, text in enumerate(texts, start=1)]
    return list(answerer.answer(question, sources, SamplingSettings()))


def test_an_answer_is_streamed_cited_and_checked() -> None:
    events = ask(ScriptedChat("Water them daily. [2] It began in 1066. [1]"), "How?", WAR, GARDEN)
    told = "".join(event.text for event in events if isinstance(event, MessageDelta))
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert told == answer.text == "Water them daily. It began in 1066."
    assert [sentence.supported for sentence in answer.sentences] == [True, False]
    (found,) = [event.citation for event in events if isinstance(event, CitationFound)]
    assert (found.document_id, found.number, found.quote) == ("doc-2", 1, "Water them daily.")
    assert answer.prompt is not None


def test_questions_and_passages_in_any_script_are_read() -> None:
    chinese = "番茄在五月种植。每天要浇水。"
    answer = ask(ScriptedChat("每天要浇水。[1]"), "多久浇一次水？", chinese)[-1]
    assert isinstance(answer, Answer)
    assert [(each.text, each.supported) for each in answer.sentences] == [("每天要浇水。", True)]


def test_a_long_source_is_read_whole() -> None:
    model = ScriptedChat("May.")
    ask(model, "When?", GARDEN * 60)
    assert GARDEN * 60 in model.asked[0][0][-1].content


def test_another_prompt_makes_another_answerer() -> None:
    model = ScriptedChat("Nothing.")
    answerer = Answerer(ChatReader(model), refuse_below=0.3, depth=CHAT_DEPTH)
    assert answerer.prompted(None) is answerer
    other = answerer.prompted(MINE)
    assert (other.refuse_below, other.depth) == (0.3, CHAT_DEPTH)
    source = Source("doc", 1, 0, len(WAR), WAR)
    answer = list(other.answer("When?", [source], SamplingSettings()))[-1]
    assert isinstance(answer, Answer)
    assert answer.status == "not_found"
    assert answer.prompt == PromptReport("mine", passages=1, examples=0)
    assert Answerer(None, refuse_below=0.0).prompted(MINE).reader is None
