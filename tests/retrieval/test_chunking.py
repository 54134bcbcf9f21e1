from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from embeddings.errors import InvalidInput
from retrieval.chunking import Chunker
from retrieval.extraction.headings import find_markdown_headings
from retrieval.types import ChunkSpan, ExtractedText, Heading, PageSpan

TOKENIZER = Path(__file__).resolve().parents[2] / "embeddings" / "bundled" / "tokenizer.json"
COUNTER = Tokenizer.from_file(str(TOKENIZER))
COUNTER.no_truncation()
SMALL = Chunker(TOKENIZER, max_tokens=24, overlap_tokens=6)


def count_tokens(texts: list[str]) -> list[int]:
    return [len(encoding.ids) for encoding in COUNTER.encode_batch(texts, add_special_tokens=False)]


def markdown(text: str) -> ExtractedText:
    return ExtractedText(text, "text/markdown", headings=find_markdown_headings(text))


def plain(text: str) -> ExtractedText:
    return ExtractedText(text, "text/plain")


def texts(document: ExtractedText, chunks: list[ChunkSpan]) -> list[str]:
    return [document.text[chunk.start : chunk.end] for chunk in chunks]


def sentences(subject: str, count: int) -> str:
    return " ".join(f"The {subject} number {n} is kept in the north hall." for n in range(count))


# Text as it comes: words and marks of several scripts, newlines of both kinds, and anything else Unicode has.
PIECES = st.one_of(
    st.sampled_from(
        [
            *(
                "\n",
                "\r\n",
                "\n\n",
                " ",
                "\t",
                "# Title\n",
                "## Part\n",
                "```\n",
                "- item\n",
                "| a | b |\n",
                "> quote\n",
            ),
            *(
                "Hello world. ",
                "Конец. Начало! ",
                "今天天气很好。",
                "是吗？",
                "e\u0301\u0301\u0301",
                "👩\u200d👩\u200d👧",
                "🏳️‍🌈",
            ),
            *("x" * 130, "supercalifragilistic " * 3, "\u2028", "\u00a0", "\x1f", "a,b;c:d ", "…", "..."),
        ]
    ),
    st.text(max_size=30),
)
DOCUMENTS = st.lists(PIECES, max_size=60).map("".join)


@settings(deadline=None, max_examples=150)
@given(DOCUMENTS)
def test_chunks_cover_everything_in_order_within_the_limit(text: str) -> None:
    chunks = SMALL.split(markdown(text))
    covered = set[int]()
    for chunk in chunks:
        piece = text[chunk.start : chunk.end]
        assert piece
        assert piece == piece.strip()
        covered.update(range(chunk.start, chunk.end))
    assert all(index in covered for index, character in enumerate(text) if not character.isspace())
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(set(starts))
    assert all(tokens <= 24 for tokens in count_tokens([text[c.start : c.end] for c in chunks]))


def test_empty_and_blank_text_have_no_chunks() -> None:
    assert SMALL.split(plain("")) == []
    assert SMALL.split(plain(" \n\u3000\n")) == []


def test_short_text_is_one_chunk_without_its_outer_whitespace() -> None:
    assert SMALL.split(plain("\n  One line.  \n")) == [ChunkSpan(3, 12)]


def test_each_section_of_some_length_starts_a_chunk() -> None:
    text = f"# Guide\n\n## Install\n\n{sentences('pump', 4)}\n\n## Use\n\n{sentences('valve', 4)}\n"
    document = markdown(text)
    chunks = Chunker(TOKENIZER, max_tokens=100, overlap_tokens=20).split(document)
    assert [chunk.heading_path for chunk in chunks] == [("Guide", "Install"), ("Guide", "Use")]
    assert texts(document, chunks)[-1].startswith("## Use\n\nThe valve number 0")


def test_small_sections_share_a_chunk_under_the_heading_they_have_in_common() -> None:
    document = markdown("# Keys\n\n## Red\n\nOpens one.\n\n## Blue\n\nOpens two.\n")
    (chunk,) = Chunker(TOKENIZER, max_tokens=100).split(document)
    assert chunk.heading_path == ("Keys",)


def test_a_heading_is_never_left_alone_at_the_end_of_a_chunk() -> None:
    parts = [f"## Part {n}\n\n{sentences('lamp', 1 + n % 3)}" for n in range(12)]
    document = markdown("\n\n".join(parts))
    chunks = Chunker(TOKENIZER, max_tokens=40, overlap_tokens=10).split(document)
    assert not any(text.splitlines()[-1].startswith("#") for text in texts(document, chunks))


def test_heading_path_follows_the_levels() -> None:
    filler = sentences("book", 3)
    text = f"# A\n\n{filler}\n\n### B\n\n{filler}\n\n## C\n\n{filler}\n\n# D\n\n{filler}"
    chunks = Chunker(TOKENIZER, max_tokens=50, overlap_tokens=0).split(markdown(text))
    assert [chunk.heading_path for chunk in chunks] == [("A",), ("A", "B"), ("A", "C"), ("D",)]


def test_hash_lines_in_code_do_not_cut_or_head_a_chunk() -> None:
    text = "# Shell\n\nRun this:\n\n```sh\n# not a heading\nmake all\n```\n"
    document = markdown(text)
    (chunk,) = Chunker(TOKENIZER, max_tokens=60).split(document)
    assert chunk.heading_path == ("Shell",)
    assert texts(document, [chunk])[0].endswith("make all\n```")


@pytest.mark.parametrize(
    ("text", "endings"),
    [
        ("今天天气很好。我们去公园吧！你觉得怎么样？这里有很多树。" * 8, "。！？"),
        ("Сегодня хорошая погода. Пойдём в парк! Что ты думаешь? Здесь много деревьев. " * 6, ".!?"),
        ("The weather is fine today. Let us go to the park! What do you think? There are trees. " * 6, ".!?"),
    ],
)
def test_chunks_end_with_sentences_in_each_language(text: str, endings: str) -> None:
    document = plain(text)
    chunks = Chunker(TOKENIZER, max_tokens=60, overlap_tokens=10).split(document)
    assert len(chunks) > 2
    assert all(piece[-1] in endings for piece in texts(document, chunks))
    assert all(chunk.start == 0 or text[: chunk.start].rstrip()[-1] in endings for chunk in chunks)


def test_abbreviations_initials_and_list_numbers_end_no_sentence() -> None:
    document = plain("Dr. Smith met J. Brown, i.e. The Boss, at 5 p.m. sharp. " * 12)
    chunks = Chunker(TOKENIZER, max_tokens=48, overlap_tokens=0).split(document)
    assert all(piece.startswith("Dr. Smith") for piece in texts(document, chunks))


def test_neighbours_overlap_by_whole_sentences_within_the_limit() -> None:
    document = plain(sentences("chair", 20))
    chunks = Chunker(TOKENIZER, max_tokens=60, overlap_tokens=20).split(document)
    for before, after in pairwise(chunks):
        shared = document.text[after.start : before.end]
        assert shared.startswith("The chair number")
        assert shared.endswith("hall.")
        assert 0 < count_tokens([shared])[0] <= 20


def test_no_overlap_across_a_heading() -> None:
    document = markdown(f"# One\n\n{sentences('coin', 4)}\n\n# Two\n\n{sentences('note', 4)}")
    chunks = Chunker(TOKENIZER, max_tokens=60, overlap_tokens=20).split(document)
    second = document.text.index("# Two")
    assert second in [chunk.start for chunk in chunks]
    assert not any(chunk.start < second < chunk.end for chunk in chunks)


def test_the_rest_of_a_text_is_not_left_as_a_tiny_chunk() -> None:
    document = plain(sentences("stone", 13))
    for max_tokens in (50, 62, 74, 86):
        pieces = texts(document, Chunker(TOKENIZER, max_tokens=max_tokens, overlap_tokens=0).split(document))
        assert min(count_tokens(pieces)) >= max_tokens // 4


def test_list_and_code_stay_with_the_line_that_opens_them() -> None:
    document = markdown(
        f"{sentences('tool', 4)}\n\nYou need these:\n\n- a hammer\n- a saw\n\n{sentences('nail', 4)}"
    )
    chunks = Chunker(TOKENIZER, max_tokens=60, overlap_tokens=0).split(document)
    assert not any(piece.endswith("You need these:") for piece in texts(document, chunks))


def test_no_chunk_crosses_a_page_even_inside_a_sentence() -> None:
    text = "The oak stands in the yard. The elm stands\non the hill. The ash is gone."
    border = text.index("on the hill")
    document = ExtractedText(
        text, "application/pdf", pages=(PageSpan(1, 0, border), PageSpan(2, border, len(text)))
    )
    chunks = SMALL.split(document)
    assert {chunk.page for chunk in chunks} == {1, 2}
    for chunk in chunks:
        assert chunk.end <= border if chunk.page == 1 else chunk.start >= border


def test_page_is_the_one_a_chunk_starts_on() -> None:
    pages = [sentences("leaf", 3), sentences("root", 3)]
    text = "\n\n".join(pages)
    spans = (PageSpan(1, 0, len(pages[0])), PageSpan(4, len(pages[0]) + 2, len(text)))
    document = ExtractedText(text, "application/pdf", pages=spans)
    chunks = Chunker(TOKENIZER, max_tokens=50, overlap_tokens=0).split(document)
    assert [(chunk.page, text[chunk.start :][:8]) for chunk in chunks] == [(1, "The leaf"), (4, "The root")]


def test_headings_of_an_outline_need_no_marks_in_the_text() -> None:
    text = f"Preface\n{sentences('page', 3)}\n\nBody\n{sentences('line', 3)}"
    headings = (Heading(0, 1, "Preface"), Heading(text.index("Body"), 1, "Body"))
    document = ExtractedText(text, "application/pdf", headings=headings)
    chunks = Chunker(TOKENIZER, max_tokens=50, overlap_tokens=0).split(document)
    assert [chunk.heading_path for chunk in chunks] == [("Preface",), ("Body",)]


def test_megabytes_without_a_space_are_cut_by_length() -> None:
    text = "a" * 300_000 + " end"
    chunks = Chunker(TOKENIZER, max_tokens=200).split(plain(text))
    assert chunks[-1].end == len(text)
    assert max(chunk.end - chunk.start for chunk in chunks) <= 200 * 16


def test_emoji_families_and_accents_are_not_parted() -> None:
    text = "👩\u200d👩\u200d👧" * 200
    for chunk in Chunker(TOKENIZER, max_tokens=16, overlap_tokens=0).split(plain(text)):
        assert text[chunk.start] != "\u200d"
        assert text[chunk.end - 1] != "\u200d"


@pytest.mark.parametrize(
    ("max_tokens", "overlap", "field"), [(7, 0, "max"), (100, 51, "overlap"), (100, -1, "overlap")]
)
def test_sizes_that_do_not_fit_together_are_refused(max_tokens: int, overlap: int, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Chunker(TOKENIZER, max_tokens=max_tokens, overlap_tokens=overlap)
    assert caught.value.field == f"chunk_{field}_tokens"
