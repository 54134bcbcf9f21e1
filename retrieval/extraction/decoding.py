"""Bytes of a text file to valid Unicode.

Order of evidence: byte order mark, NUL bytes in the pattern of UTF-16 and UTF-32, strict UTF-8, the
encoding that the file declares, and last a guess by chardetng (Firefox's detector). Chosen by trying: on 24
short and long samples in cp1251, KOI8, cp866, GB18030, cp1252, cp1255, Shift JIS, EUC-JP and cp1250
chardetng was right on 22 (both misses one word repeated 20 times), chardet 7.7 on 20, charset-normalizer
3.5 on 14 (cp1252 French came back as Mac Latin 2).
"""

import codecs
import re

from embeddings.errors import Unreadable, UnsupportedFormat

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark starts with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_.:-]+)""", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SAMPLE_BYTES = 1 << 20
_CONTROL_BYTES = bytes({*range(32), 0x7F} - {*b"\t\n\v\f\r\x1b"})
_MAX_CONTROL_SHARE = 0.01  # text has none; terminal logs have a few
_SAVE_AS_UTF8 = "save the file as UTF-8 and add it again"


def clean_text(text: str) -> str:
    """Return `text` as it is stored: newlines as LF, no byte order mark, no NUL, no lone surrogate (U+FFFD
    instead).

    SQLite cuts text at NUL in some functions, and UTF-8 can't carry a lone surrogate.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return _SURROGATE.sub("\ufffd", text)


def decode_text(data: bytes, *, declares_encoding: bool = False) -> str:
    """Return the text of `data`, cleaned.

    declares_encoding: the format may name its encoding near its start, as HTML and XML do.
    Raises UnsupportedFormat when the bytes are no text, Unreadable when their encoding can't be told.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return clean_text(_decode_strictly(data[len(mark) :], encoding))
    wide = _wide_encoding(data)
    if wide is not None:
        return _checked(_decode_strictly(data, wide))
    try:
        return _checked(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        _reject_damaged_utf8(data, error)
    return _checked(_decode_legacy(data, declares_encoding))


def _decode_strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"the text is not valid {encoding.upper()}: broken at byte {error.start}",
            found=f"bytes {data[error.start : error.start + 4].hex(' ')} at {error.start}",
            expected=f"{encoding.upper()}, as the start of the file says",
            next_step=_SAVE_AS_UTF8,
        ) from error


def _wide_encoding(data: bytes) -> str | None:
    """Tell UTF-16 and UTF-32 without a mark by where their NUL bytes stand: each space has some."""
    sample = data[: _SAMPLE_BYTES & ~3]
    zeros = [sample[start::4].count(0) for start in range(4)]
    if len(data) % 2 or sum(zeros) < max(2, len(sample) // 200):
        return None
    units = len(sample) // 4
    if len(data) % 4 == 0 and zeros[:2] == [units, units]:
        return "utf-32-be"
    if len(data) % 4 == 0 and zeros[2:] == [units, units]:
        return "utf-32-le"
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if min(even, odd) * 20 > max(even, odd):
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _reject_damaged_utf8(data: bytes, error: UnicodeDecodeError) -> None:
    """Refuse UTF-8 with a few broken bytes: an 8-bit encoding would take it and make mojibake of it."""
    sample = data[:_SAMPLE_BYTES]
    lenient = sample.decode("utf-8", errors="replace")
    broken = lenient.count("\ufffd")
    sound = sum(character > "\x7f" for character in lenient) - broken
    if sound > 2 * broken:
        raise Unreadable(
            f"the text is UTF-8 with a broken sequence at byte {error.start}",
            found=f"bytes {data[error.start : error.start + 4].hex(' ')} at {error.start}",
            expected="valid UTF-8",
            next_step="repair those bytes, or export the file again",
        ) from error


def _decode_legacy(data: bytes, declares_encoding: bool) -> str:
    sample = data[:_SAMPLE_BYTES]
    _reject_binary(len(sample) - len(sample.translate(None, _CONTROL_BYTES)), len(sample))
    if declares_encoding and (declared := _DECLARED.search(data[:2048])):
        name = declared[1].decode("ascii")
        try:
            return data.decode(name)
        except (LookupError, UnicodeDecodeError):
            pass  # pages often declare UTF-8 and are not: fall through to the guess
    return _decode_guessed(data)


def _decode_guessed(data: bytes) -> str:
    from chardetng_py import detect  # type: ignore[import-untyped]  # noqa: PLC0415  # seldom needed

    encoding: str = detect(data[:_SAMPLE_BYTES])
    try:
        return data.decode(encoding)
    except (LookupError, UnicodeDecodeError) as error:
        raise Unreadable(
            f"the text is not UTF-8, and the best guess at its encoding, {encoding}, does not fit",
            found=f"bytes that are valid in neither UTF-8 nor {encoding}",
            expected="UTF-8, UTF-16, UTF-32 or a common 8-bit or East Asian encoding",
            next_step=_SAVE_AS_UTF8,
        ) from error


def _checked(text: str) -> str:
    sample = text[:_SAMPLE_BYTES]
    _reject_binary(len(_CONTROL.findall(sample)), len(sample))
    return clean_text(text)


def _reject_binary(controls: int, size: int) -> None:
    if controls > _MAX_CONTROL_SHARE * size:
        raise UnsupportedFormat(
            "the file is binary data, not text",
            found=f"{controls} control characters at its start",
            expected="text, or a document type that can be read",
            next_step="convert it to one of the readable types, such as PDF, DOCX, HTML or Markdown",
        )
