"""A real Milvus server for tests, in a network namespace of its own.

The server of the PyPI wheel `milvus` listens on all interfaces, and its settings cannot change that. So it
runs where there is no interface but loopback, and one socket, opened outside on 127.0.0.1, is handed in and
forwarded to it. This file is both sides: imported by tests, and run inside by the Python that has the wheel,
where only the standard library is at hand.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

REQUIREMENTS = Path(__file__).parent / "milvus_server.txt"
STOP_TIMEOUT_S = 20
INNER_PORT = 19_530  # of the namespace, where nothing else listens
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


class MilvusUnavailable(Exception):
    """Why no Milvus server can run here."""


class MilvusServer:
    """One server with a data folder. `kill` and `start` again: the same data at the same address."""

    def __init__(self, python: Path, folder: Path) -> None:
        """python: of the environment that has the wheel. folder: for its data and logs; may hold some."""
        self._python, self._folder = python, folder
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0

    @property
    def address(self) -> str:
        """As FOOTNOTE_INDEX_URL takes it."""
        return f"milvus://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it is healthy. Raises MilvusUnavailable."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", self._port))
            listening.listen(64)
            self._port = listening.getsockname()[1]
            self._process = self._spawn(listening.fileno())
        answer = self._process.stdout.readline() if self._process.stdout else ""
        if not answer:
            self.stop()
            raise MilvusUnavailable(f"it did not start; see {self._folder}/errors and {self._folder}/logs")
        self._pid = json.loads(answer)["pid"]

    def _spawn(self, descriptor: int) -> subprocess.Popen[str]:
        command = [
            *("unshare", "--map-root-user", "--net"),
            *(str(self._python), str(Path(__file__).resolve()), str(self._folder.resolve()), str(descriptor)),
        ]
        with (self._folder / "errors").open("w", encoding="utf-8") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its end tells the inner side that nobody needs it any more
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                pass_fds=(descriptor,),
            )

    def kill(self) -> None:
        """End the server as a power cut would."""
        os.kill(self._pid, signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        """End it in order; nothing happens when it does not run."""
        self._ended()

    def _ended(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with process:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)

    def __enter__(self) -> "MilvusServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def milvus_python() -> Path:
    """The Python of the environment with the wheel; made when it is not there. Raises MilvusUnavailable."""
    from tests.benchmarks.environments import PeerUnavailable, interpreter  # noqa: PLC0415  (not inside)

    unshare = shutil.which("unshare")
    if unshare is None:
        raise MilvusUnavailable("there is no `unshare` (util-linux), so it would listen on all interfaces")
    if subprocess.run([unshare, "--map-root-user", "--net", "true"], check=False).returncode:
        raise MilvusUnavailable(
            "network namespaces are not allowed here, so it would listen on all interfaces"
        )
    try:
        return interpreter("milvus", requirements=REQUIREMENTS)
    except PeerUnavailable as error:
        raise MilvusUnavailable(str(error)) from error


def _serve(folder: Path, descriptor: int) -> None:
    """The inner side: start the server, forward to it, stop it when the outer side is gone."""
    from milvus import MilvusServer as Wheel  # type: ignore[import-not-found]  # noqa: PLC0415  (inside only)

    _raise_loopback()
    wheel = Wheel(data_dir=str(folder))
    wheel.config.set("system_log_level", "warn")
    wheel.config.set("log.level", "warn")
    with contextlib.redirect_stdout(sys.stderr):
        wheel.start()
    threading.Thread(target=_forward, args=(socket.socket(fileno=descriptor),), daemon=True).start()
    print(json.dumps({"pid": wheel.server_proc.pid}), flush=True)
    threading.Thread(target=_leave_with, args=(wheel.server_proc,), daemon=True).start()
    sys.stdin.read()
    wheel.stop()


def _leave_with(process: "subprocess.Popen[bytes]") -> None:
    process.wait()
    os._exit(0)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def _forward(listening: socket.socket) -> None:
    while True:
        outer, _ = listening.accept()
        inner = socket.create_connection(("127.0.0.1", INNER_PORT))
        for source, target in ((outer, inner), (inner, outer)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
