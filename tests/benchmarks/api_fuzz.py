"""Schemathesis against the service: what a generator makes of the API's description, one call and in chains.

No server error and nothing that the description does not tell is allowed. Jobs are taken and not done, since
no worker runs, and the folder with the data is thrown away afterwards.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import WORKPLACE, interpreter
from tests.benchmarks.servers import footnote_server

HOME = WORKPLACE / "schemathesis"
# What the service owes to anybody; the other checks ask how strict it is, and tests of its own tell that.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
# It lasts as long as a job does, and no worker ends jobs here.
ENDLESS = "/v1/jobs/{job_id}/events"
FAILURES_SHOWN = 20
REPORT_CHARS = 600


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=10_000, help="about how many; chains come on top")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful")
    parser.add_argument("--include", default="", help="only operations whose path matches")
    parser.add_argument("--server", default="", help="port of a service that runs, in place of a new one")
    parser.add_argument("--key", default="", help="an administrator's key of that service")


def measure(options: Namespace) -> Mapping[str, object]:
    python = interpreter("schemathesis")
    if options.server:
        return _fuzz(python, f"http://127.0.0.1:{options.server}", options.key, options)
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    with footnote_server(HOME, settings={"FOOTNOTE_WORKERS": "0"}) as server:
        before_mb = server.resident_mb()
        url = f"http://{server.host}:{server.port}"
        figures = _fuzz(python, url, make_key(HOME), options)
        return {**figures, "memory_mb": [round(before_mb), round(server.resident_mb())]}


def make_key(home: Path) -> str:
    """A new administrator's key for the service of a data folder."""
    command = [sys.executable, "-m", "app", "keys", "create", "--name", "fuzz", "--scope", "admin"]
    environ = os.environ | {"FOOTNOTE_HOME": str(home)}
    printed = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    return re.search(r"fn_\S+", printed)[0]  # type: ignore[index]


def _fuzz(python: Path, url: str, key: str, options: Namespace) -> Mapping[str, object]:
    HOME.mkdir(parents=True, exist_ok=True)
    events = HOME / "events.ndjson"
    events.unlink(missing_ok=True)
    started = time.perf_counter()
    command = [
        *(python, "-m", "schemathesis.cli", "run", f"{url}/schema/openapi.json"),
        *("--header", f"Authorization: Bearer {key}", "--seed", str(options.seed)),
        *("--checks", ",".join(CHECKS), "--phases", options.phases, "--continue-on-failure"),
        *("--max-examples", str(per_operation(options.cases, _operations(url, options.include)))),
        *("--report", "ndjson", "--report-ndjson-path", str(events.resolve()), "--no-shrink"),
        *("--suppress-health-check", "all", "--request-timeout", "120"),
        *("--exclude-path", ENDLESS),
        *(("--include-path-regex", options.include) if options.include else ()),
    ]
    # From there, since it leaves a folder of its own where it runs.
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    (HOME / "output.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    tally = read_events(events.read_text(encoding="utf-8").splitlines())
    # A run that was cut short has found nothing wrong either.
    passed = tally["passed"] and done.returncode == 0
    return {**tally, "passed": passed, "seconds": round(time.perf_counter() - started, 1)}


def per_operation(cases: int, operations: int) -> int:
    """How many examples each operation gets, so that there are at least so many cases in all.

    Examples and borders of values come on top: their number follows from the description.
    """
    return max(1, math.ceil(cases / max(1, operations)))


def _operations(url: str, include: str) -> int:
    with urllib.request.urlopen(f"{url}/schema/openapi.json") as reply:  # noqa: S310  # our own address
        paths = json.load(reply)["paths"]
    return sum(len(item) for path, item in paths.items() if re.search(include, path))


def read_events(lines: Iterable[str]) -> dict[str, object]:
    """What a run has shown, from its events: cases by phase, statuses, and each failure once."""
    cases, statuses, failures = Counter[str](), Counter[str](), dict[tuple[str, str], str]()
    for line in lines:
        scenario = json.loads(line).get("ScenarioFinished")
        if scenario is None:
            continue
        recorder = scenario["recorder"]
        cases[scenario["phase"]] += len(recorder.get("cases", {}))
        statuses.update(_status(each) for each in recorder.get("interactions", {}).values())
        for key, case in _failures(recorder):
            failures.setdefault(key, case)
    shown = [f"{check} {label}: {case}" for (check, label), case in failures.items()]
    total = sum(cases.values())
    return {
        "cases": total,
        "by_phase": dict(cases),
        "statuses": dict(sorted(statuses.items())),
        "server_errors": _count(failures, "not_a_server_error"),
        "other_failures": len(failures) - _count(failures, "not_a_server_error"),
        "failures": shown[:FAILURES_SHOWN],
        "passed": total > 0 and not failures,
    }


def _count(failures: Mapping[tuple[str, str], str], check: str) -> int:
    return sum(name == check for name, _ in failures)


def _status(interaction: Mapping[str, Any]) -> str:
    return str((interaction.get("response") or {}).get("status_code", "no reply"))


def _failures(recorder: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    """Which check failed on which operation, and the request that made it fail."""
    for number, checks in recorder.get("checks", {}).items():
        case = recorder["cases"][number]["value"]
        for check in checks:
            if check["status"] != "success":
                operation = check["failure_info"]["failure"]["operation"]
                sent = {name: case[name] for name in ("path_parameters", "query", "body") if name in case}
                status = _status(recorder["interactions"].get(number, {}))
                yield (check["name"], operation), f"{status} {json.dumps(sent)}"[:REPORT_CHARS]
