"""Scores are those of the whole distribution, however a text is cut into passes and windows."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel

from embeddings.errors import InvalidInput
from generation.causal.model import CausalModel
from generation.causal.scoring import SlotReader, TokenScorer, sliding_windows
from generation.causal.text_scoring import TextScorer
from tests.generation.causal.tiny_causal import TinyShape, write_tiny_causal

VOCABULARY = 12


class ToyDecoder:
    """Its logits depend on the token, the two before it and the place. reads: (start, tokens, wanted)."""

    def __init__(self, context: int = 64) -> None:
        self._tables = np.random.default_rng(7).normal(size=(3, VOCABULARY, VOCABULARY)) * 3
        self._row = np.zeros(context + 2, dtype=np.int64)
        self.reads: list[tuple[int, int, bool]] = []

    def read(self, token_ids: NDArray[np.int64], start: int, wanted: bool) -> NDArray[np.float32]:
        self.reads.append((start, len(token_ids), wanted))
        self._row[start + 2 : start + 2 + len(token_ids)] = token_ids
        places = range(start, start + len(token_ids)) if wanted else ()
        rows = [self.logits(self._row[place : place + 3], place) for place in places]
        return np.asarray(rows, dtype=np.float32).reshape(-1, VOCABULARY)

    def logits(self, last: NDArray[np.int64], place: int) -> NDArray[np.float64]:
        return sum(self._tables[i][last[i]] for i in range(3)) + np.arange(VOCABULARY) * place / 50


def expected_logprobs(token_ids: list[int], first: int = 1) -> list[float]:
    """Straight from the definition."""
    toy, row = ToyDecoder(), np.asarray([0, 0, *token_ids])
    found = []
    for place in range(first - 1, len(token_ids) - 1):
        logits = toy.logits(row[place : place + 3], place)
        found.append(float(logits[token_ids[place + 1]] - np.log(np.exp(logits).sum())))
    return found


def draw(tokens: int, seed: int = 1) -> list[int]:
    return [int(each) for each in np.random.default_rng(seed).integers(1, VOCABULARY, tokens)]


def scorer(toy: ToyDecoder, context: int = 64) -> TokenScorer:
    return TokenScorer(toy.read, context, VOCABULARY)


@pytest.mark.parametrize("first", [1, 7, 39])
def test_each_token_gets_its_log_probability(first: int) -> None:
    tokens = draw(40)
    scores = scorer(ToyDecoder()).score(tokens, first)
    assert scores.logprobs == pytest.approx(expected_logprobs(tokens, first), abs=1e-5)
    assert scores.logprob == pytest.approx(sum(expected_logprobs(tokens, first)), abs=1e-4)


def test_passes_are_bounded_and_change_nothing() -> None:
    tokens, whole = draw(60), scorer(ToyDecoder()).score(draw(60), 20)
    toy = ToyDecoder()
    cut = TokenScorer(toy.read, 64, VOCABULARY, pass_tokens=8, pass_logits=5 * VOCABULARY).score(tokens, 20)
    assert cut.logprobs.tolist() == whole.logprobs.tolist()
    assert max(length for _, length, wanted in toy.reads if wanted) == 5
    assert max(length for _, length, wanted in toy.reads if not wanted) == 8
    assert sum(length for _, length, _ in toy.reads) == 59  # the last token predicts nothing that is there


def test_greedy_says_where_the_likeliest_token_stands() -> None:
    toy, tokens = ToyDecoder(), [3]
    for place in range(10):
        row = np.asarray([0, 0, *tokens])
        tokens.append(int(toy.logits(row[place : place + 3], place).argmax()))
    tokens[6] = (tokens[6] + 1) % VOCABULARY
    assert scorer(toy).score(tokens).greedy.tolist()[:6] == [True] * 5 + [False]


def test_choices_share_the_reading_of_their_prefix() -> None:
    toy, prefix = ToyDecoder(), draw(30)
    choices = [draw(count, seed=count) for count in (1, 4, 9)]
    rows = [[*prefix, *choice] for choice in choices]
    found = scorer(toy).score_continuations(rows, [30] * 3)
    for row, scores in zip(rows, found, strict=True):
        assert scores.logprobs == pytest.approx(expected_logprobs(row, 30), abs=1e-5)
    assert toy.reads == [(0, 29, False), (29, 1, True), (29, 4, True), (29, 9, True)]


def test_continuations_whose_first_tokens_differ_inside_the_context_are_read_from_there() -> None:
    rows = [[1, 2, 3, 4, 5], [1, 2, 9, 4, 5]]
    found = scorer(ToyDecoder()).score_continuations(rows, [4, 4])
    for row, scores in zip(rows, found, strict=True):
        assert scores.logprobs == pytest.approx(expected_logprobs(row, 4), abs=1e-5)


@pytest.mark.parametrize("stride", [1, 5, 8, 15])
def test_windows_score_each_token_once(stride: int) -> None:
    for tokens in range(1, 70):
        scored: list[int] = []
        for window in sliding_windows(tokens, 16, stride):
            assert window.begin < window.first < window.end <= min(window.begin + 16, tokens)
            scored += range(window.first, window.end)
        assert scored == list(range(1, tokens))


@pytest.mark.parametrize("stride", [0, 16])
def test_stride_that_leaves_a_token_without_context_is_refused(stride: int) -> None:
    with pytest.raises(InvalidInput, match="no context"):
        list(sliding_windows(40, 16, stride))


def test_window_that_holds_the_whole_text_gives_its_exact_score() -> None:
    tokens = draw(50)
    found = scorer(ToyDecoder()).score_windows(tokens, 16)
    assert found.logprobs.tolist() == scorer(ToyDecoder()).score(tokens).logprobs.tolist()


def test_text_longer_than_the_context_is_refused_outside_of_windows() -> None:
    with pytest.raises(InvalidInput, match="17 tokens, the decoder reads 16"):
        scorer(ToyDecoder(), context=16).score(draw(17))


def test_perplexity_is_that_of_transformers() -> None:
    """As in Hugging Face's "Perplexity of fixed-length models", with each window's loss in full."""
    torch.manual_seed(3)
    config = GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    tokens = torch.randint(0, 50, (1, 100), generator=torch.Generator().manual_seed(4))
    buffer = np.zeros(32, dtype=np.int64)

    def read(token_ids: NDArray[np.int64], start: int, wanted: bool) -> NDArray[np.float32]:
        buffer[start : start + len(token_ids)] = token_ids
        with torch.no_grad():
            logits = model(torch.from_numpy(buffer[None, : start + len(token_ids)])).logits[0, start:]
        return logits.numpy() if wanted else logits.numpy()[:0]

    nll, scored_to = 0.0, 0
    for begin in range(0, 100, 20):
        end = min(begin + 32, 100)
        piece = tokens[:, begin:end]
        labels = piece.clone()
        labels[:, : max(0, scored_to - begin)] = -100
        with torch.no_grad():
            loss = model(piece, labels=labels).loss
        nll += float(loss) * int((labels[:, 1:] != -100).sum())
        scored_to = end
        if end == 100:
            break
    found = TokenScorer(read, 32, 50).score_windows(tokens[0].tolist(), 20)
    assert len(found) == 99
    assert math.exp(-found.logprob / 99) == pytest.approx(math.exp(nll / 99), rel=1e-5)


def words_tokenizer() -> Tokenizer:
    words = ["[unk]", "<s>", "the", "cat", "sat", "мат", "猫", "dog", "ran"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[unk]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def text_scorer(context: int = 64, start_token: int | None = None) -> TextScorer:
    return TextScorer(scorer(ToyDecoder(context), context), words_tokenizer(), start_token)


def test_bits_per_byte_count_the_bytes_behind_the_first_token() -> None:
    score = text_scorer().score_text("the cat sat мат 猫")
    ids = [2, 3, 4, 5, 6]
    assert score.tokens == 4
    assert score.size_bytes == len(" cat sat мат 猫".encode())
    assert score.logprob == pytest.approx(sum(expected_logprobs(ids)), abs=1e-5)
    assert score.bits_per_byte == pytest.approx(-score.logprob / math.log(2) / score.size_bytes)
    assert score.perplexity == pytest.approx(math.exp(-score.logprob / 4))


def test_text_of_one_token_has_nothing_to_score() -> None:
    score = text_scorer().score_text("cat")
    assert (score.tokens, score.logprob) == (0, 0.0)
    assert math.isnan(score.perplexity)


def test_continuations_are_brute_force_sums() -> None:
    found = text_scorer().score_continuations("the cat ", ["sat", "мат 猫", "dog ran dog"])
    rows = [[2, 3, 4], [2, 3, 5, 6], [2, 3, 7, 8, 7]]
    for row, score in zip(rows, found, strict=True):
        assert score.logprob == pytest.approx(sum(expected_logprobs(row, 2)), abs=1e-5)
        assert score.tokens == len(row) - 2
    assert (found[1].characters, found[1].size_bytes) == (5, 10)


def test_empty_context_begins_with_the_start_token_or_is_refused() -> None:
    (score,) = text_scorer(start_token=1).score_continuations("", ["cat sat"])
    assert score.logprob == pytest.approx(sum(expected_logprobs([1, 3, 4])), abs=1e-5)
    with pytest.raises(InvalidInput, match="nothing stands before"):
        text_scorer().score_continuations("", ["cat sat"])


def test_long_context_loses_its_beginning_and_says_so() -> None:
    context = "the cat sat dog " * 5
    long, short = text_scorer(context=8).score_continuations(context, ["ran ran", "cat"])
    assert long.truncated
    assert short.truncated
    assert long.logprob == pytest.approx(sum(expected_logprobs([4, 7, 2, 3, 4, 7, 8, 8], 6)), abs=1e-5)


@pytest.mark.parametrize(("choice", "words"), [("", "is empty"), ("ran " * 9, "does not fit")])
def test_continuation_that_cannot_be_scored_is_refused(choice: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        text_scorer(context=8).score_continuations("the cat ", [choice])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CausalModel:
    folder = write_tiny_causal(tmp_path_factory.mktemp("tiny"), TinyShape(context=48))
    return CausalModel.load(folder, threads=1)


def run_graph(model: CausalModel, token_ids: list[int]) -> NDArray[np.float64]:
    """All logits of one call of the session, without slots: (n, vocabulary)."""
    count = len(token_ids)
    feeds = {
        "input_ids": np.asarray([token_ids]),
        "attention_mask": np.ones((1, count), dtype=np.int64),
        "logit_positions": np.arange(count),
    }
    for tensor in model.spec.state:
        sizes = [{"batch": 1, "past": count}.get(size, size) for size in tensor.shape]  # type: ignore[arg-type]
        feeds[f"past.{tensor.name}"] = np.zeros(sizes, dtype=np.float32)  # type: ignore[arg-type]
    (logits,) = model.session.run(["logits"], feeds)
    return logits[0].astype(np.float64)


def test_scores_of_a_decoder_are_those_of_one_pass_of_its_graph(model: CausalModel) -> None:
    tokens = [int(each) for each in np.random.default_rng(5).integers(1, 300, 48)]
    logits = run_graph(model, tokens)
    logprobs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = logprobs[np.arange(47), tokens[1:]]
    scorer = TokenScorer(SlotReader(model, 48), 48, 300, pass_tokens=16, pass_logits=5 * 300)
    assert scorer.score(tokens).logprobs == pytest.approx(expected, abs=1e-4)
    assert scorer.score(tokens, 30).logprobs == pytest.approx(expected[29:], abs=1e-4)
    assert scorer.score_continuations([tokens[:20], tokens], [12, 12])[1].logprobs == pytest.approx(
        expected[11:], abs=1e-4
    )


def test_text_of_any_length_is_scored_in_windows_of_the_context(model: CausalModel) -> None:
    scorer = TextScorer.of(model, 32)
    score = scorer.score_text("w1 w2 w3 " * 60, stride=8)
    assert score.tokens == len(model.tokenizer.encode("w1 w2 w3 " * 60).ids) - 1
    assert 1 < score.perplexity < 300**2
    (choice,) = scorer.score_continuations("", ["w1"])
    assert choice.tokens == len(model.tokenizer.encode("w1").ids)
