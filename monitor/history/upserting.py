"""Rows by their key, written as SQLite and PostgreSQL both understand it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def put(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Write a row, or write over the values of the row of this key.

    Args:
        connection: the transaction.
        table: whose primary key, or another unique key of it, ``key`` is.
        key: by column; all of the unique key.
        values: by column; all others that are not null.
    """
    statement = _insert(connection, table).values(**key, **values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(key), set_=dict(values))
        if values
        else statement.on_conflict_do_nothing()
    )


def add(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Write a row unless there is one of its key; return whether it was written.

    Args:
        connection: the transaction; it goes on whatever is there.
        table: with a primary or another unique key.
        values: by column.
    """
    statement = _insert(connection, table).values(**values).on_conflict_do_nothing()
    # Not by the count of rows: what comes back of a number that the database gives is counted otherwise by each driver.
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
