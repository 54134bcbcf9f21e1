"""Filters on metadata in PostgreSQL, which hands over each combination of values once, with whose it is."""

from collections.abc import Sequence

from sqlalchemy import ARRAY, ColumnElement, Numeric, Text, and_, bindparam, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.asking import asking, compare, integer_conditions, roots_of
from app.db.column_types import KEY
from app.db.dialects import key_list
from app.db.models import Document
from retrieval.filters import Condition, Filter


async def passes(
    connection: AsyncConnection, filter_: Filter, among: Sequence[ColumnElement[bool]]
) -> ColumnElement[bool]:
    """A condition that means to the letter what `matches` means, on the documents for which `among` holds as
    this connection sees them.
    """
    plain = integer_conditions(filter_)
    if plain is None:
        return await _asked(connection, filter_, among)
    numbers = and_(*(_kind(condition) == "number" for condition in plain))
    compared = and_(*(_compared(condition) for condition in plain))
    asked = await _asked(connection, filter_, [*among, numbers.is_not(True)])
    return case((numbers, compared), else_=asked)


async def _asked(
    connection: AsyncConnection, filter_: Filter, among: Sequence[ColumnElement[bool]]
) -> ColumnElement[bool]:
    roots = roots_of(filter_)
    values = [cast(Document.meta.op("->")(root), Text).label(f"value_{i}") for i, root in enumerate(roots)]
    keys = key_list(Document.id).label("keys")
    rows = await connection.execute(select(*values, keys).where(*among).group_by(*values))
    accepts = asking(filter_, roots)
    found = [int(key) for *texts, keys in rows if accepts(*texts) for key in keys[1:-1].split(",")]
    return Document.id == func.any(bindparam("passing", found, ARRAY(KEY), unique=True))


def _kind(condition: Condition) -> ColumnElement[str]:
    return func.json_typeof(Document.meta.op("->")(condition.field), type_=Text)


def _compared(condition: Condition) -> ColumnElement[bool]:
    number = cast(Document.meta.op("->>")(condition.field), Numeric)
    compared: ColumnElement[bool] = compare(condition, number)
    return compared
