import pytest

from generation.citations import CitationList, align, cite
from generation.types import Citation, Source

DOCUMENT = "Title. The war (1754–1763) was long. It ended in Paris, 😀 after the treaty. Nobody won it."


def source(text: str = DOCUMENT, start: int = 0, document_id: str = "war") -> Source:
    return Source(document_id, 3, start, start + len(text), text, title="The War", page=7)


def quoted(citation: Citation | None) -> str | None:
    return citation and citation.quote


def test_a_citation_gives_offsets_in_the_document_not_in_the_chunk() -> None:
    chunk = source(DOCUMENT[7:], start=7)
    start = chunk.text.index("1754")
    citation = cite(chunk, start, start + 9, "1754–1763")
    assert citation is not None
    assert DOCUMENT[citation.start : citation.end] == citation.quote == "1754–1763"
    assert (citation.document_id, citation.version, citation.title, citation.page) == ("war", 3, "The War", 7)


@pytest.mark.parametrize(
    ("start", "end", "quote"),
    [
        (0, 5, "title"),
        (0, 5, "Title."),
        (1, 6, "Title"),
        (-1, 1, ""),
        (3, 3, ""),
        (-6, -1, DOCUMENT[-6:-1]),
        (len(DOCUMENT) - 2, len(DOCUMENT) + 1, "t."),
    ],
)
def test_a_quote_that_is_not_at_its_offsets_is_not_cited(start: int, end: int, quote: str) -> None:
    assert cite(source(), start, end, quote) is None


def test_a_source_whose_text_does_not_fit_its_span_is_refused() -> None:
    with pytest.raises(ValueError, match="holds 3 code points, its text 4"):
        Source("war", 1, 0, 3, "four")


def test_words_in_order_are_found_whatever_their_case_and_punctuation() -> None:
    assert quoted(align("the WAR, 1754-1763", [source()])) == "The war (1754–1763"
    assert quoted(align("Paris after the treaty!", [source()])) == "Paris, 😀 after the treaty"


def test_a_sentence_with_the_same_words_in_another_order_is_near_enough() -> None:
    assert (
        quoted(align("After a treaty it ended in Paris.", [source()]))
        == "It ended in Paris, 😀 after the treaty."
    )


@pytest.mark.parametrize(
    "sentence",
    [
        "It ended in London.",
        "It ended in Paris in 1763.",
        "The war was not long.",
        "The war was long, long.",
        "…",
    ],
)
def test_one_word_that_the_source_lacks_leaves_a_sentence_unsupported(sentence: str) -> None:
    assert align(sentence, [source()]) is None


def test_words_of_two_sentences_support_nothing() -> None:
    assert align("The war ended.", [source()]) is None


def test_an_exact_match_in_a_later_source_comes_before_a_near_one() -> None:
    near, exact = source("In Paris it ended."), source("So it ended in Paris.", document_id="exact")
    citation = align("it ended in Paris", [near, exact])
    assert citation is not None
    assert citation.document_id == "exact"


def test_chinese_and_russian_sentences_are_aligned() -> None:
    assert quoted(align("戰爭在巴黎結束", [source("後來，戰爭在巴黎結束。")])) == "戰爭在巴黎結束"
    assert align("戰爭在倫敦結束", [source("後來，戰爭在巴黎結束。")]) is None
    assert (
        quoted(align("война закончилась в Париже", [source("Война закончилась в Париже.")]))
        == "Война закончилась в Париже"
    )


def test_the_same_span_keeps_its_number_and_another_gets_the_next() -> None:
    first, second = cite(source(), 0, 5, "Title"), cite(source(), 7, 10, "The")
    assert first is not None
    assert second is not None
    citations = CitationList()
    assert [citations.add(item) for item in (first, second, first)] == [1, 2, 1]
    assert [(item.number, item.quote) for item in citations.citations] == [(1, "Title"), (2, "The")]
