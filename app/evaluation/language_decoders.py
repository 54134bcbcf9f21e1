"""Opens the decoder that is measured as a language model; the bundled one, as far as it is measured so."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from app.evaluation.causal_language import CausalLanguage
from app.evaluation.language import LanguageDecoder, Question
from app.evaluation.language_records import Asked
from embeddings.artifact import load_manifest
from embeddings.errors import InvalidInput
from generation.answer_scoring import score_answers
from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.options import EngineOptions
from generation.causal.spec import is_causal
from generation.decoder import Decoder
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.text_score import TextScore
from generation.types import Passage, Reading


@contextmanager
def open_language_decoder(
    directory: Path, threads: int, sampling: SamplingSettings, context_tokens: int | None = None
) -> Iterator[LanguageDecoder]:
    """The decoder in `directory`, whichever kind it is.

    sampling: of the answers that it writes. context_tokens: that a causal one reads at once at most when it
    scores texts; None: its whole context. Raises ModelDamaged.
    """
    if not is_causal(load_manifest(directory).graph):
        yield GroundedLanguage(Decoder.load(directory, threads), sampling)
        return
    model = CausalModel.load(directory, threads)
    with closing(CausalEngine(model, EngineOptions())) as engine:
        yield CausalLanguage(model, engine, sampling, context_tokens)


class GroundedLanguage:
    """The bundled decoder: a question and passages, nothing else."""

    takes_shots = False

    def __init__(self, decoder: Decoder, sampling: SamplingSettings) -> None:
        self._decoder = decoder
        self._reader = GroundedReader(decoder)
        self._sampling = sampling

    @property
    def model_id(self) -> str:
        return self._decoder.model_id

    def score_text(self, text: str, stride: int | None) -> TextScore:  # noqa: ARG002 - reads no texts
        """Raises InvalidInput: it was trained on answers alone."""
        raise InvalidInput(
            f"{self.model_id} only answers questions about passages; it cannot score a text",
            field="data",
            found="texts",
            expected="lines with question, context and answers",
            next_step="measure a causal decoder, or a file of questions",
        )

    def score_answers(self, question: Question, answers: Sequence[str]) -> list[TextScore]:
        asked = question.asked
        return score_answers(self._decoder, asked.question, _required_passages(asked), answers)

    def write(self, questions: Sequence[Question]) -> Iterator[tuple[int, str]]:
        """With refusal off: a wrong answer and none count the same."""
        for index, question in enumerate(questions):
            texts = _required_passages(question.asked)
            passages = [Passage(number, text) for number, text in enumerate(texts, start=1)]
            *_, reading = self._reader.read(
                question.asked.question, passages, self._sampling, refuse_below=None, cancelled=lambda: False
            )
            if not isinstance(reading, Reading):
                raise TypeError(f"a reading ends with {type(reading).__name__}, expected Reading")
            yield index, reading.text


def _required_passages(asked: Asked) -> tuple[str, ...]:
    if not asked.passages:
        raise InvalidInput(
            f"line {asked.line} has no context, and the bundled decoder answers from passages only",
            field="data",
            found="no context",
            expected="context: a text or a list of texts",
        )
    return asked.passages
