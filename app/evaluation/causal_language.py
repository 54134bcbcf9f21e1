"""A causal decoder, as far as it is measured as a language model."""

from collections import deque
from collections.abc import Iterator, Sequence

from app.evaluation.language import Question
from app.evaluation.language_records import Asked
from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.requests import ChoiceFinished, Generation, GenerationRequest
from generation.causal.text_scoring import TextScorer
from generation.sampling import SamplingSettings
from generation.text_score import TextScore

# Between one example, or passage, and the next; and between a question and its answer. Both are those of the
# LM evaluation harness.
BREAK, DELIMITER = "\n\n", " "
# Answers in work at once: enough for the engine never to wait for the next question.
IN_WORK = 16


class CausalLanguage:
    """A causal decoder: it continues text, with examples before it if there are any.

    engine: of the same model, for what is written. context_tokens: that are read at once at most when texts
    are scored; None: the model's context.
    """

    takes_shots = True

    def __init__(
        self,
        model: CausalModel,
        engine: CausalEngine,
        sampling: SamplingSettings,
        context_tokens: int | None = None,
    ) -> None:
        self.model_id = model.model_id
        self._tokenizer = model.tokenizer
        self._engine = engine
        self._sampling = sampling
        self._scorer = TextScorer.of(model, context_tokens)

    def score_text(self, text: str, stride: int | None) -> TextScore:
        """As `TextScorer.score_text`."""
        return self._scorer.score_text(text, stride)

    def score_answers(self, question: Question, answers: Sequence[str]) -> list[TextScore]:
        """As `TextScorer.score_continuations`."""
        return self._scorer.score_continuations(prompt_text(question) + DELIMITER, answers)

    def write(self, questions: Sequence[Question]) -> Iterator[tuple[int, str]]:
        """Some at once, in the order of the questions; blanks around an answer are not part of it."""
        begun: deque[tuple[int, Generation]] = deque()
        try:
            for index, question in enumerate(questions):
                begun.append((index, self._begin(question)))
                if len(begun) == IN_WORK:
                    yield _written(*begun.popleft())
            while begun:
                yield _written(*begun.popleft())
        finally:
            for _, generation in begun:
                generation.cancel()

    def _begin(self, question: Question) -> Generation:
        ids = self._tokenizer.encode(prompt_text(question)).ids
        return self._engine.submit(GenerationRequest(tuple(ids), self._sampling))


def prompt_text(question: Question) -> str:
    """Examples, passages and the question, up to where the answer begins, without a blank at the end.

    Tokenizers put the blank before a word into the word's token.
    """
    examples = [f"{_asking(shot)}{DELIMITER}{shot.answers[0]}" for shot in question.shots]
    return BREAK.join([*examples, _asking(question.asked)])


def _asking(asked: Asked) -> str:
    return BREAK.join([*asked.passages, asked.question]).rstrip()


def _written(index: int, generation: Generation) -> tuple[int, str]:
    (text,) = [event.text for event in generation if isinstance(event, ChoiceFinished)]
    return index, text.strip()
