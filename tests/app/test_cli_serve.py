"""`footnote serve` from its start to Ctrl-C, as a process."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cli.failures import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from app.cli.serve import _listen

READY = re.compile(r"^Footnote is ready at (http://[\d.]+:\d+) ")
LINK = re.compile(r"^Open (http://127\.0\.0\.1:\d+/login\?token=\S+)$", re.MULTILINE)
KEY = re.compile(r"^Admin key, shown this once: (fn_\S+)$", re.MULTILINE)


class Service:
    """A running `footnote serve`. address: where it listens; printed: what it said until it was ready."""

    def __init__(
        self, home: Path, *options: str, host: str = "127.0.0.1", log: Path | None = None, **more: str
    ) -> None:
        environ = {"FOOTNOTE_HOME": str(home), "FOOTNOTE_PORT": "0", "FOOTNOTE_HOST": host} | more
        errors = None if log is None else log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", *options],
            env=os.environ | environ, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        self.printed = ""
        for line in self.process.stdout or ():
            self.printed += line
            if match := READY.match(line):
                self.address = match.group(1)
                return
        raise AssertionError(f"the service ended with {self.process.wait()} after {self.printed!r}")

    def stop(self) -> int:
        """Press Ctrl-C and read what it still says. Returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        self.printed += self.process.communicate(timeout=30)[0]
        return self.process.returncode


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Under nohup, or in a script's background, SIGINT is ignored, and a service would inherit that."""
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.fixture
def service(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service in an empty home. Parameter: its options, none unless given."""
    running = Service(tmp_path / "home", *getattr(request, "param", ()))
    yield running
    running.process.kill()
    running.process.wait()


def test_first_start_has_a_key_and_the_guide_and_the_second_no_key(service: Service, tmp_path: Path) -> None:
    query = {"query": "What is the default port?", "limit": 3}
    reply = httpx.post(f"{service.address}/v1/collections/guide/search", json=query)
    texts = [" ".join(hit["text"].split()) for hit in reply.json()["hits"]]
    assert any("the default port is 8000" in text for text in texts)
    assert service.stop() == 130
    assert "Stopped." in service.printed
    assert KEY.search(service.printed) is not None
    again = Service(tmp_path / "home", "--no-guide")
    again.stop()
    assert KEY.search(again.printed) is None


@pytest.mark.parametrize("service", [("--no-guide",)], indirect=True, ids=["no guide"])
def test_link_that_the_start_prints_opens_the_page_once(service: Service) -> None:
    found = LINK.search(service.printed)
    assert found is not None
    link = found[1]
    assert link.startswith(service.address)
    own = {"Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=service.address) as browser:
        assert browser.get(link).status_code == 303
        assert browser.post("/v1/collections", json={"name": "notes"}, headers=own).status_code == 201
    assert httpx.get(link).status_code == 401


def test_log_of_a_service_at_its_most_talkative_holds_no_secret(tmp_path: Path) -> None:
    service = Service(tmp_path / "home", "--no-guide", log=tmp_path / "log", FOOTNOTE_LOG_LEVEL="debug")
    key, link = KEY.search(service.printed), LINK.search(service.printed)
    assert key is not None
    assert link is not None
    own = {"Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=service.address) as browser:
        browser.get(link[1])
        cookie = browser.cookies["footnote_session"]
        browser.post("/login", data={"token": key[1]}, headers=own)
        browser.get("/v1/nowhere", params={"token": key[1]}, headers={"Authorization": f"Bearer {key[1]}"})
    service.stop()
    told = (tmp_path / "log").read_text()
    assert "/login" in told  # the access log tells the route
    for secret in (key[1], link[1].partition("token=")[2], cookie):
        assert secret not in told


def test_service_that_others_can_reach_does_not_start_without_a_key(tmp_path: Path) -> None:
    environ = {"FOOTNOTE_HOME": str(tmp_path / "home"), "FOOTNOTE_PORT": "0", "FOOTNOTE_HOST": "0.0.0.0"}  # noqa: S104
    command = [sys.executable, "-m", "app"]
    options = {"env": os.environ | environ, "capture_output": True, "text": True, "timeout": 120}
    refused = subprocess.run([*command, "serve"], check=False, **options)  # type: ignore[call-overload]
    assert refused.returncode == EXIT_BAD_INPUT
    assert "footnote keys create" in refused.stderr
    assert "fn_" not in refused.stdout + refused.stderr
    create = [*command, "keys", "create", "--name", "first", "--scope", "admin"]
    assert subprocess.run(create, check=True, **options).stdout.startswith("fn_")  # type: ignore[call-overload]
    service = Service(tmp_path / "home", "--no-guide", host="0.0.0.0")  # noqa: S104
    assert service.stop() == EXIT_INTERRUPTED
    assert "fn_" not in service.printed
    assert "token=" not in service.printed


def test_taken_port_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ = {"FOOTNOTE_HOME": str(tmp_path / "home"), "FOOTNOTE_PORT": str(taken.getsockname()[1])}
        command = [sys.executable, "-m", "app", "serve"]
        done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1 port" in done.stderr
    assert "FOOTNOTE_PORT" in done.stderr
    assert not (tmp_path / "home").exists()


def test_damaged_model_ends_the_start_with_its_reason(tmp_path: Path) -> None:
    environ = {
        "FOOTNOTE_HOME": str(tmp_path / "home"),
        "FOOTNOTE_PORT": "0",
        "FOOTNOTE_ENCODER": str(tmp_path),
    }
    command = [sys.executable, "-m", "app", "serve"]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_replies_on_kept_connections_do_not_wait_for_acknowledgements() -> None:
    """Accepted sockets take the option over from the listener; asyncio would leave it off here."""
    with _listen("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
