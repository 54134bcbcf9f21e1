"""The README shows what is there."""

import re

from tests.app.documentation import ROOT, existing_commands, find_fault, local_links, shown_commands

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def test_every_shown_command_exists() -> None:
    assert {" ".join(words): fault for words in shown_commands(README) if (fault := find_fault(words))} == {}


def test_every_first_word_of_a_command_is_shown() -> None:
    first_words = {name.split()[0] for name in existing_commands()}
    assert {word for word in first_words if f"`footnote {word}`" not in TEXT} == set()


def test_links_lead_to_files() -> None:
    assert [target for target in local_links(README) if not (ROOT / target).exists()] == []


def test_every_shown_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = set(re.findall(r"^ {4}make ([a-z-]+)|`make ([a-z-]+)`", TEXT, re.MULTILINE))
    targets = {block or span for block, span in shown}
    assert targets >= {"run", "test", "setup-dev"}
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_first_screen_says_what_it_does_and_how_to_run_it() -> None:
    first_screen = "\n".join(TEXT.splitlines()[:30])
    for part in ("make run", "/v1/collections/guide/answer", "nDCG@10", "Limits"):
        assert part in first_screen


def test_at_most_two_badges() -> None:
    assert TEXT.count("[![") <= 2
