"""Files that are made to harm whoever reads them: bombs, entities, references to other files and hosts."""

import io
import resource
import socket
import struct
import subprocess
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from embeddings.errors import FootnoteError, TooLarge, Unreadable
from retrieval.extraction import extract
from retrieval.extraction.formats import FileKind
from retrieval.extraction.sandbox import Sandbox
from tests.retrieval.documents import make_docx, make_epub, make_odt, make_pptx, make_xlsx, make_zip

MIB = 1024 * 1024
SECRET = "the-contents-of-a-secret-file"
BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a0 "lol">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]><lolz>&a9;</lolz>"
)
BOMBED_PARTS = {
    "docx": (lambda: make_docx([("Normal", "x")]), "word/document.xml"),
    "pptx": (lambda: make_pptx(["x"]), "ppt/slides/slide1.xml"),
    "odt": (lambda: make_odt("x", "y"), "content.xml"),
    "xlsx": (lambda: make_xlsx([["x"]]), "xl/worksheets/sheet1.xml"),
    "epub": (lambda: make_epub(["<p>x</p>"]), None),
}


def with_part(archive: bytes, name: str, content: bytes) -> bytes:
    """The archive with another content of one part."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        parts: dict[str, str | bytes] = {part: opened.read(part) for part in opened.namelist()}
    assert name in parts
    return make_zip(parts | {name: content})


def part_of(kind: str) -> tuple[bytes, str]:
    """A whole file of the kind, and the name of the part that holds its text."""
    make, part = BOMBED_PARTS[kind]
    data = make()
    if part is None:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            part = next(name for name in opened.namelist() if name.endswith((".xhtml", ".html")))
    return data, part


def lying_zip(name: str, mebibytes: int, claimed: int) -> bytes:
    """An archive whose one part unpacks to that many MiB and says that it has `claimed` bytes."""
    packer, head = zlib.compressobj(9, zlib.DEFLATED, -15), b"<a>"
    packed = packer.compress(head) + b"".join(packer.compress(b" " * MIB) for _ in range(mebibytes))
    packed += packer.flush()
    checksum = zlib.crc32(head + b" " * (claimed - len(head)))
    encoded = name.encode()
    sizes = (checksum, len(packed), claimed, len(encoded), 0)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 33, *sizes) + encoded + packed
    central = (
        struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 8, 0, 33, *sizes, 0, 0, 0, 0, 0)
        + encoded
    )
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def pdf_bomb(mebibytes: int) -> bytes:
    """A PDF of one page whose content was compressed twice, mostly blanks."""
    packer = zlib.compressobj(9)
    packed = packer.compress(b"BT /F1 12 Tf (x) Tj ET\n")
    packed += b"".join(packer.compress(b" " * MIB) for _ in range(mebibytes)) + packer.flush()
    data = zlib.compress(packed, 9)
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d/Filter[/FlateDecode/FlateDecode]>>stream\n%s\nendstream" % (len(data), data),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    made, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, start=1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return made + (
        b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (table, len(made))
    )


@pytest.mark.parametrize("kind", BOMBED_PARTS)
def test_bomb_in_each_kind_of_container_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.extraction.containers.check_container.__defaults__", (MIB,))
    data, part = part_of(kind)
    bomb = with_part(data, part, b"<a>" + b" " * (2 * MIB) + b"</a>")
    assert len(bomb) < 20_000
    with pytest.raises(TooLarge, match="unpacks to"):
        extract(bomb, f"a.{kind}")


def test_many_tiny_parts_are_refused() -> None:
    data = make_zip(
        {"[Content_Types].xml": "<Types/>", "word/document.xml": "<a/>"}
        | {f"x/{n}": "" for n in range(20_001)}
    )
    with pytest.raises(TooLarge, match="parts"):
        extract(data, "a.docx")


def test_container_that_lies_about_its_size_fails_alone() -> None:
    """The worker reads more than was said; it, and not the service, bears that."""
    data, part = part_of("docx")
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        others: dict[str, str | bytes] = {
            name: opened.read(name) for name in opened.namelist() if name != part
        }
    lie = lying_zip(part, 300, 1000)
    assert len(lie) < MIB
    before = peak_mib()
    with pytest.raises(FootnoteError):
        extract(merged(make_zip(others), lie), "a.docx", timeout_s=60)
    assert peak_mib() - before < 50
    assert "fine" in extract(make_docx([("Normal", "fine")]), "b.docx").text


def test_stream_of_a_pdf_that_unfolds_is_read_by_the_worker_alone() -> None:
    """Of a file of 2 kB; one that unfolds to more than the worker may have is a failure of that file."""
    bomb = pdf_bomb(200)
    assert len(bomb) < 4000
    before = peak_mib()
    assert extract(bomb, "a.pdf", timeout_s=60).text == "x"
    assert peak_mib() - before < 50


def test_worker_and_not_the_service_goes_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    original = subprocess.Popen

    def start(*given: Any, **named: Any) -> subprocess.Popen[bytes]:
        started.append(original(*given, **named))
        return started[-1]

    monkeypatch.setattr("retrieval.extraction.sandbox.subprocess.Popen", start)
    sandbox = Sandbox()
    try:
        assert sandbox.read(FileKind.HTML, b"<p>Words.</p>").text == "Words."
        score = Path(f"/proc/{started[0].pid}/oom_score_adj")
        assert not score.exists() or score.read_text().strip() == "1000"
    finally:
        sandbox.close()


@pytest.mark.parametrize("kind", BOMBED_PARTS)
def test_billion_laughs_in_each_kind_of_container_is_refused(kind: str) -> None:
    data, part = part_of(kind)
    with pytest.raises(Unreadable, match="entities"):
        extract(with_part(data, part, BILLION_LAUGHS.encode()), f"a.{kind}")


HIDING_PLACES: dict[str, Callable[[str], bytes]] = {
    "in UTF-16": lambda xml: xml.encode("utf-16"),
    "behind a long comment": lambda xml: xml.replace("?>", f"?><!--{'x' * 200_000}-->", 1).encode(),
    "behind a false element": lambda xml: xml.replace("?>", "?><!-- <a> -->" + "\n" * 200_000, 1).encode(),
}
RST = """Words.

.. include:: {path}

.. literalinclude:: {path}

.. raw:: html
   :file: {path}

.. csv-table:: t
   :file: {path}
"""
XINCLUDE = (
    '<d xmlns:xi="http://www.w3.org/2001/XInclude"><p>Words.</p><xi:include href="{path}" parse="text"/></d>'
)


@pytest.mark.parametrize("hidden", HIDING_PLACES.values(), ids=HIDING_PLACES)
def test_hidden_entities_are_found(hidden: Callable[[str], bytes]) -> None:
    data, part = part_of("docx")
    with pytest.raises(Unreadable, match="entities"):
        extract(with_part(data, part, hidden(BILLION_LAUGHS)), "a.docx")


def test_entities_in_a_package_of_another_name_are_found() -> None:
    """container.xml may call the package what it likes."""
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="package.txt"/></rootfiles></container>'
    )
    parts = {"mimetype": "application/epub+zip", "META-INF/container.xml": container}
    with pytest.raises(Unreadable, match="entities"):
        extract(make_zip(parts | {"package.txt": BILLION_LAUGHS}), "a.epub")


def test_a_chapter_that_is_named_a_thousand_times_is_read_once() -> None:
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        '<item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest><spine>'
        + '<itemref idref="c"/>' * 1000
        + "</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="p.opf"/></rootfiles></container>'
    )
    book = make_zip({
        "mimetype": "application/epub+zip", "META-INF/container.xml": container, "p.opf": package,
        "c.xhtml": "<html><body><p>Only once.</p></body></html>",
    })  # fmt: skip
    assert extract(book, "a.epub").text.count("Only once.") == 1


@pytest.mark.parametrize(
    "declared", ['<!ENTITY x SYSTEM "file://{path}">', '<!ENTITY % x SYSTEM "file://{path}"> %x;']
)
def test_external_entity_reads_no_file(declared: str, secret: Path) -> None:
    xml = f"<!DOCTYPE d [{declared.format(path=secret)}]><d>words &x;</d>"
    for data, name in ((xml.encode(), "a.xml"), (with_part(*part_of("docx"), xml.encode()), "a.docx")):
        with pytest.raises(Unreadable, match="entities"):
            extract(data, name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.rst", RST),
        ("a.html", '<p>Words.</p><iframe src="file://{path}"></iframe><object data="file://{path}"></object>'),
        ("a.xml", XINCLUDE),
        ("a.md", "Words.\n\n![x](file://{path})\n\n<!-- #include {path} -->\n\n!include {path}\n"),
        ("a.rtf", '{{\\rtf1 Words. {{\\field{{\\*\\fldinst{{INCLUDETEXT "{path}"}}}}{{\\fldrslt x}}}}}}'),
    ],
)  # fmt: skip
def test_document_includes_no_other_file(name: str, text: str, secret: Path) -> None:
    found = extract(text.format(path=secret).encode(), name).text
    assert "Words." in found
    assert SECRET not in found


def test_document_reaches_no_other_host(listener: "Listener") -> None:
    url = f"http://127.0.0.1:{listener.port}/x"
    dtd = f'<!DOCTYPE d SYSTEM "{url}.dtd">'
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="r9" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
        f'attachedTemplate" Target="{url}" TargetMode="External"/></Relationships>'
    )
    docx, part = part_of("docx")
    with zipfile.ZipFile(io.BytesIO(docx)) as opened:
        parts: dict[str, str | bytes] = {entry: opened.read(entry) for entry in opened.namelist()}
    parts["word/_rels/document.xml.rels"] = relations
    parts[part] = dtd.encode() + bytes(parts[part])  # type: ignore[arg-type]
    hostile = {
        "a.docx": make_zip(parts),
        "a.html": f'<link rel="stylesheet" href="{url}"><img src="{url}"><p>Words.</p>'.encode(),
        "a.xml": f"{dtd}<d>Words.</d>".encode(),
        "a.md": f"![x]({url})\n\nWords.".encode(),
        "a.rst": f".. image:: {url}\n\nWords.\n\n.. raw:: html\n   :url: {url}\n".encode(),
    }
    for name, data in hostile.items():
        assert extract(data, name).text, name
    assert listener.calls == 0


@pytest.mark.parametrize("name", ["../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "..\\..\\evil.txt"])
def test_names_in_a_container_write_no_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is unpacked onto the disk, so a name leads nowhere."""
    monkeypatch.chdir(tmp_path)
    data, _ = part_of("docx")
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        parts: dict[str, str | bytes] = {entry: opened.read(entry) for entry in opened.namelist()}
    assert extract(make_zip(parts | {name: "evil"}), "a.docx").text
    assert not list(tmp_path.rglob("*evil*"))
    assert not Path("/etc/evil.txt").exists()


def test_chapter_path_leaves_no_container() -> None:
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="p.opf"/></rootfiles></container>'
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="c" href="../../../../etc/passwd"'
        ' media-type="application/xhtml+xml"/></manifest><spine><itemref idref="c"/></spine></package>'
    )
    parts = {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "p.opf": package}
    with pytest.raises(Unreadable):
        extract(make_zip(parts), "a.epub")


class Listener:
    """Counts who connects to a port of this machine."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.calls = 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that no document may bring to light."""
    path = tmp_path / "secret.txt"
    path.write_text(SECRET, encoding="utf-8")
    return path


def merged(first: bytes, second: bytes) -> bytes:
    """One archive of the parts of two; the parts stay as they are, with what they say of themselves."""
    local_1, central_1 = _split(first)
    local_2, central_2 = _split(second)
    moved = bytearray(central_2)
    offset_at = 42
    old = struct.unpack_from("<I", moved, offset_at)[0]
    struct.pack_into("<I", moved, offset_at, old + len(local_1))
    central = central_1 + bytes(moved)
    count = central.count(b"PK\x01\x02")
    body = local_1 + local_2
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(central), len(body), 0)
    return body + central + end


def _split(archive: bytes) -> tuple[bytes, bytes]:
    """The parts of an archive, and its directory."""
    size, start = struct.unpack_from("<II", archive, len(archive) - 22 + 12)
    return archive[:start], archive[start : start + size]


def peak_mib() -> int:
    """Most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
