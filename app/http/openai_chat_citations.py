"""Footnotes in the form in which OpenAI's clients read citations of web pages."""

from collections.abc import Iterable
from urllib.parse import urlencode

from app.http.answer_schemas import CitationReply
from app.http.openai_chat_schemas import Annotation, UrlCitation
from app.services.chat_answers import CitedSpan
from generation.types import Citation


def annotations(spans: Iterable[CitedSpan], collection: str, page: str, offset: int) -> list[Annotation]:
    """The spans as annotations. page: address of Footnote's page, with a slash at its end. offset: code
    points of the message before the text that the spans count from.
    """
    return [
        Annotation(
            UrlCitation(
                start_index=offset + span.start,
                end_index=offset + span.end,
                title=span.citation.title or span.citation.document_id,
                url=page_address(page, collection, span.citation),
            ),
            CitationReply.of(span.citation),
        )
        for span in spans
    ]


def page_address(page: str, collection: str, citation: Citation) -> str:
    """Where the page shows the quote in its document: an address in the form that page.js reads."""
    place = {"d": citation.document_id, "v": citation.version, "s": citation.start, "e": citation.end}
    return f"{page}?{urlencode({'c': collection} | place)}"
