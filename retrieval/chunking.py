"""Stored text to chunks: token-sized spans that start and end where a reader would cut.

The text is tokenised sentence by sentence, and dynamic programming chooses the cuts of least cost: at
headings and paragraphs rather than between sentences, in few chunks, none of them tiny.
semantic-text-splitter 0.33 was tried first: it tokenises overlapping spans again and again (6.9 s of CPU
for a megabyte of the FastAPI manual against 1.1 s here), and it rarely overlaps, since what it repeats must
be a whole paragraph or line.
"""

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tokenizers import Tokenizer

from embeddings.errors import InvalidInput
from retrieval.packing import pack_segments
from retrieval.segments import Border, Segment, split_segments, trim
from retrieval.types import ChunkSpan, ExtractedText, Heading

_TINY_TOKENS = 12  # neighbours up to this many tokens count as one segment
_CHARS_PER_TOKEN = (
    16  # a chunk holds at most this many code points a token: WordPiece makes one [UNK] of a long word
)
_SPLIT_PATTERNS = (
    (re.compile(r"\n+"), Border.LINE),
    (re.compile(r"(?<=[,;:—–])\s+|(?<=[，；：、])"), Border.CLAUSE),
    (re.compile(r"\s+"), Border.WORD),
)
_JOINERS = re.compile(r"[\u0300-\u036f\u200d\ufe00-\ufe0f\u20d0-\u20ff\U0001f3fb-\U0001f3ff]")
_SPACE = re.compile(r"\s")
_BATCH = 4_096


class Chunker:
    """Splits text into chunks of at most `max_tokens` tokens of one tokenizer, special tokens not counted."""

    def __init__(self, tokenizer_path: Path, max_tokens: int = 200, overlap_tokens: int = 30) -> None:
        """Load the tokenizer.

        overlap_tokens: at most this many tokens of whole sentences are repeated at the start of a chunk
        that follows another one in the same section. Raises InvalidInput when the sizes don't fit together.
        """
        if max_tokens < 8 or not 0 <= overlap_tokens <= max_tokens // 2:
            raise InvalidInput(
                f"chunks of {max_tokens} tokens with {overlap_tokens} overlapping are not possible",
                field="chunk_max_tokens" if max_tokens < 8 else "chunk_overlap_tokens",
                found=f"max {max_tokens}, overlap {overlap_tokens}",
                expected="max at least 8, overlap from 0 to half of max",
                next_step="change the collection's chunk settings",
            )
        self._tokenizer = Tokenizer.from_file(str(tokenizer_path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._max = max_tokens
        self._overlap = overlap_tokens

    def split(self, extracted: ExtractedText) -> list[ChunkSpan]:
        """Return the chunks in order: `text[start:end]` is the chunk, and all but whitespace is in one."""
        text = extracted.text
        segments = self._sized_segments(text, split_segments(text, extracted.headings))
        spans = [
            (segments[first].start, segments[last].end)
            for first, last in pack_segments(segments, self._max, self._overlap)
        ]
        return _locate(self._fit(text, list(_cut_at_pages(spans, extracted))), extracted)

    def _sized_segments(self, text: str, segments: Sequence[Segment]) -> list[Segment]:
        """Return the segments with token counts, each within a chunk with what is glued before it."""
        sized = self._weigh(
            text, (part for segment in segments for part in self._cut_by_length(segment, text))
        )
        for cut in (*(partial(_cut_at, *how) for how in _SPLIT_PATTERNS), partial(_cut_words, self._max)):
            rooms = _rooms(sized, self._max)
            if all(segment.tokens <= room for segment, room in zip(sized, rooms, strict=True)):
                break
            parts = (
                cut(segment, text) if segment.tokens > room else (segment,)
                for segment, room in zip(sized, rooms, strict=True)
            )
            sized = self._weigh(text, itertools.chain.from_iterable(parts))
        return _join_tiny(sized, self._max)

    def _weigh(self, text: str, segments: Iterable[Segment]) -> list[Segment]:
        """Count the tokens of the segments that are not counted yet; drop the empty ones."""
        weighed = [segment for segment in segments if segment.start < segment.end]
        unknown = [index for index, segment in enumerate(weighed) if not segment.tokens]
        counts = self._count([text[weighed[index].start : weighed[index].end] for index in unknown])
        for index, tokens in zip(unknown, counts, strict=True):
            part = weighed[index]
            weighed[index] = Segment(part.start, part.end, part.border, part.level, tokens)
        return weighed

    def _count(self, texts: Sequence[str]) -> list[int]:
        """Return tokens of each text, or more for text whose words are far longer than any vocabulary's."""
        counts: list[int] = []
        for first in range(0, len(texts), _BATCH):
            batch = list(texts[first : first + _BATCH])
            encodings = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            counts += [
                max(len(encoding.ids), -(-len(text) // _CHARS_PER_TOKEN))
                for encoding, text in zip(encodings, batch, strict=True)
            ]
        return counts

    def _cut_by_length(self, segment: Segment, text: str) -> Iterator[Segment]:
        """Cut what no tokenizer should see in one piece, such as megabytes of base64."""
        limit = self._max * _CHARS_PER_TOKEN
        start, border = segment.start, segment.border
        while segment.end - start > limit:
            end = _whole_character(text, start, start + limit)
            yield _part(segment, text, start, end, border)
            start, border = end, Border.WORD
        yield _part(segment, text, start, segment.end, border)

    def _fit(self, text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Halve the spans above the limit: counts of pieces need not add up in every tokenizer."""
        while True:
            counts = self._count([text[start:end] for start, end in spans])
            excess = {span for span, count in zip(spans, counts, strict=True) if count > self._max}
            if not any(end - start > 1 for start, end in excess):
                return sorted(spans)
            halves = ([*_halves(text, *span)] if span in excess else [span] for span in spans)
            spans = list(itertools.chain.from_iterable(halves))


def _part(segment: Segment, text: str, start: int, end: int, border: Border) -> Segment:
    level = segment.level if start == segment.start else 0
    return trim(Segment(start, end, border, level), text)


def _cut_at(pattern: re.Pattern[str], border: Border, segment: Segment, text: str) -> Iterator[Segment]:
    start, first = segment.start, segment.border
    for match in pattern.finditer(text, segment.start, segment.end):
        if match.end() > start:
            yield _part(segment, text, start, match.end(), first)
            start, first = match.end(), border
    yield _part(segment, text, start, segment.end, first)


def _cut_words(limit: int, segment: Segment, text: str) -> Iterator[Segment]:
    """Cut a word that has more tokens than a chunk may have, between its characters."""
    step = max(1, (segment.end - segment.start) * limit // (2 * segment.tokens))
    start, border = segment.start, segment.border
    while start < segment.end:
        end = _whole_character(text, start, min(start + step, segment.end))
        yield _part(segment, text, start, end, border)
        start, border = end, Border.WORD


def _rooms(segments: Sequence[Segment], max_tokens: int) -> list[int]:
    """Return the tokens each segment may have to share a chunk with the headings right before it."""
    rooms: list[int] = []
    glued = 0
    for segment in segments:
        glued = glued if segment.border is Border.GLUE else 0
        rooms.append(max_tokens - glued if glued <= max_tokens // 2 else max_tokens)
        glued += segment.tokens
    return rooms


def _join_tiny(segments: Sequence[Segment], limit: int) -> list[Segment]:
    """Join headings with what they govern, and neighbours of a few tokens, so that fewer cuts are weighed."""
    room = {Border.GLUE: limit // 2, Border.SECTION: 0, Border.BLOCK: _TINY_TOKENS // 2}
    groups: list[list[Segment]] = []
    tokens = 0
    for segment in segments:
        tokens += segment.tokens
        if groups and tokens <= room.get(segment.border, _TINY_TOKENS):
            groups[-1].append(segment)
        else:
            groups.append([segment])
            tokens = segment.tokens
    return [group[0] if len(group) == 1 else _joined(group) for group in groups]


def _joined(group: Sequence[Segment]) -> Segment:
    first = group[0]
    return Segment(first.start, group[-1].end, first.border, first.level, sum(part.tokens for part in group))


def _whole_character(text: str, start: int, end: int) -> int:
    """Return `end`, or a little before it where it would part a letter or an emoji from its marks."""
    for candidate in range(end, max(start, end - 8), -1):
        if candidate >= len(text):
            return candidate
        joined = _JOINERS.match(text[candidate]) or text[candidate - 1] == "\u200d"
        if not joined:
            return candidate
    return end


def _halves(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut near the middle, at whitespace when some is there."""
    middle = max(start + 1, (start + end) // 2)
    space = _SPACE.search(text, middle, end)
    cut = space.start() if space else _whole_character(text, start, middle)
    for half in (Segment(start, cut, Border.WORD), Segment(cut, end, Border.WORD)):
        trimmed = trim(half, text)
        if trimmed.start < trimmed.end:
            yield trimmed.start, trimmed.end


def _cut_at_pages(spans: Sequence[tuple[int, int]], extracted: ExtractedText) -> Iterator[tuple[int, int]]:
    """Cut the spans where a page starts, so that every citation in a chunk has the chunk's page number."""
    page_starts = [page.start for page in extracted.pages]
    for start, end in spans:
        inside = page_starts[bisect_right(page_starts, start) : bisect_left(page_starts, end)]
        for left, right in itertools.pairwise([start, *inside, end]):
            part = trim(Segment(left, right, Border.BLOCK), extracted.text)
            if part.start < part.end:
                yield part.start, part.end


def _locate(spans: Sequence[tuple[int, int]], extracted: ExtractedText) -> list[ChunkSpan]:
    """Give each span its page and the headings that govern all of its text."""
    pages = extracted.pages
    page_starts = [page.start for page in pages]
    outline = _Outline(extracted)
    chunks: list[ChunkSpan] = []
    for start, end in spans:
        page = bisect_right(page_starts, start)
        chunks.append(
            ChunkSpan(start, end, pages[page - 1].number if page else None, outline.path(start, end))
        )
    return chunks


class _Outline:
    """The headings of a document and the path of titles down to each."""

    def __init__(self, extracted: ExtractedText) -> None:
        self._text = extracted.text
        self._headings = sorted(extracted.headings, key=lambda heading: heading.start)
        self._starts = [heading.start for heading in self._headings]
        self._paths = list(_heading_paths(self._headings))

    def path(self, start: int, end: int) -> tuple[str, ...]:
        """Return the titles, top first, that all text of the span stands under."""
        governing = bisect_right(self._starts, start) - 1
        last = bisect_right(self._starts, end - 1)
        inside = range(governing, last)
        under = [self._path(index) for index in inside if self._has_text(index, start, end)]
        return _common_path(under or [self._path(governing)])

    def _path(self, index: int) -> tuple[str, ...]:
        return self._paths[index] if index >= 0 else ()

    def _has_text(self, index: int, start: int, end: int) -> bool:
        """Tell whether text stands between this heading and the next; over a first section none does."""
        begin = start
        if index >= 0 and self._starts[index] >= start:
            newline = self._text.find("\n", self._starts[index], end)
            begin = newline if newline >= 0 else end
        following = self._starts[index + 1] if index + 1 < len(self._starts) else end
        return bool(self._text[begin : min(following, end)].strip())


def _common_path(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the titles that all paths start with."""
    shared = itertools.takewhile(lambda titles: len(set(titles)) == 1, zip(*paths, strict=False))
    return tuple(titles[0] for titles in shared)


def _heading_paths(headings: Sequence[Heading]) -> Iterator[tuple[str, ...]]:
    """Yield the titles from the top heading down to each heading."""
    open_headings: list[Heading] = []
    for heading in headings:
        while open_headings and open_headings[-1].level >= heading.level:
            open_headings.pop()
        open_headings.append(heading)
        yield tuple(parent.title for parent in open_headings)
