"""The tables of a new database."""

from __future__ import annotations

import functools

from sqlalchemy import Connection
from sqlalchemy.dialects import registry
from sqlalchemy.schema import CreateIndex, CreateTable

from monitor import schema


def create_tables(connection: Connection) -> None:
    """Create every table and index; none of them may be there."""
    for statement in _statements(connection.dialect.name):
        connection.exec_driver_sql(statement)


@functools.cache  # SQLAlchemy would write them anew for each database, and ask for each table whether it is there
def _statements(kind: str) -> tuple[str, ...]:
    dialect = registry.load(kind)()
    tables = schema.metadata.sorted_tables
    made = [CreateTable(one) for one in tables] + [CreateIndex(index) for one in tables for index in one.indexes]
    return tuple(str(one.compile(dialect=dialect)) for one in made)
