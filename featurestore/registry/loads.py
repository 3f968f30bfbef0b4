"""Two ledgers: loads that published rows, in commit order, and materializations that copied them online."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.engine import Row

from featurestore.errors import ObjectNotFoundError, RegistryError
from featurestore.registry import schema, values
from featurestore.registry.records import Load, Materialization
from featurestore.types import microseconds


def find_load(connection: Connection, project: str, storage_id: str, load_id: str) -> Load | None:
    """Return the table's load of that id, if it was recorded."""
    key = {"project": project, "storage_id": storage_id, "load_id": load_id}
    row = connection.execute(select(schema.loads).filter_by(**key)).first()
    return None if row is None else _load(row)


def get_load(connection: Connection, project: str, storage_id: str, load_id: str) -> Load:
    """Return the table's load of that id.

    Raises:
        ObjectNotFoundError: none was recorded.
    """
    found = find_load(connection, project, storage_id, load_id)
    if found is None:
        raise ObjectNotFoundError(f'No load "{load_id}" of {storage_id} was published in project "{project}".')
    return found


def list_loads(connection: Connection, project: str, storage_id: str) -> list[Load]:
    """Return the loads of a table, in their order, with those that were withdrawn."""
    query = select(schema.loads).filter_by(project=project, storage_id=storage_id).order_by(schema.loads.c.load_order)
    return [_load(row) for row in connection.execute(query)]


def list_tables(connection: Connection, project: str) -> list[str]:
    """Return the storage ids that loads were recorded of, by name."""
    found = select(schema.loads.c.storage_id).filter_by(project=project).distinct()
    return sorted(connection.execute(found).scalars())


def insert_load(
    connection: Connection,
    project: str,
    *,
    load_id: str,
    storage_id: str,
    table_version: int,
    rows_read: int,
    rows_written: int,
    rows_quarantined: int,
    rows_suppressed: int,
    reasons: Mapping[str, int],
    author: str,
) -> Load:
    """Record a load that is new, or was withdrawn and came again; the project is locked.

    Raises:
        RegistryError: the counts contradict each other.
    """
    if rows_read != rows_written + rows_quarantined + rows_suppressed:
        dropped = f" and suppressed {rows_suppressed}" if rows_suppressed else ""
        raise RegistryError(
            f'Load "{load_id}" read {rows_read} rows, but wrote {rows_written} and quarantined {rows_quarantined}'
            f"{dropped}.",
            hint="Each row that is read is either written, quarantined or suppressed.",
        )
    table = schema.loads
    last = connection.execute(
        select(func.max(table.c.load_order), func.max(table.c.published_at)).filter_by(
            project=project, storage_id=storage_id
        )
    ).one()
    connection.execute(delete(table).filter_by(project=project, storage_id=storage_id, load_id=load_id))
    connection.execute(
        insert(table).values(
            project=project,
            load_id=load_id,
            storage_id=storage_id,
            load_order=(last[0] or 0) + 1,
            table_version=table_version,
            # The order is the truth: a clock that was set back must not make a later load look known before it.
            published_at=max(values.now(), (last[1] or 0) + 1),
            rows_read=rows_read,
            rows_written=rows_written,
            rows_quarantined=rows_quarantined,
            rows_suppressed=rows_suppressed,
            reasons=values.to_json(dict(reasons), f'The reasons of load "{load_id}"'),
            author=author,
        )
    )
    return get_load(connection, project, storage_id, load_id)


def mark_withdrawn(
    connection: Connection,
    project: str,
    storage_id: str,
    *,
    withdrawn: Collection[str],
    reinstated: Collection[str],
    at: int,
) -> None:
    """Record which loads a restore took out of a table, and which came back with it; the project is locked."""
    table = schema.loads
    mine = update(table).filter_by(project=project, storage_id=storage_id)
    for ids, value in ((withdrawn, at), (reinstated, None)):
        for load_id in ids:
            connection.execute(mine.filter_by(load_id=load_id).values(withdrawn_at=value))


def insert_materialization(
    connection: Connection,
    project: str,
    *,
    storage_id: str,
    table_version: int,
    until: datetime,
    counts: Mapping[str, int],
    author: str,
) -> Materialization:
    """Record a finished materialization; the project is locked."""
    table = schema.materializations
    last: int | None = connection.execute(
        select(func.max(table.c.sequence)).filter_by(project=project, storage_id=storage_id)
    ).scalar()
    connection.execute(
        insert(table).values(
            project=project,
            storage_id=storage_id,
            sequence=(last or 0) + 1,
            table_version=table_version,
            until=microseconds(until),
            counts=values.to_json(dict(counts), f"The counts of the materialization of {storage_id}"),
            finished_at=values.now(),
            author=author,
        )
    )
    done = last_materialization(connection, project, storage_id)
    assert done is not None  # noqa: S101 - written above, in this transaction
    return done


def last_materialization(connection: Connection, project: str, storage_id: str) -> Materialization | None:
    """Return the newest materialization of a table, or None before the first."""
    table = schema.materializations
    row = connection.execute(
        select(table).filter_by(project=project, storage_id=storage_id).order_by(table.c.sequence.desc()).limit(1)
    ).first()
    if row is None:
        return None
    return Materialization(
        storage_id=row.storage_id,
        table_version=row.table_version,
        until=values.instant(row.until),
        counts=json.loads(row.counts),
        finished_at=values.instant(row.finished_at),
        author=row.author,
    )


def _load(row: Row[Any]) -> Load:
    return Load(
        load_id=row.load_id,
        storage_id=row.storage_id,
        order=row.load_order,
        table_version=row.table_version,
        published_at=values.instant(row.published_at),
        rows_read=row.rows_read,
        rows_written=row.rows_written,
        rows_quarantined=row.rows_quarantined,
        rows_suppressed=row.rows_suppressed,
        reasons=json.loads(row.reasons),
        author=row.author,
        withdrawn_at=None if row.withdrawn_at is None else values.instant(row.withdrawn_at),
    )
