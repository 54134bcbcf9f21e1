"""The summary of the capacity benchmark as a section of the guide: what was measured, and what follows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.capacity_law import Law, reach

GUIDE_PAGE = Path("app/guide/capacity.md")
HEADING = "## Measured, and drawn out"
TARGETS = {"1 million": 10**6, "10 million": 10**7, "100 million": 10**8, "1 billion": 10**9}
FULL_CHUNK_TOKENS = 200
ENCODED_TOKENS_PER_S = 30_000  # on two cores: evaluate.md, between its abstracts and its mix
MAX_HNSW_CHUNKS = 1_500_000  # of a build of FAISS; above it is inverted lists
EXACT_BYTES = 2  # of a float16 value, which inverted lists read of their candidates alone
MILVUS_BYTES = 4  # of a value

Stores = Mapping[str, Mapping[str, Law]]


def markdown(found: Mapping[str, Any]) -> str:
    """The guide's section. found: as `capacity.measure` returns it."""
    return "\n".join([HEADING, "", *_measured(found), "", *_drawn_out(found), ""])


def _measured(found: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| {store} | {part} | {_law(law)} |"
        for store, parts in found["stores"].items()
        for part, law in parts.items()
    ]
    return [
        "`python -m tests.benchmarks capacity` fills each store, looks at several sizes at what lies on the",
        "disk, and draws a line through each part; *off by* is how far the line is from what was measured,",
        f"where it fits worst. The chunks have {found['text_bytes']} bytes of text and",
        f"{found['dimension']} dimensions, one a document.",
        "",
        "| store | part | bytes a chunk | fixed, MB | off by | measured from, to chunks |",
        "|---|---|---|---|---|---|",
        *rows,
    ]


def _law(law: Law) -> str:
    sizes = f"{law['sizes'][0]:,} to {law['sizes'][-1]:,}"
    fixed_mb = round(law["fixed"] / 1e6, 1) + 0.0  # never -0.0
    return f"{round(law['a_chunk']):,} | {fixed_mb} | {law['off_by']:.1%} | {sizes}"


def _drawn_out(found: Mapping[str, Any]) -> list[str]:
    stores: Stores = found["stores"]
    exact = EXACT_BYTES * found["dimension"]
    rows: list[tuple[str, Callable[[int], float]]] = [
        ("SQLite: disk", lambda n: _total(stores["SQLite"], n)),
        ("PostgreSQL: documents, chunks, vectors: disk", lambda n: _total(stores["PostgreSQL"], n)),
        ("FAISS: disk of the shared folder", lambda n: _total(_faiss(stores, n), n)),
        ("FAISS: memory of each replica", lambda n: _faiss_memory(stores, n, exact)),
        ("pgvector: disk, beside the row above", lambda n: _total(stores["pgvector"], n)),
        ("pgvector: memory of the server", lambda n: _pgvector_memory(stores["pgvector"], n)),
        ("Milvus: words in PostgreSQL: disk", lambda n: _part(stores["pgvector"], ["words", "metadata"], n)),
        ("Milvus: memory of its nodes, by its layout", lambda n: _milvus_memory(stores, n, exact)),
    ]
    names = " | ".join(f"{name}" for name in TARGETS)
    return [
        f"| chunks | {names} |",
        "|---|" + "---|" * len(TARGETS),
        *(f"| {name} | {_cells([gigabytes(value(n)) for n in TARGETS.values()])} |" for name, value in rows),
        f"| encoding on two cores | {_cells([duration(encoding_hours(n)) for n in TARGETS.values()])} |",
    ]


def _faiss(stores: Stores, chunks: int) -> Mapping[str, Law]:
    return stores["FAISS, hnsw" if chunks <= MAX_HNSW_CHUNKS else "FAISS, ivf"]


def _faiss_memory(stores: Stores, chunks: int, exact: int) -> float:
    """All of a graph is walked; of inverted lists, all but the exact values."""
    whole = _total(_faiss(stores, chunks), chunks)
    return whole if chunks <= MAX_HNSW_CHUNKS else whole - exact * chunks


def _pgvector_memory(parts: Mapping[str, Law], chunks: int) -> float:
    """The graph holds the vectors that it compares; those of the table are read of the best candidates."""
    return _part(parts, ["graph", "words", "metadata"], chunks)


def _milvus_memory(stores: Stores, chunks: int, exact: int) -> float:
    """Float32 values, and a graph with as many neighbours as that of FAISS. Measured there, not in Milvus."""
    graph = stores["FAISS, hnsw"]["vectors"]["a_chunk"] - exact
    return chunks * (MILVUS_BYTES / EXACT_BYTES * exact + graph)


def _total(parts: Mapping[str, Law], chunks: int) -> float:
    return _part(parts, list(parts), chunks)


def _part(parts: Mapping[str, Law], names: Sequence[str], chunks: int) -> float:
    return sum(reach(parts[name], chunks) for name in names)


def encoding_hours(chunks: int) -> float:
    """Of two cores, for chunks of the full 200 tokens."""
    return chunks * FULL_CHUNK_TOKENS / ENCODED_TOKENS_PER_S / 3600


def gigabytes(taken: float) -> str:
    """In the unit that keeps three digits or fewer before the point."""
    if taken < 1e9:
        return f"{taken / 1e6:.0f} MB"
    return f"{taken / 1e9:.1f} GB" if taken < 1e11 else f"{taken / 1e9:,.0f} GB"


def duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.0f} days"


def _cells(values: Sequence[str]) -> str:
    return " | ".join(values)
