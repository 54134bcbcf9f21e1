"""What holds for every command."""

import inspect
import json

import pytest
from typer.testing import CliRunner

from app.cli import failures
from app.cli.program import program
from tests.app.documentation import GUIDE, existing_commands

COMMANDS = existing_commands()
# Why a command has no --json.
WITHOUT_JSON = {
    "serve": "runs until it is stopped; FOOTNOTE_LOG_FORMAT=json makes its log one of JSON lines",
    "worker": "runs until it is stopped; FOOTNOTE_LOG_FORMAT=json makes its log one of JSON lines",
    "train decoder": "hands its options to the training program, which writes its figures into its folder",
    "train distil": "hands its options to the training program, which writes its figures into its folder",
    "train classifier": "hands its options to the training program, which writes its figures into its folder",
}


def options(command: str) -> set[str]:
    return {option for parameter in COMMANDS[command].params for option in parameter.opts}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_prints_json_or_says_why_not(command: str) -> None:
    assert ("--json" in options(command)) is (command not in WITHOUT_JSON)


def test_every_exception_is_a_command() -> None:
    assert set(WITHOUT_JSON) <= set(COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_has_a_line_of_help(command: str) -> None:
    assert (COMMANDS[command].help or "").strip()
    silent = [each.name for each in COMMANDS[command].params if not (getattr(each, "help", "") or "").strip()]
    assert silent == []


def test_exit_codes_of_the_guide_are_those_of_the_program() -> None:
    text = (GUIDE / "commands.md").read_text(encoding="utf-8")
    codes = {value for name, value in inspect.getmembers(failures) if name.startswith("EXIT_")}
    for code in {0, *codes}:
        assert f"\n| {code} | " in text, f"commands.md has no row for the exit code {code}"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["serch"], "'search'"),
        (["collections", "lst"], "'list'"),
        (["search", "leeks", "--colection", "notes"], "--collection"),
        (["search", "leeks", "-c", "notes", "--mode", "lexcal"], "'lexical'"),
    ],
)
def test_a_typing_mistake_is_answered_with_what_was_meant(words: list[str], meant: str) -> None:
    result = CliRunner().invoke(program, words)
    assert result.exit_code == failures.EXIT_BAD_INPUT
    assert meant in result.stderr


def test_a_usage_error_is_json_for_programs() -> None:
    result = CliRunner().invoke(program, ["search", "leeks", "--colection", "notes", "--json"])
    assert (result.exit_code, result.stdout) == (failures.EXIT_BAD_INPUT, "")
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "usage"
    assert "--colection" in error["message"]
    assert error["next"].endswith("search --help")
