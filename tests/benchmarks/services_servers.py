"""The servers that are compared, each with its data in a folder and as its documentation starts it."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.resources import open_resources
from app.services.types import Scope
from app.settings import Settings
from tests.benchmarks.environments import OURS, PEERS, interpreter
from tests.benchmarks.servers import Server, _running, footnote_server, free_port

COLLECTION = "services"
# No hub, no reports to vendors.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "ANONYMIZED_TELEMETRY": "False",
}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that is ready. given: what its users have to know, beside host and port."""

    server: Server
    given: Mapping[str, str]


def cpu_seconds(server: Server) -> float:
    """CPU that the server's processes have used, user and system: what other work on the machine leaves."""
    ticks = 0
    for pid in (server.pid, *server.children()):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks; utime and stime
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


# Takes a new folder for the data, and the folder of the model.
Start = Callable[[Path, Path], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True)
class Contender:
    """environment: name of its requirements; package: what it is called there; adapter: module in peers/;
    modes: kinds of search, of which all have `dense`; encodes_in: the process that holds the encoder.
    """

    name: str
    environment: str
    package: str
    adapter: str
    start: Start
    modes: tuple[str, ...] = ("dense",)
    encodes_in: str = "server"

    def version(self) -> str:
        """The pinned name and version; "" for Footnote."""
        if self.environment == OURS:
            return ""
        pins = (PEERS / f"{self.environment}.txt").read_text(encoding="utf-8").split()
        return next(pin.replace("==", " ") for pin in pins if pin.startswith(f"{self.package}=="))


@contextmanager
def serve_footnote(folder: Path, model: Path) -> Iterator[Running]:
    """`footnote serve` with an empty collection; its encoder is the bundled one, of the same weights."""
    key = asyncio.run(_prepare(folder))
    with footnote_server(folder, "--no-guide", settings=OFFLINE) as server:
        yield Running(server, {"key": key, "collection": COLLECTION})


async def _prepare(folder: Path) -> str:
    async with open_resources(Settings(home=folder)) as resources:
        await resources.collections.create(COLLECTION)
        return (await resources.keys.create("services", set(Scope))).token


@contextmanager
def serve_txtai(folder: Path, model: Path) -> Iterator[Running]:
    """txtai's API with texts in its SQLite, its default index (Faiss), and its index kept on the disk."""
    settings = {
        "path": str(folder / "index"),
        "writable": True,
        "embeddings": {"path": str(model), "content": True},
    }
    # JSON is YAML too.
    (folder / "config.yml").write_text(json.dumps(settings), encoding="utf-8")
    port, python = free_port(), str(interpreter("txtai_server"))
    command = [python, "-m", "uvicorn", "txtai.api:app", "--host", "127.0.0.1", "--port", str(port)]
    variables = {**OFFLINE, "CONFIG": str(folder / "config.yml")}
    log = folder / "server.log"
    with _running([*command, "--log-level", "warning"], port, "/count", variables, log) as server:
        yield Running(server, {})


@contextmanager
def serve_chroma(folder: Path, model: Path) -> Iterator[Running]:
    """`chroma run`; its clients encode."""
    port, python = free_port(), interpreter("chroma")
    command = [str(python.with_name("chroma")), "run", "--path", str(folder / "data")]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with _running(command, port, "/api/v2/heartbeat", OFFLINE, folder / "server.log", cwd=folder) as server:
        yield Running(server, {"model": str(model)})


CONTENDERS = (
    Contender("Footnote", OURS, "footnote", "footnote_server", serve_footnote, ("dense", "hybrid")),
    Contender("txtai", "txtai_server", "txtai", "txtai_server", serve_txtai),
    Contender("Chroma", "chroma", "chromadb", "chroma_server", serve_chroma, encodes_in="clients"),
)
