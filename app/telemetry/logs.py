"""Log lines on standard error: JSON for programs, or text for people. Secrets are cut out of both.

Nothing in Footnote logs headers, bodies or query strings; the redaction here is the second net, for what a
library or an exception might tell.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.settings import Settings
from app.telemetry.context import current_fields

ROOT = "footnote"
REDACTED = "[redacted]"
# Ours look like fn_..., fnlink_..., fnpage_...; others' come behind the words that announce them.
# Each repetition before what is found has a bound: a path of 64 kB must not take the square of its length.
_TOKENS = re.compile(r"\bfn[a-z]{0,8}_[A-Za-z0-9_-]{20,}")
_ANNOUNCED = re.compile(
    r"""(?ix) \b ( (?: bearer | basic ) \s{1,8}
        | (?: authorization | cookie | set-cookie | x-api-key ) ['"]? \s{0,8} [:=] \s{0,8} ['"]?
        | [a-z_-]{0,32} (?: token | secret | password | api_key | decoder_key | session ) ['"]?
          \s{0,8} [:=] \s{0,8} ['"]? )
        (?: (?: bearer | basic ) \s{1,8} )? [^\s&;,"')}]+"""
)
# Text without any of these holds nothing to cut out, and to see that takes a tenth of the time.
_HINTS = (
    *("fn", "bearer", "basic", "authorization", "cookie", "x-api-key"),
    *("token", "secret", "password", "api_key", "decoder_key", "session"),
)
# A line of the log is one event, and an escape sequence in a document's name drives no terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {10: "\\n", 13: "\\r"}


class Redactor:
    """Cuts secrets out of text. known: secrets of the settings, whatever they look like."""

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        self._known = tuple(secret for secret in known if secret)

    def __call__(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, REDACTED)
        folded = text.casefold()
        if not any(hint in folded for hint in _HINTS):
            return text
        return _ANNOUNCED.sub(rf"\1{REDACTED}", _TOKENS.sub(REDACTED, text))


class _Formatter(logging.Formatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def _parts(self, record: logging.LogRecord) -> dict[str, Any]:
        """The event: time, level, logger, message, its own fields and those of its request or job."""
        told: Mapping[str, Any] = getattr(record, "fields", {})
        fields = {**current_fields(), **told}
        return {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(record.getMessage()),
            **{name: self._clean(value) for name, value in fields.items() if value is not None},
        }

    def _clean(self, value: Any) -> Any:
        return self._redact(value) if isinstance(value, str) else value

    def _trace(self, record: logging.LogRecord) -> str | None:
        if record.exc_info and record.exc_info[1] is not None:
            return self._redact(self.formatException(record.exc_info))
        return None


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        parts, trace = self._parts(record), self._trace(record)
        if trace is not None:
            parts["exception"] = trace
        # A lone surrogate of a file's name must not end the logging.
        line = json.dumps(parts, ensure_ascii=False, default=str)
        return line.encode("utf-8", "backslashreplace").decode()


class TextFormatter(_Formatter):
    """`time LEVEL logger: message (name=value ...)`, and the trace of an exception below."""

    def format(self, record: logging.LogRecord) -> str:
        parts, trace = self._parts(record), self._trace(record)
        time, level, name, message = (parts.pop(key) for key in ("time", "level", "logger", "message"))
        rest = " ".join(f"{key}={value}" for key, value in parts.items())
        line = f"{time} {level.upper()} {name}: {message}" + (f" ({rest})" if rest else "")
        shown = line.translate(_CONTROLS)
        text = shown if trace is None else f"{shown}\n{trace}"
        return text.encode("utf-8", "backslashreplace").decode()


def configure_logging(settings: Settings) -> None:
    """Write the log of this process to standard error, as the settings say.

    The level is that of Footnote's own lines; libraries are heard from warnings on.
    """
    redact = Redactor((settings.decoder_key or "",))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(redact) if settings.log_format == "json" else TextFormatter(redact))
    level: int = getattr(logging, settings.log_level.upper())
    logging.basicConfig(level=max(logging.WARNING, level), handlers=[handler], force=True)
    logging.getLogger(ROOT).setLevel(level)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
