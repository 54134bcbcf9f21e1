"""The Milvus collection in which indexes of one model lie side by side."""

import json
from hashlib import sha256
from typing import Any, Final

from retrieval.engines.milvus_connection import CALL_TIMEOUT_S, MilvusConnection
from retrieval.engines.milvus_terms import MAX_PIECES, MAX_TERMS
from retrieval.engines.types import IndexKey

# Indexes share partitions by the hash of their name; each search reads one.
PARTITIONS: Final = 16
NEIGHBOURS: Final = 32
EF_CONSTRUCTION: Final = 100
MAX_NAME_BYTES: Final = 1_024
MAX_PIECE_BYTES: Final = 65_535
LOAD_TIMEOUT_S: Final = 120.0


def collection_name(key: IndexKey, dimension: int) -> str:
    """Of the Milvus collection; its description says what the hash stands for."""
    digest = sha256(_described(key, dimension).encode()).hexdigest()
    return f"footnote_{digest[:32]}"


def partition_value(key: IndexKey) -> str:
    """What tells the rows of an index from the others of its Milvus collection."""
    return f"{key.collection_id}/{key.chunking}"


def make_collection(connection: MilvusConnection, key: IndexKey, dimension: int) -> None:
    """Create it where it is missing, and have it loaded; several processes may do so at once."""
    name = collection_name(key, dimension)
    if not connection.call(connection.client.has_collection, name, timeout=CALL_TIMEOUT_S):
        schema = _schema(connection.client, _described(key, dimension), dimension)
        # An equal collection that another process made meanwhile is no error.
        connection.call(
            connection.client.create_collection,
            name,
            schema=schema,
            num_partitions=PARTITIONS,
            consistency_level="Strong",
            timeout=CALL_TIMEOUT_S,
        )
    load_collection(connection, name)


def load_collection(connection: MilvusConnection, name: str) -> None:
    """Have it indexed and in the server's memory; nothing happens where it is."""
    client = connection.client
    index = client.prepare_index_params()
    parameters = {"M": NEIGHBOURS, "efConstruction": EF_CONSTRUCTION}
    index.add_index("vector", index_type="HNSW", metric_type="IP", params=parameters)
    connection.call(client.create_index, name, index, timeout=LOAD_TIMEOUT_S)
    connection.call(client.load_collection, name, timeout=LOAD_TIMEOUT_S)


def _schema(client: Any, description: str, dimension: int) -> Any:
    from pymilvus import DataType  # noqa: PLC0415  (loaded by the connection)

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("part", DataType.VARCHAR, max_length=MAX_NAME_BYTES, is_partition_key=True)
    schema.add_field("document", DataType.INT64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    schema.add_field("terms", DataType.ARRAY, element_type=DataType.INT64, max_capacity=MAX_TERMS)
    schema.add_field("bounds", DataType.JSON)
    pieces = {"max_capacity": MAX_PIECES, "max_length": MAX_PIECE_BYTES}
    schema.add_field("rest", DataType.ARRAY, element_type=DataType.VARCHAR, **pieces)
    return schema


def _described(key: IndexKey, dimension: int) -> str:
    return json.dumps({"database": key.database_id, "model": key.model_id, "dimension": dimension})
