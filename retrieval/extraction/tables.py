"""CSV and TSV: each row becomes a paragraph of `column: value` lines, to be found and quoted by itself."""

import csv
import io
import itertools
from collections import Counter

from embeddings.errors import Unreadable
from retrieval.extraction.reading import Reading

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_MAX_FIELD_CHARS = 10_000_000


def read_table(text: str, delimiter: str | None = None) -> Reading:
    """Return the rows as paragraphs.

    delimiter: None tells it from the first lines. The first row names the columns when its cells are
    distinct, filled and not numbers; without such a row the value lines carry no names. Raises Unreadable
    when the quoting is broken.
    """
    csv.field_size_limit(_MAX_FIELD_CHARS)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter or _find_delimiter(text), strict=False)
    try:
        rows = [[" ".join(cell.split()) for cell in row] for row in reader]
    except csv.Error as error:
        raise Unreadable(
            f"the table is broken at line {reader.line_num}: {error}",
            found="a row that can't be read",
            expected="rows with closed quotes",
            next_step="repair that line",
        ) from error
    titles, rows = _split_titles([_without_empty_end(row) for row in rows if any(row)])
    header, body = (rows[0], rows[1:]) if _is_header(rows) else ([], rows)
    paragraphs = [*titles, *(_row_text(header, row) for row in body)]
    return Reading("\n\n".join(paragraphs), titles[0] if titles else None, headings=())


def _without_empty_end(row: list[str]) -> list[str]:
    return row[: max(column for column, cell in enumerate(row, start=1) if cell)]


def _split_titles(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Tell rows of one cell above a wider table from the table: exports put its title there."""
    if not any(len(row) > 1 for row in rows):
        return [], rows
    titles = [row[0] for row in itertools.takewhile(lambda row: len(row) == 1, rows)]
    return titles, rows[len(titles) :]


def _find_delimiter(text: str) -> str:
    """Return the delimiter that most lines hold equally often; a comma when none is there."""
    lines = [line for line in text.split("\n", _SAMPLE_LINES)[:_SAMPLE_LINES] if line.strip()]

    def agreement(delimiter: str) -> tuple[int, int]:
        counts = Counter(line.count(delimiter) for line in lines)
        counts.pop(0, None)
        (count, times), *_ = counts.most_common(1) or [(0, 0)]
        return times, count

    return max(_DELIMITERS, key=agreement)


def _is_header(rows: list[list[str]]) -> bool:
    """Tell column names from a first row of data. One column alone is a list: its first entry is one too."""
    if len(rows) < 2 or all(len(row) == 1 for row in rows):
        return False
    names = rows[0]
    return all(names) and len(set(names)) == len(names) and not any(map(_is_number, names))


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").lstrip("+-").rstrip("%").isdigit()


def _row_text(header: list[str], row: list[str]) -> str:
    names = header + [""] * (len(row) - len(header))
    return "\n".join(
        f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=False) if cell
    )
