"""Filters on metadata in SQLite, which asks the filter itself, once for each combination of values."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, String, and_, case, func, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.asking import ESCAPED, asking, asking_all, compare, integer_conditions, roots_of
from app.db.models import Document
from retrieval.filters import Condition, Filter


async def passes(connection: AsyncConnection, filter_: Filter) -> ColumnElement[bool]:
    """A condition that means to the letter what `matches` means, and parses no more of the metadata than it
    needs. For statements on this connection only.
    """
    roots = roots_of(filter_)
    meta = type_coerce(Document.meta, String)
    arguments: list[ColumnElement[Any]]
    if any(ESCAPED & set(root) for root in roots):
        asked, arguments = asking_all(filter_), [meta]
    else:
        asked, arguments = asking(filter_, roots), [meta.op("->")(f'$."{root}"') for root in roots]
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.create_function("footnote_passes", len(arguments), asked, deterministic=True)
    answer = func.footnote_passes(*arguments) == 1
    plain = integer_conditions(filter_)
    if plain is None:
        return answer
    paths = {condition.field: f'$."{condition.field}"' for condition in plain}
    integers = and_(*(func.json_type(meta, path) == "integer" for path in paths.values()))
    compared = and_(*(_compared(condition, meta, paths[condition.field]) for condition in plain))
    return case((integers, compared), else_=answer)


def _compared(condition: Condition, meta: ColumnElement[str], path: str) -> ColumnElement[bool]:
    compared: ColumnElement[bool] = compare(condition, func.json_extract(meta, path, type_=BigInteger))
    return compared
