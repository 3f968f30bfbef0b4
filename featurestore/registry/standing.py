"""Whether definitions and aliases are what the audit log says: whoever edits a table leaves the log as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from featurestore.definitions.canonical import spec_hash
from featurestore.registry import aliases, schema

#: Entries that say where an alias, or the current version of an object, went.
_ACTIONS = ("apply", "delete", "promote", "rollback", "demote", "share")


def contradictions(connection: Connection, project: str) -> Iterator[str]:
    """Yield a sentence for each version, object and alias that is not as the log left it."""
    applied: dict[str, str] = {}
    current: dict[str, int | None] = {}
    pointed: dict[tuple[str, str], tuple[int, float | None]] = {}
    log = schema.audit.c
    query = select(log.action, log.object, log.details).where(log.project == project, log.action.in_(_ACTIONS))
    for action, reference, text in connection.execute(query.order_by(log.sequence)):
        details = _details(text)
        name = reference.partition("@")[0]
        if action == "apply":
            applied[reference] = details.get("content_hash", "")
            current[name] = details.get("to_version")
        elif action == "delete" and details.get("kind") != "model":
            current[name] = None
        elif "alias" in details:
            _follow(pointed, action, (name, details["alias"]), details)
    yield from _versions(connection, project, applied)
    yield from _objects(connection, project, current)
    for alias in aliases.listed(connection, project, None):
        said = pointed.pop((alias.service, alias.alias), None)
        if said is None or said[0] != alias.version or (said[1] is not None and said[1] != alias.share):
            yield f'The alias "{alias.alias}" of service "{alias.service}" is not where the log left it.'
    for service, name in sorted(pointed):
        yield f'The alias "{name}" of service "{service}" is gone, and the log says nothing of that.'


def _follow(
    pointed: dict[tuple[str, str], tuple[int, float | None]], action: str, key: tuple[str, str], details: dict[str, Any]
) -> None:
    if action == "demote":
        pointed.pop(key, None)
    elif action == "share":
        if key in pointed:
            pointed[key] = (pointed[key][0], details.get("to_share"))
    elif details.get("to_version") is not None:
        pointed[key] = (details["to_version"], details.get("share"))


def _versions(connection: Connection, project: str, applied: dict[str, str]) -> Iterator[str]:
    version = schema.versions.c
    query = select(version.name, version.version, version.content_hash, version.spec, schema.objects.c.kind).where(
        version.project == project,
        schema.objects.c.project == project,
        schema.objects.c.name == version.name,
    )
    missing = dict(applied)
    for row in connection.execute(query):
        reference = f"{row.name}@{row.version}"
        said = missing.pop(reference, None)
        if said is None:
            yield f"{reference} is registered, and the log says nothing of it."
        elif not said == row.content_hash == _hash(row.kind, row.spec):
            yield f"{reference} is not what was applied: its definition was changed."
    for reference in sorted(missing):
        yield f"{reference} was applied, and is not registered any more."


def _objects(connection: Connection, project: str, current: dict[str, int | None]) -> Iterator[str]:
    rows = connection.execute(select(schema.objects).filter_by(project=project))
    for row in sorted(rows, key=lambda row: row.name):
        standing = None if row.removed_at is not None else row.current_version
        if row.name in current and standing != current[row.name]:
            yield f'"{row.name}" is not at the version where the log left it.'


def _hash(kind: str, text: str) -> str:
    try:
        return spec_hash(kind, json.loads(text))
    except (ValueError, TypeError):
        return ""


def _details(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:  # then the entry was edited, which its hash shows
        return {}
    return found if isinstance(found, dict) else {}
