"""A decoder as a language model, measured on files: perplexity, multiple choice, generated answers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from app.evaluation.language_records import Asked, has_texts, read_asked, read_choices, read_texts
from embeddings.errors import InvalidInput
from generation.language_metrics import BleuTokenizer, corpus_bleu, sacrebleu
from generation.metrics import exact_match, f1_score
from generation.text_score import NOTHING_SCORED, TextScore
from retrieval.metrics import bootstrap_interval

Kind = Literal["perplexity", "choice", "answer"]
Progress = Callable[[str, int, int], None]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LanguageTask:
    """What to measure. examples: file of the same form whose first `shots` lines go before each question.

    limit: the first lines only. stride: of perplexity's windows in tokens; None: half of the context.
    """

    kind: Kind
    data: Path
    limit: int | None = None
    shots: int = 0
    examples: Path | None = None
    stride: int | None = None
    bleu_tokenizer: BleuTokenizer = "13a"


@dataclass(frozen=True, slots=True)
class Question:
    """What a decoder is asked. shots: answered questions that go before it, as an example of the form."""

    asked: Asked
    shots: tuple[Asked, ...] = ()


class LanguageDecoder(Protocol):
    """The causal and the bundled decoder, as far as they are measured."""

    @property
    def model_id(self) -> str: ...

    @property
    def takes_shots(self) -> bool: ...

    def score_text(self, text: str, stride: int | None) -> TextScore:
        """A text of any length. Raises InvalidInput where the decoder reads only questions."""
        ...

    def score_answers(self, question: Question, answers: Sequence[str]) -> list[TextScore]:
        """Each of the answers, given the question."""
        ...

    def write(self, questions: Sequence[Question]) -> Iterator[tuple[int, str]]:
        """Answer them all, in any order: the index of a question and its answer."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """figures: of the whole file; rows: what was found for each line of it."""

    figures: Figures
    rows: list[Figures]


def measure_language(task: LanguageTask, decoder: LanguageDecoder, progress: Progress) -> Measured:
    """Measure, telling `progress` what is counted, how many are done, and of how many.

    Raises InvalidInput for a file that is not of the task's form or a task that the decoder cannot do,
    FootnoteError without sacrebleu.
    """
    if task.shots and not decoder.takes_shots:
        raise InvalidInput(
            f"{decoder.model_id} takes no examples before a question",
            field="shots",
            found=str(task.shots),
            expected="0",
        )
    measures = {"perplexity": _perplexity, "choice": _choice, "answer": _answer}
    measured = measures[task.kind](task, decoder, progress)
    about = {"model": decoder.model_id, "task": task.kind, "shots": task.shots}
    return Measured({**measured.figures, **about}, measured.rows)


def _perplexity(task: LanguageTask, decoder: LanguageDecoder, progress: Progress) -> Measured:
    """Of texts, or of the first answer to each question."""
    if has_texts(task.data):
        texts = read_texts(task.data, task.limit)
        scores = [decoder.score_text(text, task.stride) for text in _counted(texts, "texts", progress)]
    else:
        questions = _questions(task, read_asked)
        scores = [
            decoder.score_answers(question, question.asked.answers[:1])[0]
            for question in _counted(questions, "questions", progress)
        ]
    total = sum(scores, NOTHING_SCORED)
    figures = {**_of_score(total), "truncated": sum(score.truncated for score in scores), "n": len(scores)}
    return Measured(figures, [_of_score(score) for score in scores])


def _of_score(score: TextScore) -> Figures:
    """No perplexity where nothing was scored."""
    if not score.tokens:
        return {"perplexity": None, "bits_per_byte": None, "tokens": 0, "bytes": 0}
    return {
        "perplexity": score.perplexity,
        "bits_per_byte": score.bits_per_byte,
        "tokens": score.tokens,
        "bytes": score.size_bytes,
    }


# By what a choice's log-likelihood is divided before the best is taken. The LM evaluation harness calls
# them acc, acc_norm and acc_bytes; it has none per token.
NORMALISATIONS: dict[str, Callable[[TextScore], int]] = {
    "accuracy": lambda _: 1,
    "accuracy_per_token": lambda score: score.tokens,
    "accuracy_per_character": lambda score: score.characters,
    "accuracy_per_byte": lambda score: score.size_bytes,
}


def _choice(task: LanguageTask, decoder: LanguageDecoder, progress: Progress) -> Measured:
    questions = _questions(task, read_choices)
    rows = []
    for question in _counted(questions, "questions", progress):
        scores = decoder.score_answers(question, question.asked.choices)
        rows.append({"line": question.asked.line, "gold": question.asked.gold, **_of_choices(scores)})
    figures: Figures = {
        name: _interval([row[name] == row["gold"] for row in rows]) for name in NORMALISATIONS
    }
    return Measured({**figures, "truncated": sum(row["truncated"] for row in rows), "n": len(rows)}, rows)


def _of_choices(scores: Sequence[TextScore]) -> Figures:
    """What each normalisation would choose, by its name, and the log-likelihoods."""
    chosen = {
        name: int(np.argmax([score.logprob / measure(score) for score in scores]))
        for name, measure in NORMALISATIONS.items()
    }
    truncated = any(score.truncated for score in scores)
    return {**chosen, "logprobs": [score.logprob for score in scores], "truncated": truncated}


def _answer(task: LanguageTask, decoder: LanguageDecoder, progress: Progress) -> Measured:
    sacrebleu()  # a missing package is found out before minutes of decoding, not after
    questions = _questions(task, read_asked)
    written = [""] * len(questions)
    for done, (index, text) in enumerate(decoder.write(questions), start=1):
        written[index] = text
        progress("questions", done, len(questions))
    rows = [_of_answer(question.asked, text) for question, text in zip(questions, written, strict=True)]
    references = [question.asked.answers for question in questions]
    figures = {
        "em": _interval([row["em"] for row in rows]),
        "f1": _interval([row["f1"] for row in rows]),
        "bleu": corpus_bleu(written, references, task.bleu_tokenizer),
        "n": len(rows),
    }
    return Measured(figures, rows)


def _of_answer(asked: Asked, text: str) -> Figures:
    scores = {"em": exact_match(text, asked.answers), "f1": f1_score(text, asked.answers)}
    return {"line": asked.line, "prediction": text, **scores}


def _questions(task: LanguageTask, read: Callable[[Path, int | None], list[Asked]]) -> list[Question]:
    asked = read(task.data, task.limit)
    if not task.shots:
        return [Question(each) for each in asked]
    if task.examples is None:
        raise InvalidInput(
            "shots need a file to take them from",
            field="examples",
            found="no file",
            expected=f"a file with {task.shots} lines or more",
        )
    # One more, for questions that stand in the file of examples themselves.
    examples = read(task.examples, task.shots + 1)
    return [Question(each, _shots(each, examples, task)) for each in asked]


def _shots(asked: Asked, examples: Sequence[Asked], task: LanguageTask) -> tuple[Asked, ...]:
    others = [each for each in examples if each.question != asked.question or each.passages != asked.passages]
    if len(others) < task.shots:
        raise InvalidInput(
            f"{task.examples} holds {len(others)} lines that are not the question itself",
            field="examples",
            found=f"{len(others)} lines",
            expected=f"{task.shots} or more",
        )
    return tuple(others[: task.shots])


def _counted(items: Sequence[Any], what: str, progress: Progress) -> Iterator[Any]:
    for done, item in enumerate(items, start=1):
        yield item
        progress(what, done, len(items))


def _interval(values: Sequence[float]) -> Figures:
    """The mean with its 95 % interval."""
    return asdict(bootstrap_interval(np.asarray(values, dtype=np.float64)))
