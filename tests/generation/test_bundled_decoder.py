"""The decoder that Footnote ships, on questions that it has never seen."""

from pathlib import Path

import numpy as np
import pytest

from generation.answering import Answerer
from generation.artifact import BUNDLED_DECODER
from generation.decoder import Decoder
from generation.evaluation import evaluate_answers
from generation.prompt import build_prompt, encode_texts
from generation.questions import gold_source, read_records
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.types import Answer, AnswerStatus, Source
from retrieval.benchmark import load_task
from training.siamese.general import BUILT_IN, FOLDER

LIGHTHOUSE = (
    "The lighthouse on Gull Rock was designed by Maria Feldt. It was lit for the first time on 4 March 1871 "
    "and its beam could be seen for nineteen miles."
)
BAKERY = "The bakery in Harbour Street belongs to Tom Ashby, who bakes rye bread every morning except Monday."


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    reader = GroundedReader(Decoder.load(BUNDLED_DECODER, threads=1))
    return Answerer(reader, refuse_below=reader.refuse_below)


def _ask(answerer: Answerer, question: str, sampling: SamplingSettings | None = None) -> Answer:
    sources = [Source("gull", 3, 0, len(LIGHTHOUSE), LIGHTHOUSE), Source("bread", 1, 0, len(BAKERY), BAKERY)]
    *_, answer = answerer.answer(question, sources, sampling or SamplingSettings())
    assert isinstance(answer, Answer)
    return answer


@pytest.mark.parametrize(
    ("question", "expected", "document_id"),
    [
        ("Who designed the lighthouse?", "Maria Feldt", "gull"),
        ("When was the lighthouse first lit?", "4 March 1871", "gull"),
        ("Who owns the bakery?", "Tom Ashby", "bread"),
    ],
)
def test_answers_with_the_words_of_the_right_source(
    answerer: Answerer, question: str, expected: str, document_id: str
) -> None:
    answer = _ask(answerer, question)
    assert (answer.status, answer.text) == (AnswerStatus.ANSWERED, expected)
    (citation,) = answer.citations
    text = LIGHTHOUSE if document_id == "gull" else BAKERY
    assert (citation.document_id, text[citation.start : citation.end]) == (document_id, expected)


def test_refuses_what_the_sources_do_not_hold(answerer: Answerer) -> None:
    answer = _ask(answerer, "What is the capital of Peru?")
    assert (answer.status, answer.text, answer.citations) == (AnswerStatus.NOT_FOUND, None, ())


def test_weighs_what_to_say_first_alike_on_every_processor() -> None:
    """Usual 8-bit products of a processor without VNNI take .080 and .146 for .132 and .107 (AMD Zen 3)."""
    decoder = Decoder.load(BUNDLED_DECODER, threads=1)
    paragraphs = list(load_task(FOLDER / BUILT_IN).documents.values())[40:43]
    question = "What did the Works Council Directive require?"
    asked, *passages = encode_texts(decoder.tokenizer, [question, *paragraphs])
    layout = decoder.spec.layout
    chances = np.exp(decoder.start(build_prompt(layout, asked, passages)).log_probs)
    first = [layout.refuse, layout.passage_tokens[1], layout.passage_tokens[0]]
    assert chances[first] == pytest.approx([0.7541, 0.1318, 0.1066], abs=0.01)


def test_sampling_follows_its_seed(answerer: Answerer) -> None:
    hot = [
        _ask(answerer, "Who owns the bakery?", SamplingSettings(temperature=2.0, seed=s)).text
        for s in (1, 1, 2, 3)
    ]
    assert hot[0] == hot[1]
    assert len(set(hot)) > 1


def test_reads_unseen_articles_well(answerer: Answerer, data_dir: Path) -> None:
    """A sample of SQuAD's dev articles; a decoder that points at random words has an F1 near 0.1."""
    records = read_records(data_dir / "squad" / "dev.jsonl.gz")[::10]
    figures = evaluate_answers(records, answerer, lambda record: [gold_source(record)])
    assert figures["answerable_f1_unrefused"] is not None
    assert figures["answerable_f1_unrefused"] > 0.6
    assert figures["auroc"] is not None
    assert figures["auroc"] > 0.6
    assert figures["verified_quotes"] == 1.0
