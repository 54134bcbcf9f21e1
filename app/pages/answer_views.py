"""Hits and answers as the templates show them. Offsets are code points, as Python's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from app.pages.formats import reflow
from app.services.types import AnswerOutput, Hit
from generation.types import AnswerSentence, Citation

SHORT_QUOTE = 60  # characters; a longer quote is shown alone
MAX_SHOWN = 1500  # characters of a hit: neighbours that were merged can be a whole document
AROUND = 70  # characters on each side of a short one


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text; marked: it is quoted by the answer."""

    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class HitView:
    """A hit with its quotes marked. where: the headings above it without the title; address: the reader's."""

    hit: Hit
    title: str
    where: tuple[str, ...]
    pieces: tuple[Piece, ...]
    address: str


@dataclass(frozen=True, slots=True)
class Footnote:
    """A citation with the words of its line that stand around a short quote."""

    citation: Citation
    title: str
    before: str
    quote: str
    after: str
    address: str

    @property
    def place(self) -> tuple[str, int, int, int]:
        """Where it stands, as a verdict names it."""
        return self.citation.document_id, self.citation.version, self.citation.start, self.citation.end


@dataclass(frozen=True, slots=True)
class SentenceView:
    """A sentence and what stands between it and the one before. notes: that it stands on."""

    gap: str
    text: str
    notes: tuple[Footnote, ...]


@dataclass(frozen=True, slots=True)
class AnswerView:
    """An answer with its footnotes. rest: of the answer's text, after its last sentence."""

    output: AnswerOutput
    sentences: tuple[SentenceView, ...]
    rest: str
    notes: tuple[Footnote, ...]


def reader_address(collection: str, document_id: str, version: int, start: int, end: int) -> str:
    """Where a document is read at a span. The slashes of an id stay, as people write them."""
    span = urlencode({"v": version, "s": start, "e": end})
    return f"/collections/{quote(collection, safe='')}/documents/{quote(document_id, safe='/')}?{span}#span"


def hit_views(collection: str, hits: Sequence[Hit], citations: Sequence[Citation] = ()) -> list[HitView]:
    """The hits, with what the citations quote of them marked."""
    return [_hit_view(collection, hit, citations) for hit in hits]


def answer_view(collection: str, output: AnswerOutput) -> AnswerView:
    """The answer as a page shows it."""
    hits, answer = output.search.hits, output.answer
    notes = tuple(_footnote(collection, citation, hits) for citation in answer.citations)
    sentences, end = [], 0
    for sentence in answer.sentences:
        view, end = _sentence_view(sentence, answer.text or "", end, notes)
        sentences.append(view)
    return AnswerView(output, tuple(sentences), (answer.text or "")[end:], notes)


def _sentence_view(
    sentence: AnswerSentence, text: str, end: int, notes: Sequence[Footnote]
) -> tuple[SentenceView, int]:
    """The sentence, and where it ends in the answer's text."""
    start = max(text.find(sentence.text, end), end)
    own = tuple(note for note in notes if note.citation.number in sentence.citations)
    return SentenceView(text[end:start], sentence.text, own), start + len(sentence.text)


def _hit_view(collection: str, hit: Hit, citations: Sequence[Citation]) -> HitView:
    title = hit.title or hit.document_id
    quoted = sorted((citation.start, citation.end) for citation in citations if _holds(hit, citation))
    return HitView(
        hit,
        title,
        tuple(heading for heading in hit.heading_path if heading != title),
        tuple(_pieces(_shown(hit, quoted), [(start - hit.start, end - hit.start) for start, end in quoted])),
        reader_address(collection, hit.document_id, hit.version, hit.start, hit.end),
    )


def _shown(hit: Hit, quoted: Sequence[tuple[int, int]]) -> str:
    """As much of a hit as a page has room for, and all that is quoted of it."""
    last = max([MAX_SHOWN, *(end - hit.start for _, end in quoted)])
    return reflow(hit.text if len(hit.text) <= last else hit.text[:last] + " …")


def _pieces(text: str, marks: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    at = 0
    for start, end in marks:
        first = max(start, at)
        if end <= first:
            continue
        yield Piece(text[at:first])
        yield Piece(text[first:end], marked=True)
        at = end
    yield Piece(text[at:])


def _footnote(collection: str, citation: Citation, hits: Sequence[Hit]) -> Footnote:
    before, after = _around(citation, hits)
    return Footnote(
        citation,
        citation.title or citation.document_id,
        before,
        reflow(citation.quote),
        after,
        reader_address(collection, citation.document_id, citation.version, citation.start, citation.end),
    )


def _around(citation: Citation, hits: Sequence[Hit]) -> tuple[str, str]:
    """A short quote says little alone: the words of its own line that stand before and after it."""
    hit = next((hit for hit in hits if _holds(hit, citation)), None)
    if hit is None or len(citation.quote) > SHORT_QUOTE:
        return "", ""
    text = reflow(hit.text)
    before = text[: citation.start - hit.start].rpartition("\n")[2]
    after = text[citation.end - hit.start :].partition("\n")[0]
    return _cut_start(before), _cut_end(after)


def _cut_start(text: str) -> str:
    if len(text) <= AROUND:
        return text
    kept = text[-AROUND:]
    return "… " + (kept.split(maxsplit=1)[1] if " " in kept.strip() else kept)


def _cut_end(text: str) -> str:
    if len(text) <= AROUND:
        return text
    kept = text[:AROUND]
    return (kept.rsplit(maxsplit=1)[0] if " " in kept.strip() else kept) + " …"


def _holds(hit: Hit, citation: Citation) -> bool:
    same = (citation.document_id, citation.version) == (hit.document_id, hit.version)
    return same and citation.start >= hit.start and citation.end <= hit.end
