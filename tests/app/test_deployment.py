"""The Dockerfile and the systemd unit keep to good practice. No image is pulled, nothing is installed."""

import fnmatch
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import pytest

from app.settings import Settings
from tests.app.documentation import ROOT

UNIT = ROOT / "app" / "deploy" / "footnote.service"
SERVICE_FOLDERS = ("/data", "/tmp")  # noqa: S108  # of the image
ANALYZE = shutil.which("systemd-analyze")
HIGHEST_EXPOSURE = 2.0  # of 10, by systemd-analyze security


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [
        (name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in _joined(lines))
    ]


def _joined(lines: list[str]) -> Iterator[str]:
    """An indented line belongs to the one before: HEALTHCHECK and its command."""
    whole = ""
    for line in lines:
        if line[0] != " " and whole:
            yield whole
            whole = ""
        whole += line
    yield whole


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def arguments(name: str, stage: list[tuple[str, str]]) -> list[str]:
    return [rest for each, rest in stage if each == name]


def variables() -> dict[str, str]:
    pairs = [pair.partition("=") for rest in arguments("ENV", last_stage()) for pair in shlex.split(rest)]
    return {name: value for name, _, value in pairs}


def test_image_is_built_in_stages_from_a_fixed_python() -> None:
    stages = arguments("FROM", instructions())
    assert len(stages) == 2
    assert all(re.match(r"python:3\.\d+-slim-\w+( AS \w+)?$", stage) for stage in stages)


def test_packages_are_those_of_the_lock() -> None:
    runs = " ".join(arguments("RUN", instructions()))
    assert 'pip install -r "$LOCK"' in runs
    assert "LOCK=requirements.lock" in arguments("ARG", instructions())
    assert "pip install --no-deps ." in runs


def test_last_stage_only_copies_what_was_built() -> None:
    assert arguments("ADD", instructions()) == []
    assert arguments("COPY", last_stage()) == ["--from=build /opt/footnote /opt/footnote"]


def test_every_package_and_file_that_the_build_needs_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = project["tool"]["setuptools"]["packages"]["find"]["include"]
    needed = {name.removesuffix("*") for name in found} | {"pyproject.toml", project["project"]["readme"]}
    needed |= set(project["project"]["license-files"])
    assert needed <= copied()


def test_installed_package_has_every_file_of_the_tree() -> None:
    """What is no code comes along only where pyproject.toml names it: templates, the guide, examples."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    shipped: set[Path] = set()
    for package, patterns in project["package-data"].items():
        folder = ROOT.joinpath(*package.split("."))
        # As setuptools does it: `**` of pathlib would find folders only.
        found = (name for each in patterns for name in glob(each, root_dir=folder, recursive=True))  # noqa: PTH207
        shipped |= {folder / name for name in found}
    folders = [name.removesuffix("*") for name in project["packages"]["find"]["include"]]
    files = {path for name in folders for path in (ROOT / name).rglob("*") if path.is_file()}
    data = {path for path in files if path.suffix not in (".py", ".pyc")}
    assert sorted(str(path.relative_to(ROOT)) for path in data - shipped) == []


def copied() -> set[str]:
    rests = [rest for rest in arguments("COPY", instructions()) if not rest.startswith("--from")]
    return {source for rest in rests for source in rest.split()[:-1]}


def test_nothing_that_is_copied_is_ignored_and_nothing_else_is_sent() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    assert sent == copied()
    for secret in (".git", ".env", ".footnote", ".venv", "tests"):
        assert not any(fnmatch.fnmatch(secret, rule) for rule in sent)


def test_image_does_not_run_as_root() -> None:
    (user,) = arguments("USER", last_stage())
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    names = [name for name, _ in last_stage()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "RUN" not in names[names.index("USER") :]


def test_image_writes_in_its_volume_only() -> None:
    assert variables()["FOOTNOTE_HOME"] == "/data"
    assert arguments("VOLUME", last_stage()) == ["/data"]
    assert arguments("WORKDIR", last_stage()) == ["/data"]
    assert variables()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_image_holds_no_secret() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"(?i)(fn_|password|token|secret|_key)\s*=", text)


def test_service_gets_the_signal_itself() -> None:
    for name in ("ENTRYPOINT", "CMD"):
        (command,) = arguments(name, last_stage())
        assert isinstance(json.loads(command), list)
    assert arguments("STOPSIGNAL", last_stage()) == ["SIGTERM"]


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_check_tells_ready_from_not_ready(status: int, healthy: bool) -> None:
    (check,) = arguments("HEALTHCHECK", last_stage())
    command = json.loads(check.partition("CMD ")[2])
    with stub(status) as port:
        environ = os.environ | {"FOOTNOTE_PORT": str(port)}
        done = subprocess.run([sys.executable, *command[1:]], env=environ, capture_output=True, check=False)
    assert (done.returncode == 0) == healthy


@contextmanager
def stub(status: int) -> Iterator[int]:
    """The port of a server that answers with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def unit() -> dict[str, list[str]]:
    """The options of the unit; one may stand there more than once."""
    options: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            options.setdefault(name, []).append(value)
    return options


def test_unit_starts_the_service_and_starts_it_again_after_a_failure() -> None:
    options = unit()
    assert options["ExecStart"] == ["/opt/footnote/bin/footnote serve"]
    assert options["Restart"] == ["on-failure"]
    assert options["WantedBy"] == ["multi-user.target"]


def test_unit_runs_as_a_user_of_its_own_with_one_folder_of_its_own() -> None:
    options = unit()
    assert options["User"] == ["footnote"]
    assert options["StateDirectory"] == ["footnote"]
    assert options["StateDirectoryMode"] == ["0700"]
    assert "FOOTNOTE_HOME=/var/lib/footnote" in options["Environment"]


def test_unit_waits_for_what_is_in_flight() -> None:
    assert int(unit()["TimeoutStopSec"][0]) > Settings().shutdown_timeout_s


@pytest.mark.parametrize(
    "option",
    [
        "ProtectHome", "PrivateTmp", "PrivateDevices", "NoNewPrivileges", "ProtectKernelTunables",
        "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock",
        "ProtectHostname", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
    ],
)  # fmt: skip
def test_unit_is_shut_off(option: str) -> None:
    assert unit()[option] == ["yes"]


def test_unit_may_change_nothing_but_its_folder_and_has_no_capability() -> None:
    options = unit()
    assert options["ProtectSystem"] == ["strict"]
    assert options["CapabilityBoundingSet"] == [""]
    assert "ReadWritePaths" not in options


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze here")
def test_systemd_understands_the_unit_and_finds_it_hardly_exposed() -> None:
    verify = [str(ANALYZE), "verify", str(UNIT)]
    complaints = subprocess.run(verify, capture_output=True, text=True, check=False).stderr.splitlines()
    # The command is installed where the unit is used, not here.
    assert [line for line in complaints if "is not executable" not in line] == []
    security = [str(ANALYZE), "security", "--offline=yes", str(UNIT)]
    printed = subprocess.run(security, capture_output=True, text=True, check=False).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", printed)
    assert exposure is not None
    assert float(exposure.group(1)) <= HIGHEST_EXPOSURE
