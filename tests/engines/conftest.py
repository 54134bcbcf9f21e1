"""Fixtures of the tests that need engines beside SQLite and FAISS."""

from tests.engines.milvus_fixtures import milvus_address, milvus_url
from tests.engines.postgres_fixtures import (
    migrated_database,
    migrated_url,
    postgres_databases,
    postgres_url,
)
from tests.engines.ray_fixtures import nodes, ray_head

__all__ = [
    "migrated_database",
    "migrated_url",
    "milvus_address",
    "milvus_url",
    "nodes",
    "postgres_databases",
    "postgres_url",
    "ray_head",
]
