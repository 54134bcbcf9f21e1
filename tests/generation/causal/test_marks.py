import pytest

from generation.causal.marks import MarkReader


def read(text: str, size: int) -> tuple[str, list[tuple[int, int]], str]:
    """The text, the marks and the joined pieces that were told; it comes `size` characters at a time."""
    reader = MarkReader()
    told = "".join(reader.push(text[at : at + size]) for at in range(0, len(text), size)) + reader.flush()
    return reader.text, reader.marks, told


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("written", "text", "marks"),
    [
        ("It lasted 7 years. [1]", "It lasted 7 years.", [(18, 1)]),
        ("It lasted 7 years [1]. It ended [2].", "It lasted 7 years. It ended.", [(17, 1), (27, 2)]),
        ("Both [1][2] and [3, 12].", "Both and.", [(4, 1), (4, 2), (8, 3), (8, 12)]),
        ("每天早上浇水。[2]雨水最好。【1】", "每天早上浇水。雨水最好。", [(7, 2), (12, 1)]),
        ("Вода ［1，2］.", "Вода.", [(4, 1), (4, 2)]),
        ("[1] It began.", "It began.", [(0, 1)]),
        ("  It began.  \n", "It began.", []),
        ("In [1756] and [see a] and [] it", "In [1756] and [see a] and [] it", []),
        ("It ends in [1", "It ends in [1", []),
        ("", "", []),
    ],
)
def test_marks_are_taken_out_however_the_pieces_fall(
    written: str, text: str, marks: list[tuple[int, int]], size: int
) -> None:
    assert read(written, size) == (text, marks, text)


def test_no_part_of_a_mark_is_ever_told() -> None:
    reader = MarkReader()
    assert [reader.push(piece) for piece in ["Peas.", " ", "[", "1", "]", " They"]] == [
        "Peas.", "", "", "", "", " They",
    ]  # fmt: skip
