from collections import Counter

import pytest

from tests.training.siamese.word_vectors import encode_words, silent
from training.siamese import drafting
from training.siamese.drafting import Drafter, draft_here, load_decoder
from training.siamese.drafts import read_passage
from training.siamese.plan import Synthetic
from training.siamese.progress import RunCancelled
from training.siamese.queries import write_queries
from training.siamese.term_weights import TermWeights
from training.siamese.types import Origin

SUBJECTS = ["nickel", "iron", "copper", "zinc", "silver", "castle", "bridge", "tower", "temple", "harbour"]
SUBJECTS += ["wheat", "barley", "maize", "rice", "millet", "falcon", "heron", "osprey", "kestrel", "plover"]
PLACES = ["Lisbon", "Cairo", "Quito", "Oslo"]


def article(subject: str, place: str) -> str:
    return (
        f"Use of {subject} in {place}\n"
        f"Merchants carried {subject} across the sea to {place} every summer. "
        f"Old ledgers of {place} praise its {subject} above all others. "
        f"They were wrong. Scholars show that {subject} lost its worth near {place} after the war."
    )


CORPUS = {
    f"{subject}#{i}": article(subject, place)
    for subject in SUBJECTS
    for i, place in enumerate(PLACES[: 1 + len(subject) % 3])
}
TEXTS = ("headings", "sentences")
WEIGHTS = TermWeights(CORPUS.values())


def write(**settings):
    wanted = Synthetic(**{"passages": 20, "sources": TEXTS, **settings})
    return write_queries(CORPUS, {}, wanted, encode_words, silent)


def test_same_corpus_and_settings_give_the_same_pairs() -> None:
    assert write() == write()


def test_pairs_join_a_query_with_its_own_passage() -> None:
    pairs, _ = write()
    assert len(pairs) > 20
    for pair in pairs:
        assert pair.origin == Origin.SYNTHETIC
        assert pair.group in pair.query
        assert pair.group in pair.positive
        assert pair.query != pair.positive


def test_every_document_is_drawn_before_one_is_drawn_twice() -> None:
    pairs, report = write(passages=len(SUBJECTS), per_passage=1)
    assert report["passages"] == len(SUBJECTS)
    assert max(Counter(pair.group for pair in pairs).values()) == 1


@pytest.mark.parametrize("per_passage", [1, 3])
def test_passages_get_no_more_queries_than_wanted(per_passage: int) -> None:
    pairs, report = write(passages=1, per_passage=per_passage, consistent_within=99)
    assert len(pairs) == per_passage
    assert report["passages"] == 1


@pytest.mark.parametrize("source", TEXTS)
def test_only_the_sources_that_are_wanted_write(source: str) -> None:
    _, report = write(sources=(source,))
    assert set(report["kept"]) == {source}


def test_sources_take_turns() -> None:
    kept = write(passages=20, per_passage=1, consistent_within=99)[1]["kept"]
    assert kept == {"headings": 10, "sentences": 10}


def test_each_passage_is_drafted_alike_whatever_was_drafted_before() -> None:
    settings = Synthetic(sources=("decoder", *TEXTS))
    drawn = [read_passage(passage_id, text) for passage_id, text in list(CORPUS.items())[:6]]
    together = list(draft_here(settings, WEIGHTS, drawn, silent))
    drafter = Drafter(settings, WEIGHTS, load_decoder(settings))
    for number in (5, 0, 3):
        assert drafter.write(drawn[number], number) == together[number]


def test_decoder_is_asked_about_a_limited_number_of_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafting, "MAX_ASKED_PASSAGES", 3)
    settings = Synthetic(sources=("decoder", *TEXTS), per_passage=1)
    drawn = [read_passage(passage_id, text) for passage_id, text in list(CORPUS.items())[:15]]
    asked = [
        "decoder" in written.counts for written in draft_here(settings, WEIGHTS, drawn, silent)
    ]  # of three sources each has the first turn in every third passage
    assert [number for number, each in enumerate(asked) if each] == [0, 3, 6]


def test_report_accounts_for_every_query() -> None:
    pairs, report = write()
    assert sum(report["written"].values()) == sum(report["removed"].values()) + len(pairs)
    assert sum(report["kept"].values()) == len(pairs)


def test_headings_that_all_passages_share_are_removed() -> None:
    headings = dict.fromkeys(CORPUS, "General notes on merchants")
    pairs, report = write_queries(
        {passage: text.partition("\n")[2] for passage, text in CORPUS.items()},
        headings,
        Synthetic(passages=20, sources=("headings",)),
        encode_words,
        silent,
    )
    assert len(pairs) <= 1
    assert report["removed"]["headings: nearly equals another"] >= 18


def test_a_looser_search_keeps_more_queries() -> None:
    assert len(write(per_passage=4, consistent_within=9)[0]) >= len(
        write(per_passage=4, consistent_within=1)[0]
    )


def test_passages_too_short_to_ask_for_give_nothing() -> None:
    pairs, report = write_queries(
        {"a#0": "Yes."}, {}, Synthetic(passages=5, sources=TEXTS), encode_words, silent
    )
    assert (pairs, report["passages"]) == ([], 0)


def test_decoders_questions_pass_the_same_checks() -> None:
    pairs, report = write(passages=4, sources=("decoder",), consistent_within=20)
    assert report["written"]["decoder"] >= 4
    assert all(pair.query.endswith("?") for pair in pairs)
    assert sum(report["written"].values()) == sum(report["removed"].values()) + len(pairs)


def test_writing_stops_when_the_run_is_cancelled() -> None:
    def cancelled(what: str, done: int, total: int) -> None:
        raise RunCancelled

    with pytest.raises(RunCancelled):
        write_queries(CORPUS, {}, Synthetic(passages=5, sources=TEXTS), encode_words, cancelled)
