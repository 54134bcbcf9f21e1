import pytest

from embeddings.errors import InvalidInput
from retrieval.engines.address import FAISS, EngineKind, find_engine, parse_engine, parse_engines

METADATA = "postgresql://footnote:secret@db:5432/footnote"


@pytest.mark.parametrize(
    ("source", "kind", "shown"),
    [
        ("faiss", EngineKind.FAISS, "faiss"),
        ("postgresql", EngineKind.POSTGRESQL, "postgresql"),
        ("postgresql://u:secret@h:5433/n", EngineKind.POSTGRESQL, "postgresql://h:5433/n"),
        ("postgres://u:secret@h/n", EngineKind.POSTGRESQL, "postgresql://h/n"),
        ("postgresql://h/n?user=u&password=secret&sslmode=require", EngineKind.POSTGRESQL, None),
        ("postgresql://u:@/n?host=%2Ftmp%2Fpg", EngineKind.POSTGRESQL, "postgresql:///n?host=%2Ftmp%2Fpg"),
        ("milvus://u:secret@h:19530/notes", EngineKind.MILVUS, "milvus://h:19530/notes"),
        ("milvus+lite:///data/vectors.db", EngineKind.MILVUS, "milvus+lite:///data/vectors.db"),
    ],
)
def test_engine_is_known_without_its_secrets(source: str, kind: EngineKind, shown: str | None) -> None:
    engine = parse_engine(source, METADATA)
    assert engine.kind == kind
    assert engine.shown == (shown or "postgresql://h/n?sslmode=require")
    assert "secret" not in repr(engine)
    assert "secret" in engine.url or "secret" not in source


def test_words_of_milvus_are_in_the_metadata_database() -> None:
    assert (
        parse_engine("milvus://h:19530", "postgresql+psycopg://u:p@db/n").words_url == "postgresql://u:p@db/n"
    )


@pytest.mark.parametrize("source", ["milvus://h:19530", "postgresql"])
def test_engine_that_needs_postgresql_says_so_on_sqlite(source: str) -> None:
    with pytest.raises(InvalidInput, match="needs PostgreSQL"):
        parse_engine(source, None)


@pytest.mark.parametrize(
    "source",
    [
        "qdrant",
        "qdrant://h",
        "milvus://",
        "milvus://u:secret@h:port",
        "milvus+lite:///x",
        "milvus+lite://h/x.db",
    ],
)
def test_unusable_address_is_refused_without_its_secrets(source: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_engine(source, METADATA, "FOOTNOTE_INDEX_URL")
    assert raised.value.field == "FOOTNOTE_INDEX_URL"
    assert "secret" not in f"{raised.value} {raised.value.found}"


def test_list_of_engines_always_has_faiss_and_each_once() -> None:
    engines = parse_engines(" postgresql  milvus://h:1\n postgresql ", METADATA)
    assert [engine.shown for engine in engines] == ["postgresql", "milvus://h:1", "faiss"]
    assert parse_engines("", None) == (FAISS,)


def test_engine_is_found_by_what_a_release_remembers_and_by_its_url() -> None:
    engines = parse_engines("milvus://u:p@h:1 postgresql://u:p@h/n", METADATA)
    assert find_engine(engines, None) == FAISS
    assert find_engine(engines, "milvus://h:1") == engines[0]
    assert find_engine(engines, "postgresql://other:key@h/n") == engines[1]


def test_engine_that_the_settings_lack_is_named_with_those_they_have() -> None:
    with pytest.raises(InvalidInput, match=r"milvus://h:1 is not among") as raised:
        find_engine(parse_engines("postgresql", METADATA), "milvus://u:secret@h:1")
    assert raised.value.expected == "one of postgresql, faiss"
