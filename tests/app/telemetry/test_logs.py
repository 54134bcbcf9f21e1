import json
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.security import make_token
from app.settings import Settings, load_settings
from app.telemetry.context import log_fields
from app.telemetry.logs import JsonFormatter, Redactor, TextFormatter, configure_logging
from embeddings.errors import InvalidInput

SECRET = make_token()


def line_of(message: str, *arguments: object, known: str = "", **extra: object) -> dict[str, object]:
    """The JSON of one log line."""
    record = logging.LogRecord("footnote.jobs", logging.WARNING, __file__, 1, message, arguments, None)
    record.__dict__.update(extra)
    told: dict[str, object] = json.loads(JsonFormatter(Redactor((known,))).format(record))
    return told


def text_of(message: str, *arguments: object, **extra: object) -> str:
    record = logging.LogRecord("footnote.jobs", logging.WARNING, __file__, 1, message, arguments, None)
    record.__dict__.update(extra)
    return TextFormatter(Redactor()).format(record)


def test_a_line_is_json_with_what_its_request_is() -> None:
    with log_fields(request_id="r1"), log_fields(job_id="j1"):
        told = line_of("снег %d", 7, fields={"state": "done", "nothing": None})
    assert told.pop("time").endswith("Z")  # type: ignore[attr-defined]
    assert told == {
        "level": "warning",
        "logger": "footnote.jobs",
        "message": "снег 7",
        "request_id": "r1",
        "job_id": "j1",
        "state": "done",
    }


def test_fields_end_with_their_block() -> None:
    with log_fields(request_id="r1"):
        pass
    assert "request_id" not in line_of("words")


def test_text_is_one_line_whatever_a_document_is_named() -> None:
    text = text_of("cannot read %s", "a\nERROR footnote: forged \x1b[31m\x9b.txt", fields={"n": 1})
    assert text.count("\n") == 0
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert text.endswith(
        "WARNING footnote.jobs: cannot read a\\nERROR footnote: forged \\x1b[31m\\x9b.txt (n=1)"
    )


@pytest.mark.parametrize("form", [line_of, text_of])
def test_an_exception_comes_with_its_trace(form: object) -> None:
    try:
        raise ValueError(f"with {SECRET}")
    except ValueError:
        told = str(form("failed", exc_info=sys.exc_info()))  # type: ignore[operator]
    assert "Traceback" in told
    assert "ValueError: with [redacted]" in told


@pytest.mark.parametrize(
    "message",
    [
        f"key {SECRET} was refused",
        f"GET /login?token={SECRET[3:]} 303",
        "Authorization: Bearer abc.def.ghi",
        "authorization: Basic YTpi",
        "{'authorization': 'Bearer abc.def.ghi'}",
        "Cookie: footnote_session=abc.def.ghi; theme=dark",
        "footnote_session=abc.def.ghi",
        '{"api_key": "abc.def.ghi"}',
        "decoder_key='abc.def.ghi'",
        f"{make_token('fnlink_')} and {make_token('fnpage_')}",
    ],
    ids=str.__len__,  # the secrets differ from process to process, and so may not name a test
)
def test_secrets_are_cut_out(message: str) -> None:
    for told in (str(line_of(message)["message"]), str(line_of("words", fields={"note": message})["note"])):
        assert "[redacted]" in told
        for secret in ("abc.def.ghi", "YTpi", SECRET[3:]):
            assert secret not in told
        assert not any(len(word) > 40 for word in told.split())


@pytest.mark.parametrize(
    "piece", ["a-", "token ", "fn_", "bearer ", "cookie", "-token", " " * 50 + "session"]
)
def test_hostile_text_takes_no_more_than_its_length(piece: str) -> None:
    redact, text = Redactor(), piece * (200_000 // len(piece))
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 2


def test_the_decoders_key_is_cut_out_whatever_it_looks_like() -> None:
    assert line_of("refused: hunter2", known="hunter2")["message"] == "refused: [redacted]"


@pytest.mark.parametrize(
    "message", ["the key notes does not have the scope write", "5 tokens of 7", "fn_name"]
)
def test_plain_words_stay(message: str) -> None:
    assert line_of(message)["message"] == message


def test_a_lone_surrogate_does_not_end_the_logging() -> None:
    assert line_of("cannot read %s", "\udcff.txt")["message"] == "cannot read \udcff.txt"
    assert "\\udcff.txt" in text_of("cannot read %s", "\udcff.txt")


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Put the handlers back that pytest has."""
    root, own = logging.getLogger(), logging.getLogger("footnote")
    before = root.handlers[:], root.level, own.level
    yield
    root.handlers[:], root.level, own.level = before[0], before[1], before[2]


@pytest.mark.usefixtures("root_logger")
def test_the_settings_choose_level_and_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_format="json", log_level="info", decoder_key="hunter2"))
    logging.getLogger("footnote.jobs").info("hunter2")
    logging.getLogger("footnote.jobs").debug("unheard")
    logging.getLogger("httpx").info("unheard")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "[redacted]"


def test_a_level_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_settings({"FOOTNOTE_LOG_LEVEL": "loud"}, tmp_path)
    assert caught.value.field == "FOOTNOTE_LOG_LEVEL"
    assert caught.value.expected == "one of warning, debug, info, error"
