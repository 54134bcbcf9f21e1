"""The Tab key, as bash, zsh and fish ask."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.program import program
from tests.app.documentation import existing_commands

VARIABLE = "_FOOTNOTE_COMPLETE"


def complete(shell: str, typed: str) -> str:
    """What the program answers when the shell asks how to go on with what was typed."""
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))} if shell == "bash" else {}
    asked = {"_TYPER_COMPLETE_ARGS": typed, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    environ = {VARIABLE: f"complete_{shell}", **asked, **words}
    return CliRunner().invoke(program, [], env=environ, prog_name="footnote").output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_are_completed(shell: str) -> None:
    answer = complete(shell, "footnote s")
    assert "search" in answer
    assert "serve" in answer
    assert "ingest" not in answer


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_options_of_a_command_are_completed(shell: str) -> None:
    answer = complete(shell, "footnote search --col")
    assert "--collection" in answer
    assert "--limit" not in answer


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_group_of_commands_can_be_completed(shell: str) -> None:
    for name in existing_commands():
        group, _, command = name.rpartition(" ")
        typed = f"footnote {group} {command[:2]}" if group else f"footnote {command[:2]}"
        assert command in complete(shell, typed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shown_script_is_for_its_shell_and_asks_the_program(
    shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    script = CliRunner().invoke(program, ["--show-completion"], prog_name="footnote").output
    hook = {"bash": "complete -o", "zsh": "compdef", "fish": "complete --command footnote"}[shell]
    assert hook in script
    assert VARIABLE in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_with_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way in a real shell: the script is read, Tab is pressed, the program answers."""
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    script = CliRunner().invoke(program, ["--show-completion"], prog_name="footnote").output
    command = tmp_path / "footnote"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from app.cli import main; main()" "$@"\n')
    command.chmod(0o755)
    press_tab = (
        "COMP_WORDS=(footnote coll); COMP_CWORD=1; _footnote_completion footnote; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        [shutil.which("bash") or "", "-c", f"{script}\n{press_tab}"],
        env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["collections"], done.stderr
