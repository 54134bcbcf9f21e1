"""EPUB: the chapters of the reading order, each through the HTML reader."""

import io
import posixpath
import zipfile
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from embeddings.errors import Unreadable
from retrieval.extraction.containers import broken_container, reject_entities
from retrieval.extraction.decoding import decode_text
from retrieval.extraction.html import read_xhtml
from retrieval.extraction.reading import Reading, join_pages

_CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
_PACKAGE = "{http://www.idpf.org/2007/opf}"
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_ENCRYPTION = "{http://www.w3.org/2001/04/xmlenc#}"


def read_epub(data: bytes) -> Reading:
    """Return the chapters in reading order as one Markdown text.

    Raises Unreadable when the package is broken or its chapters are encrypted (DRM).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            package_path = _package_path(archive)
            package = _parse(archive, package_path)
            chapters = _chapter_paths(package, posixpath.dirname(package_path))
            _reject_encrypted(archive, chapters)
            readings = [_read_chapter(archive, path) for path in chapters]
    except (zipfile.BadZipFile, KeyError, ET.ParseError, StopIteration) as error:
        raise broken_container(error) from error
    title = package.findtext(f".//{_DUBLIN_CORE}title")
    return Reading(join_pages([reading.text for reading in readings])[0], title)


def _parse(archive: zipfile.ZipFile, path: str) -> ET.Element:
    """Read one part as XML. A package may have any name, so it was not looked at before."""
    data = archive.read(path)
    reject_entities(data, path)
    return ET.fromstring(data)  # noqa: S314  # no entity is left to unfold


def _package_path(archive: zipfile.ZipFile) -> str:
    container = _parse(archive, "META-INF/container.xml")
    return next(container.iter(f"{_CONTAINER}rootfile")).attrib["full-path"]


def _chapter_paths(package: ET.Element, folder: str) -> list[str]:
    """Return the paths in reading order, without the navigation document that repeats the chapter titles."""
    items = {item.attrib["id"]: item.attrib for item in package.iter(f"{_PACKAGE}item")}
    spine = [items.get(reference.attrib["idref"], {}) for reference in package.iter(f"{_PACKAGE}itemref")]
    pages = [
        item["href"] for item in spine if "html" in item.get("media-type", "") and not _is_navigation(item)
    ]
    # Once each: a short list that names one long chapter a thousand times must not unfold.
    return list(dict.fromkeys(posixpath.normpath(posixpath.join(folder, unquote(href))) for href in pages))


def _is_navigation(item: dict[str, str]) -> bool:
    return "nav" in item.get("properties", "").split()


def _reject_encrypted(archive: zipfile.ZipFile, chapters: list[str]) -> None:
    """Refuse DRM. Fonts alone may be scrambled; that is no reason."""
    if "META-INF/encryption.xml" not in archive.namelist():
        return
    encryption = _parse(archive, "META-INF/encryption.xml")
    locked = {node.attrib.get("URI", "") for node in encryption.iter(f"{_ENCRYPTION}CipherReference")}
    if locked & set(chapters):
        raise Unreadable(
            "the book is locked by DRM",
            found="encrypted chapters",
            expected="an EPUB whose chapters can be read",
            next_step="add a copy without DRM",
        )


def _read_chapter(archive: zipfile.ZipFile, path: str) -> Reading:
    return read_xhtml(decode_text(archive.read(path), declares_encoding=True))
