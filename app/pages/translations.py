"""The languages of the pages. English stands in the templates; the others in `locales/LANGUAGE/*.po`."""

import gettext
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

from babel import negotiate_locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALES = Path(__file__).parent / "locales"
ENGLISH = "en"
# Each in its own words, so that who cannot read the others finds it.
LANGUAGES: Mapping[str, str] = MappingProxyType({ENGLISH: "English", "ru": "Русский"})


@cache
def catalog_of(language: str) -> Catalog:
    """Every message of a language: its files are one catalogue. Raises ValueError for a broken file."""
    merged = Catalog(locale=language)
    for path in sorted((LOCALES / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language, abort_invalid=True):
                if message.id:
                    merged[message.id] = message
    return merged


@cache
def translations_of(language: str) -> gettext.NullTranslations:
    """What turns English messages into a language; English stays as it is."""
    if language == ENGLISH:
        return gettext.NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, catalog_of(language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def choose_language(chosen: str | None, accepted: str) -> str:
    """The language of a page. chosen: by the visitor, if he did; accepted: the header Accept-Language."""
    if chosen is not None and chosen in LANGUAGES:
        return chosen
    wanted = [tag for tag, _ in sorted(_weighted(accepted), key=lambda pair: -pair[1])]
    found = negotiate_locale(wanted, list(LANGUAGES), sep="-")
    return ENGLISH if found is None else found


def _weighted(accepted: str) -> list[tuple[str, float]]:
    """Language tags with their weights, as RFC 9110 writes them; what cannot be read is left out."""
    pairs = []
    for part in accepted.split(",")[:20]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            pairs.append((tag.strip(), float(weight or 1)))
        except ValueError:
            continue
    return [(tag, weight) for tag, weight in pairs if tag and weight > 0]
