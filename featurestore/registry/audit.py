"""The audit log: append-only, each entry sealed with the hash of the one before.

An entry's hash is SHA-256 over JSON of the entry and the previous hash. Editing, removing or moving an entry breaks
the chain from there on; cutting the tail off contradicts the head that the project's row holds. Whoever can write the
database can rebuild all of it: that is what signed heads are for (see :mod:`featurestore.registry.heads`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, text, update
from sqlalchemy.engine import Row

from featurestore.registry import schema, values
from featurestore.registry.identity import origin
from featurestore.registry.records import AuditEntry
from featurestore.types import microseconds

#: What the first entry has in place of a previous hash.
GENESIS = "0" * 64

#: What an entry can tell of.
ACTIONS = (
    "apply",
    "delete",
    "ingest",
    "refuse",
    "restore",
    "backfill",
    "compact",
    "gc",
    "erase",
    "materialize",
    "dataset",
    "model",
    "promote",
    "rollback",
    "demote",
    "share",
    "unshare",
    "request",
    "approve",
    "reject",
    "transfer",
    "move",
    "silence",
    "unsilence",
    "acknowledge",
    "accept",
    "revoke",
    "close",
    "act",
    "undo",
    "identity",
    "token",
)

#: Where an entry's details keep from where it was done.
_ORIGIN = "origin"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that was done, before it has its place in the log."""

    action: str
    object: str
    details: Mapping[str, Any] = field(default_factory=dict)


def lock(connection: Connection, project: str) -> None:
    """Take the project's write lock until the transaction ends, and make the project's row if there is none."""
    locked = select(schema.projects.c.project).filter_by(project=project).with_for_update()
    if connection.execute(locked).first() is None:
        # Another process may be making the row at this moment: one of the two does, and then both queue for it.
        first = text(
            "INSERT INTO projects (project, revision, audit_sequence, audit_hash) "
            "VALUES (:project, 0, 0, :genesis) ON CONFLICT DO NOTHING"
        )
        connection.execute(first, {"project": project, "genesis": GENESIS})
        connection.execute(locked)


def append(connection: Connection, project: str, who: str, at: int, events: Iterable[Event]) -> None:
    """Add entries, inside the transaction of the change that they tell of; they also say from where it was made.

    Args:
        connection: of a writing transaction that holds :func:`lock`.
        project: the namespace; each has its own chain.
        who: who did it.
        at: when, in microseconds since 1970.
        events: what was done, in order.
    """
    head = connection.execute(select(schema.projects).filter_by(project=project)).one()
    sequence, previous = head.audit_sequence, head.audit_hash
    here = origin()
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
            "details": values.to_json({**one.details, _ORIGIN: here}, f"The audit entry of {one.object}"),
            "previous_hash": previous,
        }
        previous = row["hash"] = seal(row)
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
    who: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
) -> list[AuditEntry]:
    """Return entries in the order of the log, of those that pass every filter the newest ``limit``.

    ``object="weather"`` also finds ``weather@2`` and the loads of ``weather-0f3a91c2b4d5``, and ``who="ada"`` also
    ``ada@laptop (unverified)``.
    """
    log = schema.audit.c
    query = select(schema.audit).filter_by(project=project).order_by(log.sequence.desc()).limit(limit)
    if action is not None:
        query = query.where(log.action == action)
    if since is not None:
        query = query.where(log.at >= microseconds(since))
    if until is not None:
        query = query.where(log.at < microseconds(until))
    if object is not None:
        # Rows are loaded and materialized under the view's name and twelve digits of its storage hash.
        stored = _begins(log.object, f"{object}-") & (func.length(log.object) == len(object) + 13)
        query = query.where((log.object == object) | _begins(log.object, f"{object}@") | stored)
    if who is not None:
        query = query.where((log.who == who) | _begins(log.who, f"{who}@"))
    return [_entry(row) for row in reversed(connection.execute(query).all())]


def tells(connection: Connection, project: str, action: str, object: str, details: Mapping[str, Any]) -> bool:  # noqa: A002 - the entry's own word
    """Return whether an entry says that an action was done to just this object, with these details among its own."""
    told = select(schema.audit.c.details).filter_by(project=project, action=action, object=object)
    return any(details.items() <= json.loads(one).items() for one in connection.execute(told).scalars())


def _begins(column: ColumnElement[str], beginning: str) -> ColumnElement[bool]:
    # Not LIKE: on SQLite, upper and lower case are the same to it.
    return func.substr(column, 1, len(beginning)) == beginning


def head(connection: Connection, project: str) -> tuple[int, str]:
    """Return the number and the hash of the newest entry; 0 and :data:`GENESIS` before the first."""
    row = connection.execute(select(schema.projects).filter_by(project=project)).first()
    return (0, GENESIS) if row is None else (row.audit_sequence, row.audit_hash)


def _entry(row: Row[Any]) -> AuditEntry:
    details = json.loads(row.details)
    return AuditEntry(
        sequence=row.sequence,
        at=values.instant(row.at),
        who=row.who,
        origin=details.pop(_ORIGIN, {}),
        action=row.action,
        object=row.object,
        details=details,
        previous_hash=row.previous_hash,
        hash=row.hash,
    )


def seal(row: Mapping[Any, Any]) -> str:
    """Return the hash that an entry should have: over all of it but its hash."""
    sealed = {key: value for key, value in row.items() if key != "hash"}
    return hashlib.sha256(json.dumps(sealed, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
