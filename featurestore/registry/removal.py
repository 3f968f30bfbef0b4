"""Objects that go: no list sees them any more, their versions can still be read, and applying revives them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, select, update

from featurestore.errors import ObjectInUseError, ObjectNotFoundError, RegistryError
from featurestore.registry import artifacts, schema, values
from featurestore.registry.audit import Event
from featurestore.registry.graph import words
from featurestore.registry.plan import Change, Step
from featurestore.registry.usage import Usage, some
from featurestore.registry.versions import Versions

#: Users go before what they use.
_ORDER = (
    "promotion_policy",
    "monitor_policy",
    "feature_service",
    "on_demand_feature_view",
    "feature_view",
    "entity",
)


def unnamed(connection: Connection, project: str, wanted: Collection[str], steps: Sequence[Step]) -> list[Change]:
    """Return the removal of every object that is not wanted any more.

    Args:
        connection: of a transaction.
        project: the namespace; nothing outside is looked at.
        wanted: the names that stay.
        steps: what is done with those.
    """
    table = schema.objects
    query = select(table.c.name, table.c.kind, table.c.current_version).filter_by(project=project, removed_at=None)
    there = sorted(connection.execute(query), key=lambda row: row.name)
    gone = [row for row in there if row.name not in wanted]
    names = {row.name for row in gone}
    if not gone:
        return []
    pins = {step.change.name: step.pins for step in steps}
    users = Usage(connection, project).users(names, without=names, pins=pins)
    changes = [_removal(row.kind, row.name, row.current_version, users.get(row.name, ())) for row in gone]
    return sorted(changes, key=lambda one: _ORDER.index(one.kind) if one.kind in _ORDER else -1)


def of_one(connection: Connection, project: str, reference: str) -> list[Change]:
    """Return the removal of an object, or of a model (``delay_ridge``: every version; ``delay_ridge@1``: that one).

    Raises:
        ObjectNotFoundError: there is neither.
        RegistryError: one version of a definition is meant, or an object and a model have the name.
    """
    name, version = values.split_reference(reference)
    models = [
        one
        for one in artifacts.list_models(connection, project, None)
        if one.name == name and version in (None, one.version)
    ]
    changes = [_removal("model", one.name, one.version, ()) for one in models]
    try:
        stored = Versions(connection, project).find(name, None)
    except ObjectNotFoundError:
        if changes:
            return changes
        raise
    if version is None and changes:
        raise RegistryError(
            f'"{name}" is both {words(stored.row.kind)} and a model.',
            hint=f'Name a version of the model: "{models[-1].id}".',
        )
    if version is not None:
        if changes:
            return changes
        raise RegistryError(
            f'"{reference}" is a version, and versions are kept: models and datasets may have been made with it.',
            hint=f'Name the object: "{name}".',
        )
    users = Usage(connection, project).users([name])
    return [_removal(stored.row.kind, name, stored.row.version, users.get(name, ()))]


def _removal(kind: str, name: str, version: int, users: tuple[str, ...]) -> Change:
    return Change(kind=kind, name=name, action="remove", from_version=version, to_version=None, users=users)


def check_unused(changes: Sequence[Change]) -> None:
    """Check that nothing uses what is to be removed.

    Raises:
        ObjectInUseError: something does; the message lists the users of each object.
    """
    used = [one for one in changes if one.users]
    if used:
        listed = "; ".join(f"{one.kind} {one.name} is used by {some(one.users, most=20)}" for one in used)
        raise ObjectInUseError(
            f"What is in use cannot be removed: {listed}.",
            hint="Remove or change the users first; an alias goes with: featurestore demote SERVICE --from ALIAS",
        )


def carry_out(connection: Connection, project: str, changes: Sequence[Change], at: int) -> None:
    """Mark objects and models as removed, at an instant in microseconds since 1970."""
    for one in changes:
        mine = {"project": project, "name": one.name}
        if one.kind == "model":
            connection.execute(update(schema.models).filter_by(**mine, version=one.from_version).values(removed_at=at))
        else:
            connection.execute(update(schema.objects).filter_by(**mine).values(removed_at=at))


def event(change: Change) -> Event:
    """Return the audit entry of a removal."""
    details: Mapping[str, object] = {"kind": change.kind, "from_version": change.from_version, "to_version": None}
    return Event(action="delete", object=f"{change.name}@{change.from_version}", details=details)
