"""Settings: read once, from FOOTNOTE_* variables, else from a TOML file, else the default. Unknown keys
fail.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from app.db.address import DatabaseAddress, postgres_address, sqlite_address
from embeddings.artifact import BUNDLED_ENCODER
from embeddings.errors import InvalidInput
from generation.artifact import BUNDLED_DECODER

PREFIX = "FOOTNOTE_"
CONFIG_VARIABLE = "FOOTNOTE_CONFIG"
CONFIG_FILENAME = "footnote.toml"
# FOOTNOTE_DATA names the folder of data sets, which tests and training read and the service does not. The
# last three are of the tests, which start the service too.
OTHER_VARIABLES = (
    CONFIG_VARIABLE,
    "FOOTNOTE_DATA",
    "FOOTNOTE_POSTGRES_URL",
    "FOOTNOTE_TEST_DATABASE",
    "FOOTNOTE_ENGINE_TESTS",
)
MIB = 1024 * 1024
_FOLDERS = (Path, Path | None)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(default: int, minimum: int, maximum: int) -> Any:
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum})


def _choice(*choices: str) -> Any:
    """One of these words; the first is the default."""
    return field(default=choices[0], metadata={"choices": choices})


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator may decide. app/guide/operate.md tells for each its unit and the reason to change it.

    Text limits are in bytes of UTF-8 because that is what a client can measure before it sends.
    """

    home: Path = Path(".footnote")
    # None: SQLite's file in the home folder. It holds a password, as may the next.
    database_url: str | None = field(default=None, repr=False)
    # Separated by spaces; the first is for new collections.
    index_url: str = field(default="faiss", repr=False)
    host: str = "127.0.0.1"
    port: int = _number(8000, 0, 65535)
    threads: int = _number(_cores(), 1, 256)
    encoder: Path = BUNDLED_ENCODER
    decoder: Path = BUNDLED_DECODER
    decoder_url: str | None = None
    decoder_model: str | None = None
    decoder_key: str | None = field(default=None, repr=False)
    # A server on processors takes this long to read a long prompt, before it says its first word.
    decoder_timeout_s: int = _number(120, 1, 3600)
    decoder_context_tokens: int = _number(4096, 64, 1_000_000)
    decoder_slots: int = _number(8, 1, 64)
    # 0: as much as the slots need when they are full.
    decoder_kv_mb: int = _number(0, 0, 1_000_000)
    reranker: Path | None = None
    # 8 MiB is 90 s of encoding on two cores; a longer text should come as its chapters.
    max_text_bytes: int = _number(8 * MIB, 1, 1024 * MIB)
    max_file_bytes: int = _number(32 * MIB, 1, 1024 * MIB)
    max_request_bytes: int = _number(64 * MIB, 1, 4096 * MIB)
    max_batch_documents: int = _number(1000, 1, 1_000_000)
    max_query_chars: int = _number(4000, 1, 1_000_000)
    max_limit: int = _number(1000, 1, 100_000)
    # A minute of passages of 200 tokens on two cores; a client that waits for longer has given up by then.
    max_waiting_texts: int = _number(10_000, 1, 10_000_000)
    # A second of questions on two cores.
    max_waiting_queries: int = _number(2000, 1, 1_000_000)
    busy_timeout_s: int = _number(10, 0, 3600)
    # Requests in flight by what they cost. On two cores, a full house of searches waits for two seconds, one
    # of answers of the bundled decoder for three.
    max_in_flight_reads: int = _number(256, 1, 100_000)
    max_in_flight_searches: int = _number(256, 1, 100_000)
    max_in_flight_answers: int = _number(16, 1, 10_000)
    max_in_flight_writes: int = _number(64, 1, 10_000)
    # Of one key, or of one address without a key. 0: no limit.
    rate_limit_per_minute: int = _number(0, 0, 1_000_000)
    # Of one search, answer or text task, streams included. 0: no limit.
    request_timeout_s: int = _number(300, 0, 86_400)
    # What is in flight may go on for so long after the signal to stop.
    shutdown_timeout_s: int = _number(20, 0, 3600)
    # Requests are still taken for so long after the service has said that it is not ready any more.
    shutdown_notice_s: int = _number(0, 0, 3600)
    # Worker processes that `footnote serve` keeps running; on SQLite one, or none.
    workers: int = _number(1, 0, 16)
    # 0: as many as `threads`.
    training_threads: int = _number(0, 0, 256)
    # MiB. 0: half of what the machine has.
    training_memory_mb: int = _number(0, 0, 10_000_000)
    # HOST:PORT of a Ray cluster's head, for reindexes and trainings of the worker.
    ray_address: str | None = None
    # That train one encoder together on the Ray cluster. 1: the training process alone.
    ray_training_workers: int = _number(1, 1, 256)
    log_format: str = _choice("text", "json")
    log_level: str = _choice("warning", "debug", "info", "error")
    query_log: str = _choice("off", "hashed", "full")
    # 0: for ever.
    query_log_days: int = _number(90, 0, 36_500)

    @property
    def database(self) -> DatabaseAddress:
        """Where the metadata is. Raises InvalidInput for a URL that names no PostgreSQL database."""
        if self.database_url is not None:
            return postgres_address(self.database_url)
        return sqlite_address(self.home / "footnote.db")

    @property
    def threads_for_training(self) -> int:
        """How many threads a training may have."""
        return self.training_threads or self.threads


def load_settings(environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """Read the settings; a variable wins over the file, the file over the default.

    The file is the one named by FOOTNOTE_CONFIG, else `footnote.toml` in cwd, else the one in the home
    folder. Relative paths in variables start at cwd, those in the file at the file's folder.
    Raises InvalidInput for an unknown key, a value of the wrong type or out of range, or an unreadable file.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    values: dict[str, Any] = {"home": cwd / Settings().home}
    given = _from_environment(environ, cwd)
    values |= _from_file(_config_file(environ, cwd, given.get("home", values["home"])))
    settings = Settings(**(values | given))
    _ = settings.database  # a wrong URL is told at once, and not by the first that needs it
    return settings


def setting_names() -> tuple[str, ...]:
    """Names of all settings as they stand in the TOML file; the variable is FOOTNOTE_ and the name in
    capitals.
    """
    return tuple(item.name for item in fields(Settings))


def _from_environment(environ: Mapping[str, str], cwd: Path) -> dict[str, Any]:
    known = {PREFIX + item.name.upper(): item for item in fields(Settings)}
    values = {}
    for variable, raw in environ.items():
        if variable.startswith(PREFIX) and variable not in OTHER_VARIABLES:
            item = _known(variable, known, "environment variable")
            values[item.name] = _value(item, raw, variable, cwd)
    return values


def _config_file(environ: Mapping[str, str], cwd: Path, home: Path) -> Path | None:
    if named := environ.get(CONFIG_VARIABLE):
        return cwd / Path(named).expanduser()
    places = (cwd / CONFIG_FILENAME, home / CONFIG_FILENAME)
    return next((place for place in places if place.is_file()), None)


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInput(
            f"cannot read the settings file {path}: {error}",
            field=CONFIG_VARIABLE,
            found=str(path),
            expected="a readable TOML file in UTF-8",
            next_step=f"correct the file, or point {CONFIG_VARIABLE} at another",
        ) from error
    known = {item.name: item for item in fields(Settings)}
    return {
        key: _value(_known(key, known, f"key in {path}"), raw, key, path.parent) for key, raw in table.items()
    }


def _known(key: str, known: Mapping[str, Field[Any]], where: str) -> Field[Any]:
    if key in known:
        return known[key]
    candidates = [*known, *OTHER_VARIABLES] if key.startswith(PREFIX) else list(known)
    spelt_lower = {name.lower(): name for name in candidates}
    nearest = spelt_lower[difflib.get_close_matches(key.lower(), spelt_lower, n=1, cutoff=0.0)[0]]
    raise InvalidInput(
        f"unknown {where}: {key}; the nearest known one is {nearest}",
        field=key,
        found=key,
        expected=nearest,
        next_step=f"rename it to {nearest}, or remove it",
    )


def _value(item: Field[Any], raw: object, key: str, folder: Path) -> Any:
    if item.type is int:
        return _whole_number(item, raw, key)
    if not isinstance(raw, str) or not raw:
        raise InvalidInput(
            f"{key} is {raw!r}; it must be a text", field=key, found=repr(raw), expected="a text"
        )
    if raw not in item.metadata.get("choices", (raw,)):
        raise _not_offered(key, raw, item.metadata["choices"])
    return folder / Path(raw).expanduser() if item.type in _FOLDERS else raw


def _not_offered(key: str, found: str, choices: tuple[str, ...]) -> InvalidInput:
    expected = "one of " + ", ".join(choices)
    return InvalidInput(
        f"{key} is {found!r}; it must be {expected}", field=key, found=repr(found), expected=expected
    )


def _whole_number(item: Field[Any], raw: object, key: str) -> int:
    minimum, maximum = item.metadata["minimum"], item.metadata["maximum"]
    try:
        number = int(raw) if isinstance(raw, str) or type(raw) is int else None
    except ValueError:
        number = None
    if number is None or not minimum <= number <= maximum:
        expected = f"a whole number from {minimum} to {maximum}"
        raise InvalidInput(
            f"{key} is {raw!r}; it must be {expected}", field=key, found=repr(raw), expected=expected
        )
    return number
