import pytest

from embeddings.errors import InvalidInput
from generation.causal.chat import ChatMessage
from generation.causal.prompt_template import PromptExample, PromptTemplate, shipped_prompt
from generation.causal.prompting import ChatPrompt, build_chat_prompt
from generation.types import Passage

TEMPLATE = PromptTemplate(
    name="mine",
    system="Answer, or write {not_found}",
    not_found="Nothing.",
    passage="[{number}] {title}: {text}",
    question="{passages}\nQ: {question}",
    examples=(
        PromptExample("What is sown?", "Peas. [1]", ("Peas are sown.",)),
        PromptExample("What else?", "{not_found}"),
    ),
)
PASSAGES = [
    Passage(1, "Tomatoes are planted in May.", "Garden"),
    Passage(2, "Water them daily. The soil must be warm. Use {question} marks."),
    Passage(3, "Roses are red."),
]


# Of the question, the system text and the first passage's only sentence.
LEAST_BUDGET = 40


def count_words(text: str) -> int:
    return len(text.split())


def build(budget: int, template: PromptTemplate = TEMPLATE) -> ChatPrompt:
    return build_chat_prompt(template, "When?", PASSAGES, budget, count_words)


def test_examples_are_turns_that_went_before_and_the_question_comes_last() -> None:
    prompt = build(1000)
    assert prompt.messages == (
        ChatMessage("system", "Answer, or write Nothing."),
        ChatMessage("user", "[1] : Peas are sown.\nQ: What is sown?"),
        ChatMessage("assistant", "Peas. [1]"),
        ChatMessage("user", "\nQ: What else?"),
        ChatMessage("assistant", "Nothing."),
        ChatMessage(
            "user",
            "[1] Garden: Tomatoes are planted in May.\n"
            "[2] : Water them daily. The soil must be warm. Use {question} marks.\n"
            "[3] : Roses are red.\nQ: When?",
        ),
    )
    assert prompt.passages == tuple(PASSAGES)
    assert (prompt.dropped_examples, prompt.dropped_passages, prompt.cut) == (0, 0, False)


def tokens_of(prompt: ChatPrompt) -> int:
    return sum(count_words(message.content) for message in prompt.messages)


def test_examples_go_before_passages_and_passages_from_the_last_on() -> None:
    seen = []
    for budget in range(1000, LEAST_BUDGET - 1, -1):
        prompt = build(budget)
        assert tokens_of(prompt) <= budget
        assert prompt.passages[:-1] == tuple(PASSAGES[: len(prompt.passages) - 1])
        left = (prompt.dropped_examples, prompt.dropped_passages, prompt.cut)
        if not seen or seen[-1] != left:
            seen.append(left)
    assert seen == [
        (0, 0, False),
        (1, 0, False),
        (2, 0, False),
        (2, 1, False),
        (2, 1, True),
        (2, 2, False),
    ]


def test_a_question_that_leaves_no_room_for_a_passage_is_told() -> None:
    with pytest.raises(InvalidInput) as caught:
        build_chat_prompt(TEMPLATE, "When " * 50, PASSAGES[:1], 50, count_words)
    assert caught.value.field == "question"


def test_a_passage_is_cut_behind_a_whole_sentence() -> None:
    budgets = range(200, 0, -1)
    cut = next(prompt for prompt in map(build, budgets) if prompt.cut)
    assert cut.passages[-1].text == "Water them daily. The soil must be warm."
    assert PASSAGES[1].text.startswith(cut.passages[-1].text)


def test_a_template_without_a_system_text_sends_none() -> None:
    bare = PromptTemplate(name="bare", system="", not_found="Nothing.")
    assert [message.role for message in build(1000, bare).messages] == ["user"]


@pytest.mark.parametrize(
    ("language", "mark"), [("en", "Question: When?"), ("ru", "Вопрос:"), ("zh", "问题：")]
)
def test_the_shipped_templates_end_in_the_question(language: str, mark: str) -> None:
    prompt = build(1000, shipped_prompt(language))  # type: ignore[arg-type]
    assert mark in prompt.messages[-1].content.splitlines()[-1]
    assert [message.role for message in prompt.messages] == ["system", *["user", "assistant"] * 2, "user"]
