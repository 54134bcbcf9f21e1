"""Checks on ZIP containers (DOCX, PPTX, XLSX, ODT, EPUB) before anything is unpacked."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO
from xml.parsers import expat

from embeddings.errors import TooLarge, Unreadable

MAX_UNPACKED_BYTES = 512 * 1024 * 1024
MAX_MEMBERS = 20_000
_XML_HEAD_BYTES = 65_536  # a document type declaration stands before the first element, mostly in here
_DECLARATION = b"<!ENTITY"
_BYTES = "iso-8859-1"  # every byte is a character: markup looks the same in nearly all encodings
_XML_SUFFIXES = (".xml", ".rels", ".opf", ".xhtml", ".html", ".htm", ".ncx")


def check_container(data: bytes, max_unpacked_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Refuse ZIP bombs, encrypted members and XML entity declarations.

    Raises TooLarge or Unreadable. The sizes are those the directory declares; a container that lies about
    them meets the memory limit of the worker.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_sizes(members, max_unpacked_bytes)
            _check_encryption(members)
            for member in members:
                if member.filename.lower().endswith(_XML_SUFFIXES):
                    _check_entities(archive, member)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        OSError,
        EOFError,
        ValueError,
    ) as error:
        raise broken_container(error) from error
    except zipfile.zlib.error as error:  # type: ignore[attr-defined]
        raise broken_container(error) from error


def broken_container(error: Exception) -> Unreadable:
    """Return the error for a container whose directory or members can't be read."""
    return Unreadable(
        f"the file is a broken ZIP container: {error}",
        found="a container with damaged contents",
        expected="a whole DOCX, PPTX, XLSX, ODT or EPUB file",
        next_step="copy or download the file again",
    )


def _check_sizes(members: list[zipfile.ZipInfo], max_unpacked_bytes: int) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > max_unpacked_bytes or len(members) > MAX_MEMBERS:
        raise TooLarge(
            f"the file unpacks to {unpacked:,} bytes in {len(members):,} parts",
            found=f"{unpacked:,} bytes in {len(members):,} parts",
            expected=f"at most {max_unpacked_bytes:,} bytes in {MAX_MEMBERS:,} parts",
            next_step="split the document, or save it without its images and media",
        )


def _check_encryption(members: list[zipfile.ZipInfo]) -> None:
    if any(member.flag_bits & 1 for member in members):
        raise Unreadable(
            "the file is encrypted",
            found="encrypted members",
            expected="a file that opens without a password",
            next_step="save it without a password and add it again",
        )


def _check_entities(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as stream:
        head = stream.read(_XML_HEAD_BYTES)
        reject_entities(head, member.filename)
        try:
            _check_prolog(chain([head], _blocks(stream)), member.filename)
        except (LookupError, ValueError):  # an encoding that expat lacks: GB2312, or none at all
            stream.seek(0)
            _check_prolog(_blocks(stream), member.filename, _BYTES)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: stream.read(_XML_HEAD_BYTES), b"")


def _check_prolog(blocks: Iterable[bytes], name: str, encoding: str | None = None) -> None:
    """Look for entities before the first element with a parser: a comment of any length may stand there.

    encoding: in place of the declared one. Raises LookupError or ValueError for one that expat lacks.
    """

    def declared(*_: object) -> None:
        reject_entities(_DECLARATION, name)

    def begun(*_: object) -> None:
        raise _PrologEndError

    parser = expat.ParserCreate(encoding)
    parser.EntityDeclHandler, parser.StartElementHandler = declared, begun
    try:
        for block in blocks:
            parser.Parse(block, False)
    except (_PrologEndError, expat.ExpatError):  # what is no XML has no entities either
        return


class _PrologEndError(Exception):
    """The first element has begun."""


def reject_entities(xml: bytes, name: str) -> None:
    """Raise Unreadable when `xml` declares entities: they can unfold to gigabytes or name local files."""
    if _DECLARATION in xml.replace(b"\x00", b""):  # also in UTF-16
        raise Unreadable(
            f"{name} declares XML entities, which are not expanded for safety",
            found="<!ENTITY in the document type declaration",
            expected="XML without entity declarations",
            next_step="save the document again with a current version of its program",
        )
