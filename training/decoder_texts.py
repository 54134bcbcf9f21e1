"""Running English text under an open licence, cut to pieces of whole sentences.

Questions without an annotator are made from it (`decoder_spans`).

Development and test files stay out; so do the sets without an open licence (policyqa, cacm, cranfield).
"""

import gzip
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from generation.sentences import split_sentences
from training.decoder_recipe import HELD_OUT_GROUPS

# With the articles of the development sets, which other sets hold too.
HELD_OUT_ARTICLES = HELD_OUT_GROUPS | {
    *("French_and_Indian_War", "Islamism", "Newcastle_upon_Tyne", "Victoria_(Australia)", "Statue_of_Liberty")
}
MAX_CHARACTERS = 1100
MIN_CHARACTERS = 200
QA_SETS = ("squad", "nq_gold", "fairytaleqa")
SELQA_FILES = ("selqa/dev.jsonl.gz", "selqa/test.jsonl.gz")
MANUALS = {
    "docs_rust_book": ("rust_book_md.tar.gz", "src/"),
    "docs_fastapi": ("fastapi_docs_md.tar.gz", "docs/en/"),
}
# Of these sets one group in so many is read: medical text would be two thirds of everything.
KEPT_ONE_IN = {"medquad": 3, "scifact": 2}
SOURCES = ("medquad", "scifact", *QA_SETS, "selqa", *MANUALS)

# A list of symptoms with percentages follows these words, not sentences.
_PHENOTYPES = re.compile(r"The Human Phenotype Ontology.*", re.DOTALL)
_SUMMARY_LABEL = re.compile(r"\A(?:Summary\s*:|Key Points\b)\s*")
_BLOCKS = re.compile(
    r"\A---\n.*?\n---\n"  # front matter
    r"|^[ \t]*(?P<fence>`{3,}|~{3,}).*?^[ \t]*(?P=fence)`*[ \t]*$"
    r"|<!--.*?-->|<style.*?</style>|<script.*?</script>"
    r"|\{\{#.*?\}\}|^\{\*.*?\*\}[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_LINES = re.compile(r"^[ \t]*(?:#{1,6}[ \t].*|///.*|\|.*|\[[^\]]+\]:.*|!!!.*|={3,}|-{3,})$", re.MULTILINE)
_IMAGE = re.compile(r"!\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\](?:\([^)\s]*(?:\s+\"[^\"]*\")?\)|\[[^\]]*\])(?:\{[^}]*\})?")
_TAG = re.compile(r"<span class=\"(?:filename|caption)\">.*?</span>|</?[a-zA-Z][^<>]*>", re.DOTALL)
_EMPHASIS = re.compile(
    r"\*\*|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|`+|[\U0001F300-\U0001FAFF\u2728\u2705\u26a0\ufe0f]"
)
_ITEM = re.compile(r"^[ \t]*(?:[-*+>]|\d{1,3}[.)])[ \t]+", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n\s*\n")
_WRAPPED = re.compile(r"(?<!\n)\n(?!\n|- )")
_INNER_SPACE = re.compile(r"[^\S\n]+")


def raw_texts(data: Path) -> Iterator[tuple[str, str]]:
    """(group, text) pairs: text of 200 to 1,100 characters in whole sentences, no two alike.

    group is the article, story, page or illness that the text is about. Raises FileNotFoundError where a set
    is missing from the folder `data`.
    """
    for _, group, text in sourced_texts(data):
        yield group, text


def sourced_texts(data: Path) -> Iterator[tuple[str, str, str]]:
    """`raw_texts` with the name of the set in front."""
    texts: set[str] = set()
    pieces: set[str] = set()
    for source in SOURCES:
        for group, text in _whole_texts(data, source):
            if group.replace(" ", "_") in HELD_OUT_ARTICLES or not _is_new(text, texts):
                continue
            if zlib.crc32(group.encode()) % KEPT_ONE_IN.get(source, 1) == 0:
                yield from ((source, group, piece) for piece in cut(text) if _is_new(piece, pieces))


def cut(text: str) -> Iterator[str]:
    """Runs of whole sentences of 200 to 1,100 characters; a longer sentence is left out."""
    text = _INNER_SPACE.sub(" ", text).strip()
    start = end = 0
    for first, last in [*split_sentences(text), (len(text) + MAX_CHARACTERS, 0)]:
        if max(first, last) - start > MAX_CHARACTERS:
            if MIN_CHARACTERS <= end - start <= MAX_CHARACTERS:
                yield text[start:end]
            start = first
        end = last


def _is_new(text: str, seen: set[str]) -> bool:
    key = " ".join(text.casefold().split())
    if key in seen:
        return False
    seen.add(key)
    return True


def _whole_texts(data: Path, source: str) -> Iterator[tuple[str, str]]:
    if source in MANUALS:
        archive, folder = MANUALS[source]
        yield from _manual_pages(data / source / archive, folder)
    elif source == "medquad":
        for row in _rows(data / "medquad/medquad.jsonl.gz"):
            yield row["focus"] or row["_id"], _medical_prose(row)
    elif source == "scifact":
        yield from ((row["title"], row["text"]) for row in _rows(data / "scifact/corpus.jsonl.gz"))
    elif source == "selqa":
        for name in SELQA_FILES:
            yield from ((row["article"], " ".join(row["candidates"])) for row in _rows(data / name))
    else:
        yield from ((row["title"], row["context"]) for row in _rows(data / source / "train.jsonl.gz"))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _medical_prose(row: dict[str, Any]) -> str:
    """The answer without the question that some of the answers repeat and without tables of symptoms."""
    text: str = _SUMMARY_LABEL.sub("", _PHENOTYPES.sub("", row["answer"] or "")).strip()
    head, mark, tail = text.partition("?")
    return tail.strip() if mark and head.startswith(("What ", "How ", "Is ", "Who ")) else text


def _manual_pages(archive: Path, folder: str) -> Iterator[tuple[str, str]]:
    with tarfile.open(archive) as pages:
        for member in pages:
            file = pages.extractfile(member) if _is_page(member.name, folder) else None
            if file is not None:
                yield member.name.removesuffix(".md"), plain_prose(file.read().decode("utf-8"))


def _is_page(name: str, folder: str) -> bool:
    return name.startswith(folder) and name.endswith(".md") and "release-notes" not in name


def plain_prose(markdown: str) -> str:
    """The sentences of a Markdown page: no code blocks, tables, headings, comments, tags or link targets."""
    text = _LINES.sub("", _BLOCKS.sub("", markdown))
    text = _LINK.sub(r"\1", _IMAGE.sub("", text))
    text = _EMPHASIS.sub("", _ITEM.sub("- ", _TAG.sub("", text)))
    return _WRAPPED.sub(" ", _BLANK_LINES.sub("\n\n", text)).strip()
