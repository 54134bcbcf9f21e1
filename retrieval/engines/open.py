"""From the address of an engine to its indexes."""

from embeddings.errors import InvalidInput
from retrieval.engines.address import EngineAddress, EngineKind
from retrieval.engines.engine_index import EngineIndex
from retrieval.engines.postgres.pool import PostgresPool, close_pools, pool_of
from retrieval.engines.postgres.schema import Tables, drop_tables, find_tables, list_keys, open_tables
from retrieval.engines.postgres.vectors import PgvectorStore
from retrieval.engines.postgres.word_store import WordStore
from retrieval.engines.types import IndexKey
from retrieval.engines.vector_store import VectorStore


def open_engine_index(engine: EngineAddress, key: IndexKey, dimension: int) -> EngineIndex:
    """The index of a key; an empty one is made where there is none, or one of another dimension.

    Blocks. Raises UpstreamFailed when the engine is out of reach, InvalidInput when it cannot hold an index.
    """
    pool = _pool(engine)
    vectors = engine.kind == EngineKind.POSTGRESQL
    tables = open_tables(pool, key, _held_as(engine), dimension, vectors)
    return EngineIndex(WordStore(pool, tables), _vector_store(engine, key, pool, tables), apart=not vectors)


def drop_engine_index(engine: EngineAddress, key: IndexKey) -> None:
    """Delete the index of a key; one that is not there is no error. Raises as `open_engine_index` does."""
    pool = _pool(engine)
    tables = find_tables(pool, key, _held_as(engine))
    if tables is None:
        return
    store = _vector_store(engine, key, pool, tables)
    try:
        with pool.writing():
            drop_tables(pool, tables.index_id)  # waits for a writer; taken back when the next line fails
            store.drop()
    finally:
        store.close()


def list_engine_indexes(engine: EngineAddress, database_id: str) -> list[IndexKey]:
    """The indexes that an engine holds of a metadata database. Raises as `open_engine_index` does."""
    return list_keys(_pool(engine), database_id, _held_as(engine))


def close_engines() -> None:
    """Close the connections of this process, at its end."""
    close_pools()


def _pool(engine: EngineAddress) -> PostgresPool:
    if not engine.words_url:
        raise InvalidInput(
            f"{engine.shown} keeps no index outside of this machine",
            field="engine",
            found=engine.shown,
            expected="an engine on PostgreSQL or Milvus",
        )
    return pool_of(engine.words_url)


def _held_as(engine: EngineAddress) -> str:
    """What an index's state calls its engine. One PostgreSQL may have several names in the settings."""
    return engine.kind.value if engine.kind == EngineKind.POSTGRESQL else engine.shown


def _vector_store(engine: EngineAddress, key: IndexKey, pool: PostgresPool, tables: Tables) -> VectorStore:
    if engine.kind == EngineKind.POSTGRESQL:
        return PgvectorStore(pool, tables)
    # Its client is an extra: it is only there where it was chosen.
    from retrieval.engines.milvus import MilvusStore  # noqa: PLC0415

    return MilvusStore(engine, key, tables.dimension)
