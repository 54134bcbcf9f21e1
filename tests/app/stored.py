"""What a service's database holds, read past the service."""

from typing import Any

from sqlalchemy import inspect

from app.db.migrations import writer_connection
from app.resources import Resources


def rows(resources: Resources, statement: str) -> list[Any]:
    """The rows of a statement, as tuples."""
    with writer_connection(resources.settings.database, 5) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def dump(resources: Resources) -> str:
    """Every row of every table, each behind the table's name."""
    with writer_connection(resources.settings.database, 5) as connection:
        lines = []
        for table in inspect(connection).get_table_names():
            found = connection.exec_driver_sql(f'SELECT * FROM "{table}"')  # noqa: S608
            lines += [f"{table}: {tuple(row)}" for row in found]
        return "\n".join(lines)
