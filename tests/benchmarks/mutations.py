"""Files broken in the ways that files break: on disks, in transfers, by programs and on purpose.

A mutation is drawn by its number, so that a failure can be made again and a long run can be cut into pieces.
"""

import io
import random
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Mutation = Callable[[bytes, random.Random], bytes]
# Lengths and offsets that parsers trust, at the borders of what they can hold.
_NUMBERS = [
    number.to_bytes(4, order) for number in (0, 1, 2**31 - 1, 2**32 - 1) for order in ("big", "little")
]
_NESTED = b"<a>" * 20_000
_ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(8))
    + b"]><r>&i;</r>"
)
MOST_MEMBERS = 3


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A mutated fixture. name: what it is called when it is sent; how: the mutations, in their order."""

    number: int
    name: str
    data: bytes
    how: tuple[str, ...]


def flip_bits(data: bytes, draw: random.Random) -> bytes:
    """1 to 64 single bits are another."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 64) if out else 0):
        out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
    return bytes(out)


def cut_end(data: bytes, draw: random.Random) -> bytes:
    """A transfer that broke off."""
    return data[: draw.randint(0, len(data))]


def cut_out(data: bytes, draw: random.Random) -> bytes:
    """A piece is missing."""
    start, end = _span(data, draw)
    return data[:start] + data[end:]


def repeat(data: bytes, draw: random.Random) -> bytes:
    """A piece stands there up to 50 times."""
    start, end = _span(data, draw)
    return data[:end] + data[start:end] * draw.randint(1, 50) + data[end:]


def shuffle(data: bytes, draw: random.Random) -> bytes:
    """Two pieces have changed places."""
    start, end = _span(data, draw)
    middle = draw.randint(start, end)
    return data[:start] + data[middle:end] + data[start:middle] + data[end:]


def zero(data: bytes, draw: random.Random) -> bytes:
    """A disk has lost a piece."""
    start, end = _span(data, draw)
    return data[:start] + bytes(end - start) + data[end:]


def write_numbers(data: bytes, draw: random.Random) -> bytes:
    """Lengths and offsets are at the borders of what parsers hold."""
    out = bytearray(data)
    for _ in range(draw.randint(1, 8) if len(out) > 4 else 0):
        place = draw.randrange(len(out) - 4)
        out[place : place + 4] = draw.choice(_NUMBERS)
    return bytes(out)


def change_digits(data: bytes, draw: random.Random) -> bytes:
    """Numbers that are written out, such as those of PDF and RTF, are others."""
    places = [place for place, byte in enumerate(data[:200_000]) if 48 <= byte <= 57]
    out = bytearray(data)
    for place in draw.sample(places, min(len(places), draw.randint(1, 32))):
        out[place] = draw.randint(48, 57)
    return bytes(out)


def insert_noise(data: bytes, draw: random.Random) -> bytes:
    """Random bytes have come in."""
    place = draw.randint(0, len(data))
    return data[:place] + draw.randbytes(draw.randint(1, 4096)) + data[place:]


def nest(data: bytes, draw: random.Random) -> bytes:
    """Elements in elements, deeper than any stack."""
    place = draw.randint(0, len(data))
    return data[:place] + _NESTED + data[place:]


def expand_entities(_data: bytes, _draw: random.Random) -> bytes:
    """A billion laughs: each entity is ten of the one before."""
    return _ENTITIES


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, cut_end, cut_out, repeat, shuffle, zero, write_numbers, change_digits, insert_noise, nest,
)  # fmt: skip


def break_file(number: int, fixtures: Sequence[Path], seed: int = 0) -> BrokenFile:
    """The broken file of a number: a fixture with one to three mutations.

    Half of the archives are broken inside: their entries are mutated and packed again, so that parsers see
    more than a bad checksum. One file in twenty is sent under another's extension.
    """
    draw = random.Random(f"{seed} {number}")
    fixture = draw.choice(fixtures)
    data, how = fixture.read_bytes(), []
    for _ in range(draw.randint(1, 3)):
        mutation = draw.choice(MUTATIONS)
        inside = zipfile.is_zipfile(io.BytesIO(data)) and draw.random() < 0.5
        data = break_entries(data, mutation, draw) if inside else mutation(data, draw)
        how.append(f"{mutation.__name__}{' inside' if inside else ''}")
    suffix = draw.choice(fixtures).suffix if draw.random() < 0.05 else fixture.suffix
    return BrokenFile(number, fixture.stem + suffix, data, tuple(how))


def break_entries(data: bytes, mutation: Mutation, draw: random.Random) -> bytes:
    """Pack an archive again with up to three of its entries mutated, one in ten of them a billion laughs.

    An archive that cannot be read any more is mutated as it is.
    """
    packed = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w") as new:
            names = old.namelist()
            chosen = set(draw.sample(names, min(len(names), draw.randint(1, MOST_MEMBERS))))
            for name in names:
                content = old.read(name)
                wanted = expand_entities if draw.random() < 0.1 else mutation
                new.writestr(name, wanted(content, draw) if name in chosen else content, zipfile.ZIP_DEFLATED)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, zlib.error):
        return mutation(data, draw)
    return packed.getvalue()


def _span(data: bytes, draw: random.Random) -> tuple[int, int]:
    """A piece of at most 64 KiB."""
    start = draw.randint(0, len(data))
    return start, min(len(data), start + draw.randint(0, 65_536))
