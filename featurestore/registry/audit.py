"""The audit log: append-only, each entry sealed with the hash of the one before.

An entry's hash is SHA-256 over JSON of the entry and the previous hash. Editing, removing or moving an entry breaks
the chain from there on; cutting the tail off contradicts the head that the project's row holds. Whoever can write the
database can rebuild all of it: that is what exporting the head is for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.engine import Row

from featurestore.registry import schema, values
from featurestore.registry.records import AuditEntry
from featurestore.types import microseconds

#: What the first entry has in place of a previous hash.
GENESIS = "0" * 64


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that was done, before it has its place in the log."""

    action: str
    object: str
    details: Mapping[str, Any] = field(default_factory=dict)


def lock(connection: Connection, project: str) -> None:
    """Take the project's write lock until the transaction ends, and make the project's row if there is none."""
    row = connection.execute(select(schema.projects).filter_by(project=project).with_for_update()).first()
    if row is None:
        connection.execute(
            insert(schema.projects).values(project=project, revision=0, audit_sequence=0, audit_hash=GENESIS)
        )


def append(connection: Connection, project: str, who: str, at: int, events: Iterable[Event]) -> None:
    """Add entries, inside the transaction of the change that they tell of.

    Args:
        connection: of a writing transaction that holds :func:`lock`.
        project: the namespace; each has its own chain.
        who: who did it.
        at: when, in microseconds since 1970.
        events: what was done, in order.
    """
    head = connection.execute(select(schema.projects).filter_by(project=project)).one()
    sequence, previous = head.audit_sequence, head.audit_hash
    rows: list[dict[str, Any]] = []
    for one in events:
        sequence += 1
        row = {
            "project": project,
            "sequence": sequence,
            "at": at,
            "who": who,
            "action": one.action,
            "object": one.object,
            "details": values.to_json(dict(one.details), f"The audit entry of {one.object}"),
            "previous_hash": previous,
        }
        previous = row["hash"] = _seal(row)
        rows.append(row)
    connection.execute(insert(schema.audit), rows)
    connection.execute(
        update(schema.projects).filter_by(project=project).values(audit_sequence=sequence, audit_hash=previous)
    )


def entries(
    connection: Connection,
    project: str,
    *,
    object: str | None,  # noqa: A002 - the entry's own word
    action: str | None,
    since: datetime | None,
) -> list[AuditEntry]:
    """Return entries in the order of the log; ``object="weather"`` also finds ``weather@2``."""
    query = select(schema.audit).filter_by(project=project).order_by(schema.audit.c.sequence)
    if action is not None:
        query = query.where(schema.audit.c.action == action)
    if since is not None:
        query = query.where(schema.audit.c.at >= microseconds(since))
    if object is not None:
        column = schema.audit.c.object
        query = query.where((column == object) | column.startswith(f"{object}@", autoescape=True))
    return [
        AuditEntry(
            sequence=row.sequence,
            at=values.instant(row.at),
            who=row.who,
            action=row.action,
            object=row.object,
            details=json.loads(row.details),
            previous_hash=row.previous_hash,
            hash=row.hash,
        )
        for row in connection.execute(query)
    ]


def problems(connection: Connection, project: str) -> list[str]:
    """Return a sentence for each place where the log is not what was written; none if it is intact."""
    found: list[str] = []
    sequence, previous = 0, GENESIS
    for row in connection.execute(select(schema.audit).filter_by(project=project).order_by(schema.audit.c.sequence)):
        if row.sequence != sequence + 1:
            found.append(_missing(sequence + 1, row.sequence - 1))
        elif row.previous_hash != previous:
            found.append(f"Entry {row.sequence} does not follow entry {sequence}: one of them was replaced or moved.")
        if _seal(row._mapping) != row.hash:
            found.append(f"Entry {row.sequence} was edited.")
        sequence, previous = row.sequence, row.hash
    head: Row[Any] | None = connection.execute(select(schema.projects).filter_by(project=project)).first()
    if head is None:
        if sequence:
            found.append("The head of the log is missing.")
    elif sequence < head.audit_sequence:
        found.append(_missing(sequence + 1, head.audit_sequence))
    elif (sequence, previous) != (head.audit_sequence, head.audit_hash):
        found.append(f"The log ends in entry {sequence}, which is not the head that was recorded.")
    return found


def _missing(first: int, last: int) -> str:
    return f"Entry {first} is missing." if first == last else f"Entries {first} to {last} are missing."


def _seal(row: Mapping[Any, Any]) -> str:
    sealed = {key: value for key, value in row.items() if key != "hash"}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
