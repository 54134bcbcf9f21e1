"""From what a reader wrote, with the passages that it names, to an answer whose every citation is checked."""

import re
from collections.abc import Iterator, Sequence

from generation.citations import CitationList, align, cite
from generation.scripts import CJK
from generation.sentences import Span, split_sentences
from generation.types import Answer, AnswerSentence, AnswerStatus, Citation, Draft, Source

_INSIDE_WORD = re.compile(rf"[^\W{CJK}]{{2}}")


def answer_from_draft(draft: Draft, sources: Sequence[Source], model: str) -> Answer:
    """The answer. sources: those whose numbers the draft's marks name, from 1 on.

    A sentence is cited where its words stand in a source that it names, failing that in any; a mark alone
    cites nothing.
    """
    refused = draft.finish_reason == "refused" or not draft.text.strip()
    citations = CitationList()
    sentences = () if refused else tuple(_sentences(draft, sources, citations))
    return Answer(
        AnswerStatus.NOT_FOUND if refused else AnswerStatus.ANSWERED,
        text=None if refused else draft.text,
        confidence=draft.answer_probability,
        sentences=sentences,
        citations=tuple(citations.citations),
        model=model,
        prompt_tokens=draft.prompt_tokens,
        tokens=draft.tokens,
        finish_reason="length" if draft.finish_reason == "length" else "stop",
        prompt=draft.prompt,
    )


def _sentences(draft: Draft, sources: Sequence[Source], citations: CitationList) -> Iterator[AnswerSentence]:
    for (start, end), numbers in _named(draft):
        text = draft.text[start:end]
        named = [sources[number - 1] for number in numbers if 1 <= number <= len(sources)]
        found = [citation for source in named if (citation := _find(text, [source])) is not None]
        if not found and (elsewhere := _find(text, sources)) is not None:
            found = [elsewhere]
        yield AnswerSentence(text, tuple(dict.fromkeys(map(citations.add, found))))


def _named(draft: Draft) -> Iterator[tuple[Span, list[int]]]:
    """The sentences with the passages that they name. A mark belongs to the sentence that it stands in or
    behind; in front of the first one, to that.

    In a grounded draft a mark ends a stretch of one passage even within a sentence. In free text it doesn't:
    half a sentence may say the contrary of the whole.
    """
    spans = split_sentences(draft.text)
    if draft.grounded:
        spans = [part for span in spans for part in _cut(draft, span)]
    for index, (start, end) in enumerate(spans):
        first = 0 if index == 0 else start + 1
        last = spans[index + 1][0] if index + 1 < len(spans) else len(draft.text)
        yield (start, end), [number for offset, number in draft.marks if first <= offset <= last]


def _cut(draft: Draft, span: Span) -> Iterator[Span]:
    """The span in parts between its marks, without the space around them and without a lone full stop."""
    start, end = span
    offsets = sorted({offset for offset, _ in draft.marks if start < offset < end})
    cuts = [offset for offset in offsets if any(map(str.isalnum, draft.text[offset:end]))]
    for first, last in zip([start, *cuts], [*cuts, end], strict=True):
        piece = draft.text[first:last]
        stripped = piece.strip()
        if stripped:
            begin = first + piece.index(stripped)
            yield begin, begin + len(stripped)


def _find(text: str, sources: Sequence[Source]) -> Citation | None:
    """Where the text stands in a source, character by character and in whole words, failing that word by
    word.
    """
    for source in sources:
        for match in re.finditer(re.escape(text), source.text):
            if not _splits_word(source.text, match.start()) and not _splits_word(source.text, match.end()):
                return cite(source, *match.span(), text)
    return align(text, sources)


def _splits_word(text: str, offset: int) -> bool:
    """Whether letters or digits of one word stand on both sides; a Chinese character is a word."""
    around = text[max(0, offset - 1) : offset + 1]
    return 0 < offset < len(text) and _INSIDE_WORD.fullmatch(around) is not None
