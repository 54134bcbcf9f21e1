"""The connection of this process to a Ray cluster. One at a time; it tells nobody outside anything."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from embeddings.errors import Conflict, FootnoteError, InvalidInput

# In place of an address: a cluster of this machine alone, which ends with the process.
LOCAL = "local"
# Texts and vectors on their way; Ray's own default is a third of the memory.
LOCAL_STORE_BYTES = 256 * 1024 * 1024
_ANSWER_S = 5.0
_NEXT_STEP = (
    "run the command on a machine of the cluster (`ray start --address=HEAD:6379` joins it), "
    "with the same versions of Footnote, Python and Ray on all of them"
)


class _Connection:
    """What the process is connected to, and by how many users of it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.address: str | None = None
        self.users = 0


_present = _Connection()


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to a cluster: `HOST:PORT` of its head, or `local` for one of this machine alone.

    This machine has to be one of the cluster's. Several threads may be connected to the same address.
    Raises InvalidInput for an address that is none, Conflict while the process is connected to another
    cluster or without the package, FootnoteError when no cluster answers.
    """
    check_address(address)
    _require_ray()
    with _present.lock:
        _enter(address)
        _present.users += 1
    try:
        yield
    finally:
        with _present.lock:
            _present.users -= 1
            if not _present.users:
                _leave()


def check_address(address: str) -> None:
    """Raise InvalidInput for what is no address of a cluster."""
    host, _, port = address.rpartition(":")
    if address != LOCAL and not ("/" not in host and host and port.isdecimal() and int(port) < 65_536):
        raise InvalidInput(
            f"{address!r} is no address of a Ray cluster",
            field="ray_address",
            found=address,
            expected=f"HOST:PORT of its head, for example 10.0.0.5:6379, or `{LOCAL}`",
            next_step="`ray://` clients are not taken: " + _NEXT_STEP,
        )


def cpus() -> int:
    """Logical processors of all machines that are in the cluster now."""
    import ray  # noqa: PLC0415

    untyped: Any = ray
    return int(untyped.cluster_resources().get("CPU", 1))


def workers_of(wanted: int | None = None) -> int:
    """How many actors the cluster gets: one a processor, but for one that is left to this process."""
    return wanted or max(1, cpus() - 1)


def _require_ray() -> None:
    if find_spec("ray") is None:
        raise Conflict(
            "work on a Ray cluster needs a package that is not installed",
            field="ray_address",
            found="no ray",
            expected="the extra `ray`",
            next_step="pip install 'footnote[ray]' on every machine of the cluster",
        )


def _enter(address: str) -> None:
    if _present.users and _present.address != address:
        raise Conflict(
            f"this process works on another Ray cluster, {_present.address}",
            field="ray_address",
            found=address,
            expected=str(_present.address),
            next_step="wait until that work is done",
        )
    if not _present.users:
        _start(address)
        _present.address = address


def _start(address: str) -> None:
    # Before the first import: Ray would tell its makers of its use, and read addresses from its environment.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == LOCAL:  # Ray's name for it: nodes that meet on loopback alone
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray  # noqa: PLC0415

    options: dict[str, Any] = {"address": address, "log_to_driver": False, "configure_logging": False}
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": LOCAL_STORE_BYTES}
    else:
        _check_answers(address)
    try:
        with _signals_kept():
            ray.init(**options)
    except Exception as error:  # Ray has no class for what a head may refuse
        raise _unusable(address, str(error)) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray would take SIGTERM from the process that connects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _leave() -> None:
    import ray  # noqa: PLC0415

    ray.shutdown()
    _present.address = None


def _check_answers(address: str) -> None:
    """Ray itself would wait for a head that does not answer for more than a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except OSError as error:
        raise _unusable(address, error.strerror or str(error)) from error


def _unusable(address: str, found: str) -> FootnoteError:
    return FootnoteError(
        f"the Ray cluster at {address} cannot be used: {found}",
        field="ray_address",
        found=found,
        expected="the head of a cluster that this machine belongs to",
        next_step=_NEXT_STEP,
    )
