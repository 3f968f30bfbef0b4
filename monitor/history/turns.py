"""One writer at a time, on PostgreSQL as on SQLite.

A file of SQLite has one writer, who takes his lock when he begins: what a transaction has read is still so when it
writes, and rows are numbered in the order in which they are kept. The monitor relies on both: an incident goes on from
the state that was read, and an outbox is read in order of its numbers. Its writers are few and quick, so PostgreSQL
gives them the same, instead of locks on rows that all would have to take in one order.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

#: Any number that nobody else takes; the registry, which may share the database, has one of its own.
_ADVISORY_LOCK = 7_305_217_442


def take_turn(connection: Connection) -> None:
    """Wait until no other transaction of a monitor writes; the turn ends with the transaction.

    Raises:
        OperationalError: it did not come within :data:`featurestore.database.PATIENCE_SECONDS`.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
