"""The guide says what is true: commands, settings, routes, operators and links are those of the code."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from app.asgi import create_app
from app.settings import OTHER_VARIABLES, PREFIX, Settings
from tests.app.documentation import GUIDE, existing_commands, find_fault, local_links, shown_commands

PAGES = sorted(GUIDE.glob("*.md"))
EVERYTHING = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_shown_command_exists(page: Path) -> None:
    faults = {" ".join(words): fault for words in shown_commands(page) if (fault := find_fault(words))}
    assert faults == {}


def test_every_command_is_in_the_guide() -> None:
    missing = [name for name in existing_commands() if f"footnote {name}" not in EVERYTHING]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages(page: Path) -> None:
    assert [target for target in local_links(page) if not (page.parent / target).is_file()] == []


def test_every_page_is_reached_from_the_first() -> None:
    assert set(local_links(GUIDE / "index.md")) == {page.name for page in PAGES} - {"index.md"}


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_every_setting_has_its_row_with_its_default(setting: object) -> None:
    name, default = setting.name, setting.default  # type: ignore[attr-defined]
    row = re.search(rf"^\| `{PREFIX}{name.upper()}` \| ([^|]+) \|", _operate(), re.MULTILINE)
    assert row is not None, f"operate.md has no row for {PREFIX}{name.upper()}"
    in_words = {"threads": "all cores", "encoder": "the bundled encoder", "decoder": "the bundled decoder"}
    shown = in_words.get(name, str(default))
    assert row.group(1).replace("`", "").startswith(shown)


def test_no_row_tells_of_a_setting_that_is_gone() -> None:
    rows = set(re.findall(rf"^\| `({PREFIX}\w+)`", _operate(), re.MULTILINE))
    assert rows == {PREFIX + setting.name.upper() for setting in fields(Settings)}
    assert all(variable in _operate() for variable in OTHER_VARIABLES)


def test_routes_of_the_guide_are_the_routes_of_the_service() -> None:
    shown = set(
        re.findall(r"^\| `([A-Z]+ /\S+)`", (GUIDE / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    paths = create_app(Settings()).openapi_schema.paths or {}
    served = {
        f"{method.upper()} {path}"
        for path, item in paths.items()
        for method in ("get", "post", "put", "patch", "delete")
        if getattr(item, method) is not None
    }
    assert shown == served


def _operate() -> str:
    return (GUIDE / "operate.md").read_text(encoding="utf-8")
