import re
from collections.abc import Iterator
from io import BytesIO

import pytest
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from app.pages.formats import FILTERS, told
from app.pages.rendering import TEMPLATES, environment
from app.pages.translations import ENGLISH, LANGUAGES, LOCALES, catalog_of, choose_language, translations_of
from retrieval.fusion import weigh_sides

OTHERS = [language for language in LANGUAGES if language != ENGLISH]
MARK = re.compile(r"%\((\w+)\)[sd]")
FUNCTIONS = {"_": None, "gettext": None, "ngettext": (1, 2)}
OPTIONS = {"trimmed": "true", "silent": "false"}


def messages() -> Iterator[tuple[str, str | tuple[str, str]]]:
    """Every message of every template, with the template's name."""
    for path in sorted(TEMPLATES.rglob("*.html")):
        text = BytesIO(path.read_bytes())
        for _, _, message, _ in babel_extract(text, list(FUNCTIONS), [], OPTIONS):
            if message is None or message == (None, None):  # chosen by Python; its own tests see to it
                continue
            name = str(path.relative_to(TEMPLATES))
            single = message if isinstance(message, str) else message[0] if message[1] is None else None
            yield name, single or (message[0], message[1])


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_of_every_template_is_translated(language: str) -> None:
    catalog = catalog_of(language)
    missing = []
    for template, message in messages():
        found = catalog.get(message if isinstance(message, str) else message[0])
        forms = [] if found is None else [found.string] if isinstance(found.string, str) else found.string
        if not forms or not all(forms):
            missing.append((template, message))
    assert missing == []


@pytest.mark.parametrize("language", OTHERS)
def test_translation_names_the_same_values_as_its_message(language: str) -> None:
    for message in catalog_of(language):
        if not message.id:
            continue
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        strings = [message.string] if isinstance(message.string, str) else list(message.string)
        named = set(MARK.findall(ids[-1]))
        for string in strings:
            assert set(MARK.findall(string)) == named, message.id


@pytest.mark.parametrize("language", OTHERS)
def test_no_message_is_translated_twice_in_different_words(language: str) -> None:
    seen: dict[str, tuple[str, object]] = {}
    for path in sorted((LOCALES / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale=language):
                key = message.id if isinstance(message.id, str) else message.id[0]
                if key and key in seen:
                    assert message.string == seen[key][1], (key, path.name, seen[key][0])
                seen[key] = (path.name, message.string)


def test_russian_has_its_three_plurals() -> None:
    plural = translations_of("ru").ngettext
    forms = ("%(shown)s document", "%(shown)s documents")
    shown = [plural(*forms, count) % {"shown": count} for count in (1, 2, 5, 21, 112)]
    assert shown == ["1 документ", "2 документа", "5 документов", "21 документ", "112 документов"]


def test_every_template_can_be_read() -> None:
    for name in environment().list_templates():
        environment().get_template(name)


@pytest.mark.parametrize(
    ("filter_name", "arguments", "english", "russian"),
    [
        ("number", (12345.678, 1), "12,345.7", "12\xa0345,7"),
        ("percent", (0.256,), "26%", "26\xa0%"),
        ("size", (1_500_000,), "1.5 MB", "1,5 MB"),
        ("size", (12,), "12 B", "12 B"),
        ("duration", (0.25,), "250 ms", "250 мс"),
        ("duration", (3600 * 3,), "3 hours", "3 часа"),
    ],
)
def test_numbers_are_written_as_the_language_does(
    filter_name: str, arguments: tuple[float, ...], english: str, russian: str
) -> None:
    write = FILTERS[filter_name]
    assert write({"language": "en"}, *arguments) == english  # type: ignore[operator]
    assert write({"language": "ru"}, *arguments) == russian  # type: ignore[operator]


def test_reasons_for_weights_are_told_in_russian() -> None:
    reasons = weigh_sides(coverage=0.25, code_share=0.5).reasons
    shown = [told({"translations": translations_of("ru")}, reason) for reason in reasons]  # type: ignore[arg-type]
    assert [re.findall(r"\d+%", text) for text in shown] == [["25%"], ["50%"]]
    assert not any(re.search("[a-z]", text) for text in shown)


def test_chosen_language_wins_over_the_browsers() -> None:
    assert choose_language("en", "ru") == "en"
    assert choose_language(None, "de;q=0.9, ru;q=0.8, en;q=0.1") == "ru"
