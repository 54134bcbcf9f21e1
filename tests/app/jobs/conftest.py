import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[3]

# What would make DBOS call home.
CLOUD = {
    "DBOS__CLOUD": "true",
    "DBOS__CONDUCTOR_APP_NAME": "footnote",
    "DBOS__CONDUCTOR_KEY": "key",
    "DBOS__CONDUCTOR_URL": "wss://127.0.0.1:9/",
}

StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Two processes write here, on a machine that may be busy with other tests."""
    return replace(settings, busy_timeout_s=60)


@pytest.fixture
def start_worker(settings: Settings) -> Iterator[StartWorker]:
    """Starts worker processes on the test's data folder; they end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.app.jobs.hashing_worker", str(settings.home), *options]
        environ = os.environ | CLOUD
        started.append(subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
