"""BLEU is sacrebleu's own."""

from typing import Any, get_args

import pytest

from generation.language_metrics import BleuTokenizer, corpus_bleu

library: Any = pytest.importorskip("sacrebleu", reason="needs the extra eval: make setup-dev")

PREDICTIONS = ["the cat sat on the mat", "мама мыла раму вчера", "我们今天去北京玩"]


@pytest.mark.parametrize("tokenizer", get_args(BleuTokenizer))
def test_bleu_of_one_reference_each_is_that_of_sacrebleu(tokenizer: BleuTokenizer) -> None:
    references = ["the cat sat on a mat", "мама мыла раму утром вчера", "我们今天去北京"]
    expected = library.BLEU(tokenize=tokenizer).corpus_score(PREDICTIONS, [references]).score
    assert 0 < corpus_bleu(PREDICTIONS, [[each] for each in references], tokenizer) < 100
    assert corpus_bleu(PREDICTIONS, [[each] for each in references], tokenizer) == expected


def test_predictions_may_have_different_numbers_of_references() -> None:
    references = [
        ["a dog", "the cat sat on the mat"],
        ["мама мыла раму"],
        ["我们去", "我们今天", "今天去北京玩"],
    ]
    streams = [["a dog", "мама мыла раму", "我们去"], ["the cat sat on the mat", None, "我们今天"]]
    expected = library.BLEU(tokenize="zh").corpus_score(PREDICTIONS, [*streams, [None, None, "今天去北京玩"]])
    assert corpus_bleu(PREDICTIONS, references, "zh") == expected.score


def test_chinese_needs_its_tokenizer() -> None:
    """Without it a sentence is one word, and one wrong character loses all of it."""
    prediction, reference = ["我们今天去北京玩"], [["我们昨天去北京玩"]]
    assert corpus_bleu(prediction, reference, "zh") > corpus_bleu(prediction, reference, "13a")
