"""`footnote keys` on an empty data folder; no model is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from app.cli.program import program

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command of `footnote keys`."""
    monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(program, ["keys", *words])


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return msgspec.json.decode(result.stdout)


def test_limits_of_a_key_are_kept_and_listed(run: Run) -> None:
    options = ("--scope", "read", "--collection", "wiki", "--collection", "notes", "--rate-per-minute", "60")
    result = run("create", "--name", "robot", *options, "--json")
    assert "There is no collection notes yet." in result.stderr
    made = told(result)
    assert made["token"].startswith("fn_")
    (key,) = told(run("list", "--json"))["keys"]
    assert sorted(key["collections"]) == ["notes", "wiki"]
    assert key["rate_per_minute"] == 60
    shown = run("list").stdout
    assert "notes,wiki" in shown
    assert made["token"] not in shown


def test_key_without_limits_is_shown_as_one_for_all(run: Run) -> None:
    run("create", "--name", "robot", "--scope", "read")
    assert told(run("list", "--json"))["keys"][0]["collections"] is None
    assert " all " in run("list").stdout


@pytest.mark.parametrize(
    "options", [("--collection", "../notes"), ("--rate-per-minute", "0"), ("--scope", "root")]
)
def test_wrong_limits_are_refused(options: tuple[str, ...], run: Run) -> None:
    refused = run("create", "--name", "robot", "--scope", "read", *options)
    assert refused.exit_code == 2
    assert told(run("list", "--json"))["keys"] == []


def test_page_link_leads_to_where_the_service_listens(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    link = run("page-link").stdout.strip()
    assert link.startswith("http://127.0.0.1:8000/login?token=fnlink_")
    monkeypatch.setenv("FOOTNOTE_HOST", "::")
    monkeypatch.setenv("FOOTNOTE_PORT", "9000")
    assert told(run("page-link", "--json"))["link"].startswith("http://[::1]:9000/login?token=")
    own = run("page-link", "--address", "https://search.example/").stdout
    assert own.startswith("https://search.example/login?token=")


def test_links_are_listed_without_their_tokens_and_taken_back(run: Run) -> None:
    token = run("page-link", "--scope", "read", "--collection", "notes").stdout.strip().partition("token=")[2]
    listed = run("sessions", "--json")
    assert token not in listed.stdout
    (link,) = told(listed)["sessions"]
    assert (link["scopes"], link["collections"], link["opened_at"]) == (["read"], ["notes"], None)
    assert "link" in run("sessions").stdout
    assert told(run("end-session", str(link["id"]), "--json")) == {"ended": 1}
    assert told(run("sessions", "--json"))["sessions"] == []
    assert run("end-session", str(link["id"])).exit_code == 2


def test_all_sessions_are_ended_at_once(run: Run) -> None:
    for _ in range(3):
        run("page-link")
    assert told(run("end-session", "--all", "--json")) == {"ended": 3}
    assert run("end-session").exit_code == 2
    assert run("end-session", "1", "--all").exit_code == 2


def test_keys_are_made_without_loading_a_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.encoders.Encoder.load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert run("create", "--name", "robot", "--scope", "read").exit_code == 0
