"""What SQLite and PostgreSQL say in different words."""

from typing import Any

from sqlalchemy import Boolean, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.db.models import Model


def insert_or_pass(connection: AsyncConnection, table: type[Model]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that passes over the rows whose keys are there already."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


class key_list(FunctionElement[str]):  # noqa: N801  it reads as an SQL function
    """The keys of all rows as one text, "[1,2]": as rows, a million of them would take a second."""

    name = "key_list"
    type = Text()
    inherit_cache = True


class byte_is_one(FunctionElement[bool]):  # noqa: N801
    """Of some bytes and a position from 1 on: whether the byte there is 1."""

    name = "byte_is_one"
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> "byte_is_one":  # noqa: ARG002
        """As it stands: SQLite would get a comparison with 1 besides."""
        return self


@compiles(key_list, "sqlite")
def _list_on_sqlite(element: "key_list", compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_group_array({compiler.process(element.clauses, **kw)})"


@compiles(key_list, "postgresql")
def _list_on_postgres(element: "key_list", compiler: SQLCompiler, **kw: Any) -> str:
    return f"'[' || coalesce(string_agg(({compiler.process(element.clauses, **kw)})::text, ','), '') || ']'"


@compiles(byte_is_one, "sqlite")
def _byte_on_sqlite(element: "byte_is_one", compiler: SQLCompiler, **kw: Any) -> str:
    marks, position = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(substr({marks}, {position}, 1) = X'01')"


@compiles(byte_is_one, "postgresql")
def _byte_on_postgres(element: "byte_is_one", compiler: SQLCompiler, **kw: Any) -> str:
    marks, position = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(get_byte({marks}, ({position} - 1)::integer) = 1)"
