import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embeddings.errors import FootnoteError, TooLarge, Unreadable, UnsupportedFormat
from retrieval.extraction import extract
from retrieval.extraction.containers import check_container
from retrieval.extraction.formats import FileKind
from retrieval.extraction.headings import find_markdown_headings
from retrieval.extraction.office import clean_markdown
from retrieval.extraction.sandbox import Sandbox
from retrieval.types import Heading, PageSpan
from tests.retrieval.documents import (
    make_docx,
    make_epub,
    make_odt,
    make_pdf,
    make_pptx,
    make_xlsx,
    make_zip,
)

FIXTURES = "fixtures_documents"
# What has no text to give, and the words in which that is said.
UNREADABLE_FIXTURES = {
    "empty.txt": "is empty",
    "empty.xlsx": "without text",
    "fake-text-all-whitespace.txt": "only whitespace",
    "password_protected.xlsx": "password",
    "loremipsum-flat.pdf": "no text layer",
    "single_table.pdf": "no text layer",
    "table-multi-row-column-cells.pdf": "no text layer",
}


def test_every_fixture_gives_text_or_its_reason(data_dir: Path) -> None:
    files = sorted(path for path in (data_dir / FIXTURES).rglob("*") if path.is_file())
    assert len(files) > 90
    for path in files:
        reason = UNREADABLE_FIXTURES.get(path.name)
        if reason is None:
            extracted = extract(path.read_bytes(), path.name)
            assert extracted.text.strip(), path
            assert "\ufffd" not in extracted.text, path
            assert "\x00" not in extracted.text, path
            extracted.text.encode()
            ends = [0, *(page.end for page in extracted.pages)]
            assert all(page.start >= end for page, end in zip(extracted.pages, ends, strict=False)), path
        else:
            with pytest.raises(Unreadable, match=reason) as caught:
                extract(path.read_bytes(), path.name)
            assert caught.value.next_step


@pytest.mark.parametrize(
    ("name", "quote"),
    [
        ("pdf/reliance.pdf", "India’s largest company"),
        ("pdf/reliance.pdf", "The Report outlines RIL’s commitment to stakeholder value creation"),
        ("pdf/multi-column-2p.pdf", "relies on efficient passage retrieval to select candidate contexts"),
        ("pdf/multi-column-2p.pdf", "simple dual-encoder framework"),
        ("fake-html-cp1252.html", "Der Preis betrug 15,50 €."),
        ("umlauts-non-utf8.md", "können"),
        ("ideas-page.html", "Knowledge grows fractally. From a distance its edges look smooth"),
        ("factbook-utf-16.xml", "name: United States\ncapital: Washington, DC"),
        ("stanley-cups.csv", "Team: Blues\nLocation: STL\nStanley Cups: 1"),
        ("table-semicolon-delimiter.csv", "Year: 2022\nMonth: 1\nRevenue: 123\nCosts: -123"),
        ("language-docs/eng_spa_mult.doc", "Todos los seres humanos nacen libres"),
        ("winter-sports.epub", "| II. | Rinks and Skaters | 23 |"),
    ],
)
def test_fixture_holds_a_sentence_a_reader_would_quote(data_dir: Path, name: str, quote: str) -> None:
    path = data_dir / FIXTURES / name
    assert quote in extract(path.read_bytes(), path.name).text


def test_markdown_and_text_are_kept_but_for_newlines() -> None:
    source = "# Тест {#id}\r\n\r\n* 一\r\n\ttab  \r\rend\n"
    kept = source.replace("\r\n", "\n").replace("\r", "\n")
    markdown = extract(source.encode(), "a.md")
    assert markdown.text == kept
    assert markdown.headings == (Heading(0, 1, "Тест"),)
    assert (markdown.title, markdown.media_type) == ("Тест", "text/markdown")
    text = extract(source.encode(), "a.txt")
    assert (text.text, text.headings, text.title) == (kept, (), None)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize(
    "text", ["Plain words here.\nMore.", "Где находится музей? Там.", "今天天气 很好。\n是吗 ？\n"]
)
def test_unicode_encodings_are_read_with_and_without_a_mark(encoding: str, text: str) -> None:
    assert extract(text.encode(encoding), "a.txt").text == text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Der Preis für das Frühstück betrug 15,50 €."),
        ("cp1251", "Съешь ещё этих мягких французских булок."),
        ("koi8-r", "Съешь ещё этих мягких французских булок."),
        ("gb18030", "今天天气很好。我们去公园吧！你觉得怎么样？"),
        ("big5", "今天天氣很好。我們去公園吧！你覺得怎麼樣？"),
        ("shift_jis", "今日は天気がいいです。公園へ行きましょう。"),
    ],
)
def test_older_encodings_are_recognised(encoding: str, text: str) -> None:
    assert extract(text.encode(encoding), "a.txt").text == text


def test_utf8_with_broken_bytes_is_refused_and_not_read_as_mojibake() -> None:
    with pytest.raises(Unreadable, match="UTF-8 with a broken sequence at byte 9"):
        extract("Дыра".encode() + b" \xff " + "в середине текста".encode(), "a.txt")


def test_cut_utf16_is_refused() -> None:
    with pytest.raises(Unreadable, match="UTF-16-LE"):
        extract(b"\xff\xfe" + "text".encode("utf-16-le") + b"\x00\xd8", "a.txt")


def test_nul_is_dropped_from_text() -> None:
    assert extract(b"one " * 100 + b"tw\x00o", "a.txt").text.endswith("one two")


@pytest.mark.parametrize(
    ("data", "filename", "found"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "scan.png", "image"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "scan.pdf", "image"),
        (b"\x7fELF\x02\x01" + bytes(50), "a.txt", "program"),
        (b"\x1f\x8b\x08" + bytes(50), "a.md", "archive"),
        (make_zip({"a.txt": "x"}), "a.docx", "ZIP archive"),
        (bytes(range(256)) * 20, "a.bin", "binary"),
    ],
)
def test_what_is_no_text_is_unsupported(data: bytes, filename: str, found: str) -> None:
    with pytest.raises(UnsupportedFormat, match=found) as caught:
        extract(data, filename)
    assert caught.value.found
    assert caught.value.expected
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("data", "filename", "reason"),
    [
        (b"", "a.md", "is empty"),
        (" \n\u00a0\n".encode(), "a.txt", "only whitespace"),
        (b"just words", "a.pdf", "holds plain text"),
        (b"just words", "a.docx", "holds plain text"),
        (make_pdf([["Text"]])[:80], "a.pdf", "broken"),
        (make_pdf([["Text"]], encrypted=True), "a.pdf", "password"),
        (make_pdf([[], []]), "a.pdf", "2 pages and no text layer"),
        (make_docx([("Normal", "Text")])[:-30], "a.docx", "broken ZIP"),
        (make_docx([]), "a.docx", "without text"),
        (make_epub(["<p>Locked</p>"], encrypted=["OPS/c1.xhtml"]), "a.epub", "DRM"),
        (b'{"a": 1,\n "b": }', "a.json", "line 2"),
        (b'{"a": 1}\n{"b"', "a.jsonl", "line 2"),
        (b"[" * 100_000, "a.json", "nested too deeply"),
        (b"<?xml version='1.0'?>\n<a><b></a>", "a.xml", "line 2"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', "a.xml", "entities"),
        (b"<html><body><script>run()</script></body></html>", "a.html", "without text"),
    ],
)
def test_what_holds_no_readable_text_says_why(data: bytes, filename: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason) as caught:
        extract(data, filename)
    assert caught.value.found
    assert caught.value.expected
    assert caught.value.next_step


def test_sizes_are_limited() -> None:
    with pytest.raises(TooLarge, match="11 bytes; the limit is 10"):
        extract(b"eleven char", "a.txt", max_bytes=10)
    with pytest.raises(TooLarge, match="11 characters"):
        extract(b"eleven char", "a.txt", max_text_chars=10)


def test_zip_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = make_zip({"word/document.xml": "0" * 5_000_000})
    assert len(bomb) < 10_000
    with pytest.raises(TooLarge, match="5,000,000 bytes"):
        check_container(bomb, max_unpacked_bytes=1_000_000)


def test_entity_bomb_in_a_document_is_refused() -> None:
    xml = '<!DOCTYPE d [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><d>&b;</d>'
    with pytest.raises(Unreadable, match=r"word/document\.xml declares XML entities"):
        extract(make_zip({"word/document.xml": xml}), "a.docx")


@pytest.mark.parametrize("encoding", ["UTF-9", "gb2312", "base64"])
def test_encoding_that_nobody_knows_neither_fails_nor_hides_entities(encoding: str) -> None:
    xml = f'<?xml version="1.0" encoding="{encoding}"?>%s<d>Peas.</d>'
    check_container(make_zip({"word/document.xml": xml % ""}))
    late = f"<!--{'x' * 70_000}--><!DOCTYPE d [<!ENTITY a 'lol'>]>"
    with pytest.raises(Unreadable, match="declares XML entities"):
        check_container(make_zip({"word/document.xml": xml % late}))


def test_content_decides_over_name_and_claimed_type() -> None:
    assert extract(make_pdf([["Hello there."]]), "notes.txt", "text/plain").media_type == FileKind.PDF
    assert (
        extract(make_docx([("Normal", "Hello.")]), "old.doc", "application/msword").media_type
        == FileKind.DOCX
    )


@pytest.mark.parametrize(
    ("filename", "media_type", "kind"),
    [
        ("page", "text/html; charset=utf-8", FileKind.HTML),
        ("page.md", "text/html", FileKind.MARKDOWN),
        ("page.unknown", None, FileKind.HTML),
        ("page.unknown", "application/octet-stream", FileKind.HTML),
    ],
)
def test_name_counts_before_claimed_type_before_first_bytes(
    filename: str, media_type: str | None, kind: FileKind
) -> None:
    assert extract(b"<!doctype html><p>Hello</p>", filename, media_type).media_type == kind


def test_html_reads_as_a_page_without_its_machinery() -> None:
    page = """<html><head><title>Shop &amp; Co</title><style>p{}</style></head><body><nav>Home</nav>
      <h1>Opening <em>hours</em></h1><p>Open from
      <a href="https://example.org">nine</a><br>to five.</p><script>track()</script>
      <ol><li>Ring<ul><li>twice</li></ul></li><li>Wait</li></ol>
      <table><tr><th>Day</th><th>Until</th></tr><tr><td>Friday</td><td><b>4</b> pm</td></tr></table>
      <pre><code># not a heading
run()</code></pre><img alt="x" src="data:image/png;base64,AAAA"></body></html>"""
    extracted = extract(page.encode(), "a.html")
    assert extracted.text == (
        "# Opening hours\n\nOpen from nine\nto five.\n\n1. Ring\n  - twice\n2. Wait\n\n"
        "| Day | Until |\n| Friday | 4 pm |\n\n```\n# not a heading\nrun()\n```"
    )
    assert extracted.title == "Shop & Co"
    assert extracted.headings == (Heading(0, 1, "Opening hours"),)


def test_layout_tables_fall_into_paragraphs() -> None:
    page = "<table><tr><td>" + "Long words. " * 100 + "<br><br>Next one.</td><td>Side</td></tr></table>"
    assert extract(page.encode(), "a.html").text.endswith("\n\nNext one.\n\nSide")


def test_html_nested_thousands_deep_is_read() -> None:
    assert "deep" in extract(b"<div>" * 5_000 + b"deep", "a.html").text


def test_html_honours_the_encoding_it_declares() -> None:
    page = '<meta charset="cp866"><p>Привет, мир</p>'.encode("cp866")
    assert extract(page, "a.html").text == "Привет, мир"


def test_pdf_has_pages_and_flowing_lines() -> None:
    extracted = extract(
        make_pdf([["A line that runs on", "and on to its end."], [], ["Third page."]]), "a.pdf"
    )
    assert extracted.text == "A line that runs on and on to its end.\n\nThird page."
    assert extracted.pages == (PageSpan(1, 0, 38), PageSpan(3, 40, 51))


def test_docx_headings_become_markdown() -> None:
    extracted = extract(
        make_docx([("Heading1", "Отчёт"), ("Normal", "Всё хорошо."), ("Heading2", "Part")]), "a.docx"
    )
    assert [heading.title for heading in extracted.headings] == ["Отчёт", "Part"]
    assert extracted.headings[0].level < extracted.headings[1].level
    assert extracted.title == "Отчёт"
    assert "\n\nВсё хорошо.\n\n" in extracted.text


def test_slides_are_pages_in_code_points() -> None:
    extracted = extract(make_pptx(["Первый слайд", "第二张幻灯片"]), "a.pptx")
    assert [extracted.text[page.start : page.end].lstrip("# ") for page in extracted.pages] == [
        "Первый слайд",
        "第二张幻灯片",
    ]


def test_other_office_formats_keep_headings_and_rows() -> None:
    assert extract(make_odt("Head", "Text here."), "a.odt").text == "# Head\n\nText here."
    sheet = extract(make_xlsx([["Part", "Count"], ["bolt", "7"]]), "a.xlsx")
    assert (sheet.text, sheet.title) == ("## Stock\n\n| Part | Count |\n| bolt | 7 |", None)
    assert extract(rb"{\rtf1 Some text.}", "a.rtf").text == "Some text."


def test_epub_chapters_come_in_reading_order() -> None:
    book = extract(make_epub(["<h1>One</h1><p>First.</p>", "<h1>Two</h1><p>Second.</p>"]), "a.epub")
    assert book.text == "# One\n\nFirst.\n\n# Two\n\nSecond."
    assert book.title == "The Book"


def test_restructured_text_becomes_markdown() -> None:
    extracted = extract(b"Guide\n=====\n\nUse ``make``.\n\nNext\n----\n\nMore *words*.\n", "a.rst")
    assert [(heading.level, heading.title) for heading in extracted.headings] == [(1, "Guide"), (2, "Next")]
    assert "More words." in extracted.text


def test_csv_rows_become_paragraphs_with_column_names() -> None:
    extracted = extract('имя;лет\n"Анна; мл.";7\n\nИван;8\n'.encode(), "a.csv")
    assert extracted.text == "имя: Анна; мл.\nлет: 7\n\nимя: Иван\nлет: 8"


def test_title_above_a_table_names_the_document_and_no_column() -> None:
    extracted = extract(b"Stock,,\nPart,Count,\nbolt,7,\n", "a.csv")
    assert (extracted.text, extracted.title) == ("Stock\n\nPart: bolt\nCount: 7", "Stock")


def test_csv_of_one_column_is_a_list() -> None:
    assert extract(b"red\ngreen\n", "a.csv").text == "red\n\ngreen"


def test_csv_without_column_names_keeps_the_values() -> None:
    assert extract(b"1,2\n3,4\n", "a.csv").text == "1\n2\n\n3\n4"


def test_json_is_indented_with_letters_and_numbers_as_written() -> None:
    source = rb'{"\u0438\u043c\u044f": "\ud83d\ude00 \\u0041 \"q\"", "price": 19.90}'
    assert extract(source, "a.json").text == '{\n  "имя": "😀 \\\\u0041 \\"q\\"",\n  "price": 19.90\n}'


def test_json_lines_of_another_shape_are_one_document() -> None:
    assert extract(b'{"q": 1}\n\n{"q": 2}\n', "a.jsonl").text == '{\n  "q": 1\n}\n\n{\n  "q": 2\n}'


def test_xml_gives_a_line_for_each_element_with_words() -> None:
    xml = "<a><name>Анна</name><note>One <b>bold</b> word</note><empty/></a>".encode()
    assert extract(xml, "a.xml").text == "name: Анна\nnote: One bold word"


def test_markdown_headings_skip_code_front_matter_and_lists() -> None:
    text = (
        "---\ntitle: x\n---\n# One #\n```py\n# no\n```\nTwo\n===\n- item\n---\n#no\n"
        "~~~~\n```\n## no\n~~~~\n### `Three` [l](u)\n"
    )
    assert [(h.level, h.title) for h in find_markdown_headings(text)] == [
        (1, "One"),
        (1, "Two"),
        (3, "Three l"),
    ]
    assert all(text[h.start] in "#T" for h in find_markdown_headings(text))


def test_converted_markdown_loses_what_a_quote_should_not_show() -> None:
    markdown = (
        "**Bold** [link](<http://x>) a\\*b ![pic](p.png)\n\n"
        "| a |  |\n| --- | --- |\n|  |  |\n```\n\\*keep\\*\n```\n\\-"
    )
    assert clean_markdown(markdown) == "Bold link a*b\n\n| a |\n```\n\\*keep\\*\n```"


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from(["a.md", "a.txt", "a.csv", "a.json", "a.jsonl", "a", "a.docx", "a.pdf"]),
)
def test_any_bytes_give_valid_text_or_an_expected_error(data: bytes, filename: str) -> None:
    try:
        extracted = extract(data, filename)
    except FootnoteError:
        return
    assert extracted.text.strip()
    assert "\x00" not in extracted.text
    extracted.text.encode()


def sandbox_running(program: str) -> Sandbox:
    return Sandbox(max_workers=1, command=(sys.executable, "-c", program))


def test_a_parser_that_hangs_is_stopped_and_the_next_file_is_read() -> None:
    sandbox = sandbox_running("import time; time.sleep(600)")
    for _ in range(2):
        with pytest.raises(Unreadable, match=r"longer than 0\.2 s"):
            sandbox.read(FileKind.PDF, b"x", timeout_s=0.2)


def test_a_parser_that_crashes_fails_its_file_alone() -> None:
    with pytest.raises(Unreadable, match="the parser crashed"):
        sandbox_running("import os; os.abort()").read(FileKind.PDF, b"x" * 10_000_000)


def test_a_worker_is_used_again_and_replaced_once_it_is_gone() -> None:
    sandbox = Sandbox(max_workers=1)
    data = make_odt("Head", "Text.")
    first = sandbox.read(FileKind.ODT, data)
    assert sandbox.read(FileKind.ODT, data) == first
    sandbox.close()
    assert sandbox.read(FileKind.ODT, data) == first
    sandbox.close()
