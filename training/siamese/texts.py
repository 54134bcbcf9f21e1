"""What cleaning looks at in a text: how it is spelled, its markup, its language."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from embeddings.errors import InvalidInput
from generation.scripts import mostly_latin

_TAG = re.compile(
    r"</?(?:a|abbr|article|b|blockquote|body|br|center|code|dd|div|dl|dt|em|font|footer|h[1-6]|head|header|hr|html|"
    r"i|img|li|link|main|meta|nav|ol|p|pre|script|section|small|span|strong|style|sub|sup|table|tbody|td|th|"
    r"thead|title|tr|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
# What generics in code lack: `Pair<A>`, `List<B>`.
_CERTAIN = re.compile(r"</\w|<(?:br|hr|img)\b", re.IGNORECASE)
_BLOCKS = "br, p, div, li, tr, td, th, dt, dd, h1, h2, h3, h4, h5, h6, section, article, blockquote, pre, hr"
_MANY_BLANKS = re.compile(r"[ \t\u00a0]+")
_MANY_LINES = re.compile(r"\s*\n\s*")
_DIGITS = re.compile(r"\d+")
# ISO 639-1, and what the detector calls it.
_CODES = (
    "af:afr am:amh ar:ara az:aze be:bel bg:bul bn:ben ca:cat cs:ces cy:cym da:dan de:deu el:ell en:eng "
    "eo:epo es:spa et:est fa:pes fi:fin fr:fra gu:guj he:heb hi:hin hr:hrv hu:hun hy:hye id:ind it:ita "
    "ja:jpn jv:jav ka:kat km:khm kn:kan ko:kor la:lat lt:lit lv:lav mk:mkd ml:mal mr:mar my:mya nb:nob "
    "ne:nep nl:nld no:nob or:ori pa:pan pl:pol pt:por ro:ron ru:rus si:sin sk:slk sl:slv sn:sna sr:srp "
    "sv:swe ta:tam te:tel th:tha tk:tuk tl:tgl tr:tur uk:ukr ur:urd uz:uzb vi:vie yi:yid zh:cmn zu:zul "
)
_LANGUAGES = {code[:2]: code[3:] for code in _CODES.split()}
_WITHOUT_LATIN = (
    "am ar be bg bn el fa gu he hi hy ja ka km kn ko mk ml mr my ne or pa ru si sr ta te th uk ur yi zh"
)
_OTHER_SCRIPTS = frozenset(_WITHOUT_LATIN.split())
# Above it the detector was wrong for none of 600 short sentences each of English, German, Spanish and
# Chinese, and took 1.3 % of the Russian ones for a neighbouring language.
_CONFIDENCE = 0.5


def normalised(text: str) -> str:
    """What two texts have in common that differ in case and spaces only."""
    return " ".join(text.casefold().split())


def numbers_in(text: str) -> tuple[str, ...]:
    """The numbers of a text: "in 2019" and "in 2020" are near for an encoder and yet two questions."""
    return tuple(_DIGITS.findall(text))


def without_markup(text: str) -> str:
    """The visible text where there are HTML tags, with line breaks between blocks; else the text as it is.

    One tag alone may be what a text is about.
    """
    if len(_TAG.findall(text)) < 2 or not _CERTAIN.search(text):
        return text
    tree = LexborHTMLParser(text)
    tree.strip_tags(["script", "style", "head", "noscript"])
    for node in tree.css(_BLOCKS):
        node.insert_before("\n")
        node.insert_after("\n")
    visible = tree.body.text() if tree.body else ""
    return _MANY_LINES.sub("\n", _MANY_BLANKS.sub(" ", visible)).strip()


def check_languages(languages: Sequence[str]) -> None:
    """Raises InvalidInput for a language that cannot be told from others."""
    if unknown := sorted(set(languages) - _LANGUAGES.keys()):
        raise InvalidInput(
            f"cannot tell the language {unknown[0]!r} from others",
            field="cleaning.languages",
            found=", ".join(unknown),
            expected="ISO 639-1 codes: " + ", ".join(_LANGUAGES),
            next_step="leave languages empty to keep all texts",
        )


def in_languages(text: str, languages: Sequence[str]) -> bool:
    """Whether a text may be in one of these languages; what is too short to tell counts as one."""
    if not _OTHER_SCRIPTS.intersection(languages) and not mostly_latin(text):
        return False
    found = _detected(text)
    return found is None or found in {_LANGUAGES[each] for each in languages}


def _detected(text: str) -> str | None:
    """ISO 639-3; None when it is not clear."""
    extract, config = _detector()
    found = extract(text.encode("utf-8", "ignore"), "text/plain", config=config).detected_languages
    return str(found[0]) if found else None


@lru_cache(maxsize=1)
def _detector() -> tuple[Any, Any]:
    # Imported here: it takes a second, and few runs ask for it.
    from kreuzberg import (  # noqa: PLC0415
        ExtractionConfig,
        LanguageDetectionConfig,
        extract_bytes_sync,
    )

    detection = LanguageDetectionConfig(enabled=True, min_confidence=_CONFIDENCE, detect_multiple=False)
    return extract_bytes_sync, ExtractionConfig(use_cache=False, language_detection=detection)
