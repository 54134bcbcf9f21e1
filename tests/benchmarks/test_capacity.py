"""The law of the capacity benchmark and what is drawn out of it."""

import pytest

from tests.benchmarks.capacity_law import Law, fit, reach
from tests.benchmarks.capacity_report import HEADING, TARGETS, duration, encoding_hours, gigabytes, markdown


def law(a_chunk: float) -> Law:
    return Law(fixed=0, a_chunk=a_chunk, off_by=0.0, sizes=[10_000, 20_000])


def found() -> dict[str, object]:
    faiss = {"vectors": law(1_000), "words": law(100), "columns": law(20)}
    stores = {
        "SQLite": {"documents": law(500), "vectors": law(800)},
        "PostgreSQL": {"documents": law(1_000), "vectors": law(1_000)},
        "FAISS, flat": faiss,
        "FAISS, hnsw": faiss,
        "FAISS, ivf": {**faiss, "vectors": law(900)},
        "pgvector": {"vectors": law(900), "graph": law(1_500), "words": law(400), "metadata": law(100)},
    }
    return {"dimension": 384, "text_bytes": 400, "stores": stores}


def cells(name: str) -> list[str]:
    row = next(line for line in markdown(found()).splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_line_goes_through_what_grows_evenly() -> None:
    assert fit({10: 1_100, 20: 2_100, 50: 5_100}) == Law(
        fixed=100, a_chunk=100.0, off_by=0.0, sizes=[10, 20, 50]
    )


def test_line_tells_how_far_it_is_off() -> None:
    assert fit({10: 100, 20: 200, 30: 600})["off_by"] > 0.1


def test_one_size_makes_no_law() -> None:
    with pytest.raises(ValueError, match="two or more"):
        fit({10: 1})


def test_store_never_takes_less_than_its_chunks() -> None:
    assert reach(Law(fixed=-500, a_chunk=10.0, off_by=0.0, sizes=[1, 2]), 100) == 1_000


def test_section_has_a_column_for_each_target_and_a_row_for_each_part() -> None:
    section = markdown(found())
    assert section.startswith(HEADING)
    assert "| pgvector | graph | 1,500 | 0.0 | 0.0% | 10,000 to 20,000 |" in section
    assert len(cells("SQLite: disk")) == len(TARGETS)
    assert cells("SQLite: disk")[0] == "1.3 GB"


def test_nothing_is_shown_as_nothing() -> None:
    changed = found()
    changed["stores"]["SQLite"]["vectors"] = Law(fixed=-9, a_chunk=-0.01, off_by=0.0, sizes=[1, 2])  # type: ignore[index]
    assert "| SQLite | vectors | 0 | 0.0 | 0.0% | 1 to 2 |" in markdown(changed)


def test_memory_of_a_graph_is_all_of_it_and_of_lists_all_but_the_exact_values() -> None:
    million, ten_million, *_ = cells("FAISS: memory of each replica")
    assert million == "1.1 GB"
    assert ten_million == f"{(900 + 100 + 20 - 768) * 1e7 / 1e9:.1f} GB"


def test_memory_of_pgvector_is_what_every_search_touches() -> None:
    assert cells("pgvector: memory of the server")[0] == "2.0 GB"
    assert cells("pgvector: disk, beside the row above")[0] == "2.9 GB"


def test_memory_of_milvus_is_that_of_its_wider_values_and_of_the_same_graph() -> None:
    shown = cells("Milvus: memory of its nodes, by its layout")[1]
    assert shown == f"{(4 * 384 + 1_000 - 2 * 384) * 1e7 / 1e9:.1f} GB"


def test_encoding_time_is_that_of_full_chunks() -> None:
    assert encoding_hours(10**6) == pytest.approx(1.85, abs=0.01)


@pytest.mark.parametrize(("taken", "shown"), [(5e8, "500 MB"), (2.5e9, "2.5 GB"), (1.5e12, "1,500 GB")])
def test_sizes_are_read_at_a_glance(taken: float, shown: str) -> None:
    assert gigabytes(taken) == shown


@pytest.mark.parametrize(("hours", "shown"), [(1.85, "1.9 h"), (1_852, "77 days")])
def test_times_are_read_at_a_glance(hours: float, shown: str) -> None:
    assert duration(hours) == shown
