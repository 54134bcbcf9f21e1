"""The environment in which other projects' clients are installed, beside Footnote's own."""

from pathlib import Path

from tests.benchmarks.environments import WORKPLACE, interpreter

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def install() -> Path:
    """The Python that has the clients; they are installed at the first time. Raises PeerUnavailable."""
    return interpreter("clients", requirements=REQUIREMENTS)


def installed() -> Path | None:
    """The same Python where it is there already, else None."""
    python = (WORKPLACE / "environments" / "clients" / "bin" / "python").absolute()
    return python if python.is_file() else None
