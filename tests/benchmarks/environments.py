"""A virtual environment of its own for each peer, made from its pinned requirements and kept between runs."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

WORKPLACE = Path(".bench")
PEERS = Path(__file__).parent / "peers"
OURS = "footnote"


class PeerUnavailable(Exception):
    """A peer that cannot be installed here; the message holds what pip said."""


def interpreter(name: str, workplace: Path = WORKPLACE, requirements: Path | None = None) -> Path:
    """The Python that runs a peer; Footnote's is this one. Raises PeerUnavailable.

    requirements: what the peer needs, unless its file stands among those of the benchmarks.
    """
    if name == OURS:
        return Path(sys.executable)
    requirements = requirements or PEERS / f"{name}.txt"
    folder = (workplace / "environments" / name).resolve()
    stamp, wanted = folder / "requirements.sha256", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != wanted:
        _make(folder, requirements)
        stamp.write_text(wanted, encoding="ascii")
    return folder / "bin" / "python"


def _make(folder: Path, requirements: Path) -> None:
    print(f"installing {folder.name} into {folder}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(folder))
    pip = (str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
    # torch goes first and alone: pip then takes the CPU build where one is offered.
    torch = [line for line in requirements.read_text(encoding="utf-8").split() if line.startswith("torch==")]
    if torch:
        _run(*pip, *torch)
    _run(*pip, "-r", str(requirements))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerUnavailable(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
