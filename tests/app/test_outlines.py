from app.services.outlines import guess_extracted, pack_outline, restore_extracted
from retrieval.types import ChunkSpan, ExtractedText, Heading, PageSpan

TEXT = "0123456789" * 5


def test_stored_outline_comes_back_as_it_was() -> None:
    pages, headings = (
        (PageSpan(1, 0, 20), PageSpan(2, 20, 50)),
        (Heading(0, 1, "Маяки"), Heading(9, 2, "灯塔")),
    )
    extracted = ExtractedText(TEXT, "application/pdf", None, pages, headings)
    assert restore_extracted(TEXT, "application/pdf", pack_outline(extracted)) == extracted


def test_pages_and_headings_are_read_from_chunks_where_no_outline_was_stored() -> None:
    chunks = [
        ChunkSpan(0, 10, 1, ("Coast",)),
        ChunkSpan(10, 20, 1, ("Coast", "Lights")),
        ChunkSpan(20, 30, 3, ("Coast",)),
        ChunkSpan(30, 50, 3, ("Inland", "Mills")),
    ]
    guessed = guess_extracted(TEXT, "application/pdf", chunks)
    assert guessed.pages == (PageSpan(1, 0, 20), PageSpan(3, 20, 50))
    assert guessed.headings == (
        Heading(0, 1, "Coast"),
        Heading(10, 2, "Lights"),
        Heading(20, 1, "Coast"),
        Heading(30, 1, "Inland"),
        Heading(30, 2, "Mills"),
    )


def test_headings_of_markdown_are_found_again_in_the_text() -> None:
    text = "# Coast\n\nSea.\n\n## Lights\n\nLamp.\n"
    guessed = guess_extracted(text, "text/markdown", [ChunkSpan(0, len(text))])
    assert [(heading.level, heading.title) for heading in guessed.headings] == [(1, "Coast"), (2, "Lights")]
