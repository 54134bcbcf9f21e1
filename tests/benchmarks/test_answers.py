"""The baselines that the bundled decoder is measured against, on tiny models and texts."""

import copy
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerFast

from generation.answering import NEVER_REFUSE, Answerer
from generation.evaluation import evaluate_answers
from generation.questions import Record, gold_source
from generation.sampling import SamplingSettings
from generation.types import Passage, Reading
from tests.benchmarks.answer_baselines import WordSentence, reading_of
from tests.benchmarks.answers import WHOLE, fitted
from tests.benchmarks.answers_report import markdown
from tests.benchmarks.span_extractor import CHECKPOINT, Settings, StopSignal, Trainer, train
from tests.benchmarks.span_reader import SpanReader, best_span
from tests.benchmarks.span_windows import MAX_TOKENS, Window, cut_windows, training_windows
from training.decoder_data import QaRecord

SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
WORDS = [
    *SPECIAL,
    *("when", "who", "did", "war", "began", "ended", "in", "1756", "1763", "it", ".", "?", "the", "king"),
]
WAR = "the war began in 1756 . it ended in 1763 ."


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = BertPreTokenizer()
    words.post_processor = BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def tiny_model() -> Any:
    """Without dropout, whose random numbers are not kept between the pieces of a training."""
    torch.manual_seed(0)
    return BertForQuestionAnswering(
        BertConfig(
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, vocab_size=len(WORDS),
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=MAX_TOKENS,
        )
    )  # fmt: skip


def span(text: str, context: str = WAR) -> tuple[int, int]:
    return context.index(text), context.index(text) + len(text)


RECORDS = [
    QaRecord("when war began ?", WAR, "war", (span("1756"),)),
    QaRecord("when war ended ?", WAR, "war", (span("in 1763"),)),
    QaRecord("who did the king ?", WAR, "war", ()),
]


def told(window: Window, text: str) -> str:
    start, end = window.offsets[window.start], window.offsets[window.end]
    return text[start[0] : end[1]] if start and end else ""


def test_windows_point_at_the_answer_and_at_cls_without_one(tokenizer: PreTrainedTokenizerFast) -> None:
    first, second, third = training_windows(tokenizer, RECORDS)
    assert (told(first, WAR), told(second, WAR)) == ("1756", "in 1763")
    assert (third.start, third.end) == (0, 0)
    assert first.ids[0] == WORDS.index("[CLS]")


def test_long_passage_is_cut_and_only_windows_with_the_whole_answer_hold_it(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    context = f"{'it . ' * 200}the king began in 1756 . {'it . ' * 200}"
    record = QaRecord("when ?", context, "long", (span("1756", context),))
    windows = list(training_windows(tokenizer, [record]))
    assert len(windows) > 2
    assert all(len(window) <= MAX_TOKENS for window in windows)
    assert {told(window, context) for window in windows} == {"1756", ""}


def test_best_span_is_ordered_short_and_inside_the_passage(tokenizer: PreTrainedTokenizerFast) -> None:
    (window,) = cut_windows(tokenizer, "when war ended ?", [WAR])
    starts, ends = torch.zeros(len(window)), torch.zeros(len(window))
    inside = [place for place, offset in enumerate(window.offsets) if offset is not None]
    starts[inside[3]], starts[0] = 5.0, 90.0  # at [CLS] it is no span
    ends[inside[4]], ends[inside[1]] = 5.0, 9.0  # an end before the start is none either
    score, found = best_span(window, starts, ends)
    assert score == 10.0
    assert found is not None
    assert WAR[slice(*found)] == "in 1756"


def test_extractor_learns_and_reads_what_it_learnt(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = tiny_model()
    trainer = Trainer(training_windows(tokenizer, RECORDS), Settings(epochs=100, learning_rate=1e-2), model)
    train(trainer, tmp_path, StopSignal(), most_steps=100, most_seconds=600)
    reader = SpanReader(model, tokenizer)

    def read(question: str, refuse_below: float | None) -> Reading:
        passages = [Passage(1, "it . the king . "), Passage(2, WAR)]
        *_, found = reader.read(
            question, passages, SamplingSettings(), refuse_below=refuse_below, cancelled=lambda: False
        )
        assert isinstance(found, Reading)
        return found

    found = read("when war ended ?", 0.5)
    assert (found.passage_number, found.text) == (2, "in 1763")
    assert read("who did the king ?", 0.5).finish_reason == "refused"
    assert read("who did the king ?", None).text


@pytest.fixture
def signals() -> Iterator[None]:
    """Puts back how signals were handled."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_stopped_training_goes_on_to_the_same_weights(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    windows = list(training_windows(tokenizer, RECORDS * 20))
    settings = Settings(epochs=2, batch_tokens=200)
    model = tiny_model()
    unbroken = Trainer(windows, settings, copy.deepcopy(model))
    train(unbroken, tmp_path, StopSignal(), most_steps=6, most_seconds=600)
    (tmp_path / CHECKPOINT).unlink()
    stopped = StopSignal()
    stopped.listen()
    signal.raise_signal(signal.SIGTERM)
    first = Trainer(windows, settings, copy.deepcopy(model))
    train(first, tmp_path, stopped, most_steps=6, most_seconds=600)
    assert first.step == 1
    second = Trainer(windows, settings, copy.deepcopy(model))
    second.load(tmp_path / CHECKPOINT)
    train(second, tmp_path, StopSignal(), most_steps=5, most_seconds=600)
    assert second.step == unbroken.step == 6
    for name, weights in unbroken.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], weights), name
    with pytest.raises(ValueError, match="of a run of 12 steps"):
        Trainer(windows, Settings(epochs=1), tiny_model()).load(tmp_path / CHECKPOINT)


def test_words_find_the_sentence_and_an_unknown_word_is_worth_nothing() -> None:
    reader = WordSentence()
    sentences = ("The king was crowned in Rome.", "The bridge was built in 1871.", "It rained.")
    scores = reader.score("When was the bridge built?", sentences)
    assert scores.index(max(scores)) == 1
    assert list(reader.score("zzz", sentences)) == [0, 0, 0]


def test_baseline_is_measured_like_a_decoder_with_a_threshold_of_its_own() -> None:
    passage = "The king was crowned in Rome. The bridge was built in 1871. It rained."
    known = Record("1", "When was the bridge built?", passage, "t", ("The bridge was built in 1871.",))
    unknown = Record("2", "Who painted ceilings?", passage, "t", ())
    answerer = fitted(WordSentence(), [known, unknown])
    assert answerer.refuse_below > NEVER_REFUSE
    figures = evaluate_answers([known, unknown], answerer, lambda record: [gold_source(record)])
    assert (figures["em"], figures["auroc"], figures["verified_quotes"]) == (1.0, 1.0, 1.0)


def test_reading_below_the_threshold_is_a_refusal() -> None:
    passage = Passage(3, "abc")
    assert reading_of(passage, 1, 2, 0.4, 0.5).finish_reason == "refused"
    assert reading_of(passage, 1, 2, 0.4, None).text == "b"
    assert reading_of(None, 0, 0, 0.0, None).finish_reason == "refused"


def test_report_has_a_table_for_each_set_with_a_row_for_each_contender() -> None:
    known = Record("1", "When was it built?", "It was built in 1871.", "t", ("1871",))
    answerer = Answerer(WordSentence(), refuse_below=0.0, depth=WHOLE)
    figures = evaluate_answers([known], answerer, lambda record: [gold_source(record)])
    text = markdown({"contenders": {"bm25-sentence": {"nq": figures}, "decoder": {"nq": figures}}})
    lines = text.splitlines()
    assert lines[0].startswith("| nq: 1 questions, 1 with an answer |")
    assert [line.split("|")[1].strip() for line in lines[2:4]] == [
        "best sentence, by BM25",
        "the bundled decoder",
    ]
    assert len({line.count("|") for line in lines[:4]}) == 1
