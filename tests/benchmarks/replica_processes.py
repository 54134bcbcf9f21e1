"""API replicas and workers on one PostgreSQL database and one data folder, started again when they die."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.benchmarks.servers import free_port

# Between a process's end and its next start, and between two looks at whether it is ready.
PAUSE_S = 0.2
FAREWELL_S = 20.0


@dataclass(slots=True)
class Kept:
    """A process that is started again when it ends. life: which one of its processes runs now."""

    command: Sequence[str]
    variables: Mapping[str, str]
    log: Path
    life: int = 0
    process: Process | None = field(default=None, repr=False)

    async def keep(self) -> None:
        """Run it until cancelled."""
        with self.log.open("ab") as output:
            while True:
                environ = {**os.environ, **self.variables}
                self.process = await asyncio.create_subprocess_exec(
                    *self.command, env=environ, stdin=DEVNULL, stdout=output, stderr=output
                )
                await self.process.wait()
                await asyncio.sleep(PAUSE_S)

    def kill(self) -> None:
        """SIGKILL, now."""
        self.life += 1
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)

    async def end(self) -> None:
        """Tell it to end, and wait."""
        if self.process is None or self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), FAREWELL_S)
            except TimeoutError:
                self.process.kill()


@dataclass(slots=True)
class Replica:
    """An API replica. ready: whether a load balancer would send requests there."""

    kept: Kept
    client: httpx.AsyncClient
    ready: bool = False
    ready_s: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        """Look again and again whether it is ready, until cancelled."""
        since, life = time.monotonic(), self.kept.life
        while True:
            if life != self.kept.life:
                since, life = time.monotonic(), self.kept.life
            ready = await self._is_ready()
            if ready and not self.ready and life == self.kept.life:
                self.ready_s.append(round(time.monotonic() - since, 1))
            self.ready = ready and life == self.kept.life
            await asyncio.sleep(PAUSE_S)

    def kill(self) -> None:
        """SIGKILL, and no further request."""
        self.ready = False
        self.kept.kill()

    async def _is_ready(self) -> bool:
        with suppress(httpx.HTTPError):
            return (await self.client.get("/health/ready")).status_code == 200
        return False


@asynccontextmanager
async def running(
    home: Path, variables: Mapping[str, str], token: str, replicas: int, workers: int
) -> AsyncIterator[tuple[list[Replica], list[Kept]]]:
    """So many replicas, all ready, and workers. variables: settings of all."""
    shared = {"FOOTNOTE_HOME": str(home), **variables}
    served = [_replica(home, shared, token, number) for number in range(replicas)]
    working = [
        Kept((sys.executable, "-m", "app", "worker"), shared, home / f"worker-{number}.log")
        for number in range(workers)
    ]
    kept = [*(replica.kept for replica in served), *working]
    tasks = [asyncio.create_task(each.keep()) for each in kept]
    tasks += [asyncio.create_task(replica.watch()) for replica in served]
    try:
        while not all(replica.ready for replica in served):  # noqa: ASYNC110  another process changes it
            await asyncio.sleep(PAUSE_S)
        yield served, working
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(each.end() for each in kept))
        for replica in served:
            await replica.client.aclose()


def _replica(home: Path, shared: Mapping[str, str], token: str, number: int) -> Replica:
    port = free_port()
    variables = {**shared, "FOOTNOTE_PORT": str(port), "FOOTNOTE_WORKERS": "0"}
    command = (sys.executable, "-m", "app", "serve", "--no-guide")
    headers = {"Authorization": f"Bearer {token}"}
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60)
    return Replica(Kept(command, variables, home / f"replica-{number}.log"), client)
