"""Which versions of views are live: those that something may still serve, and that new rows must therefore reach."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from typing import cast

from sqlalchemy import Connection, func, select, tuple_, union

from featurestore.definitions import FeatureView, storage_id
from featurestore.registry import schema, values
from featurestore.registry.project import Project
from featurestore.registry.records import Registered
from featurestore.registry.versions import Versions, chunks

#: How long a version is still fed after an alias has left it: so long, a rollback finds fresh rows.
GRACE = timedelta(days=30)

#: The entries of the audit log that tell of an alias leaving a version.
_MOVES = ("promote", "rollback", "demote")

#: Project, service and version.
_Service = tuple[str, str, int]


class Liveness(Project):
    """What is live in one project."""

    def live_views(self, name: str | None = None) -> list[Registered[FeatureView]]:
        """Return the live versions of all views, or of one; see :func:`live_views`."""
        with self._database.read() as connection:
            given = _given(connection, self.project)
            pinned: set[tuple[str, int]] = set()
            for project, pins in _pins(connection, _live_services(connection, {self.project, *given})):
                for reference, version in pins.items():
                    owner, _, view = reference.rpartition("/")
                    # By name, so that an on-demand view may be among them until its kind is known.
                    mine = not owner if project == self.project else owner == self.project and view in given[project]
                    if mine and name in (None, view):
                        pinned.add((view, version))
            versions = Versions(connection, self.project)
            current = versions.current("feature_view", name)
            present = {(stored.row.name, stored.row.version) for stored in current}
            found = [*current, *versions.at(pinned - present, "feature_view")]
            found.sort(key=lambda one: (one.row.name, one.row.version != one.row.current_version, -one.row.version))
            return cast("list[Registered[FeatureView]]", [versions.registered(stored) for stored in found])


def live_views(registry: Liveness, name: str | None = None) -> list[Registered[FeatureView]]:
    """Return the live versions of all views, or of one, by name, the current version of each first.

    A version is live while it is current, or a live service version pins it, here or in a project that may use the
    view. A service version is live while it is current, an alias points to it or did so within :data:`GRACE`, a model
    that is not removed refers to it, or a promotion to it waits for approval. What was removed is not current.
    """
    return registry.live_views(name)


def stored_once(views: list[Registered[FeatureView]]) -> list[Registered[FeatureView]]:
    """Return one version for each storage id, in order: of those that share rows, the one that keeps them longest."""
    kept: dict[str, Registered[FeatureView]] = {}
    for view in views:
        other = kept.setdefault(storage_id(view.definition), view)
        if _ttl(view.definition) > _ttl(other.definition):
            kept[storage_id(view.definition)] = view
    return list(kept.values())


def _ttl(view: FeatureView) -> timedelta:
    return timedelta.max if view.ttl is None else view.ttl


def _given(connection: Connection, project: str) -> dict[str, set[str]]:
    """Return, for each other project that may use views of this one, which."""
    query = select(schema.consents.c.view, schema.consents.c.consumer).filter_by(project=project)
    given: dict[str, set[str]] = {}
    for view, consumer in connection.execute(query):
        given.setdefault(consumer, set()).add(view)
    return given


def _live_services(connection: Connection, projects: Collection[str]) -> set[_Service]:
    objects, aliases, models, waiting = (
        table.c for table in (schema.objects, schema.aliases, schema.models, schema.promotions)
    )
    top = (
        select(aliases.project, aliases.service, aliases.alias, func.max(aliases.position).label("position"))
        .where(aliases.project.in_(projects))
        .group_by(aliases.project, aliases.service, aliases.alias)
        .subquery()
    )
    held = union(
        select(objects.project, objects.name, objects.current_version).where(
            objects.project.in_(projects), objects.kind == "feature_service", objects.removed_at.is_(None)
        ),
        select(aliases.project, aliases.service, aliases.version).join(
            top,
            (aliases.project == top.c.project)
            & (aliases.service == top.c.service)
            & (aliases.alias == top.c.alias)
            & (aliases.position == top.c.position),
        ),
        select(models.project, models.service, models.service_version).where(
            models.project.in_(projects), models.removed_at.is_(None)
        ),
        select(waiting.project, waiting.service, waiting.version).where(
            waiting.project.in_(projects), waiting.state == "pending"
        ),
    )
    found = {(project, service, version) for project, service, version in connection.execute(held)}
    return found | _left(connection, projects)


def _left(connection: Connection, projects: Collection[str]) -> set[_Service]:
    """Return the service versions that an alias has left not long ago.

    The audit log tells; the table of aliases forgets what a rollback went back from.
    """
    log = schema.audit.c
    since = values.now() - GRACE // timedelta(microseconds=1)
    query = select(log.project, log.object, log.details).where(
        log.project.in_(projects), log.action.in_(_MOVES), log.at >= since
    )
    found: set[_Service] = set()
    for row in connection.execute(query):
        version = json.loads(row.details).get("from_version")
        if version is not None:
            found.add((row.project, row.object.partition("@")[0], version))
    return found


def _pins(connection: Connection, services: Collection[_Service]) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Yield what each service version pins, with its project."""
    table = schema.versions.c
    query = select(table.project, table.pins)
    for chunk in chunks(sorted(services)):
        wanted = tuple_(table.project, table.name, table.version).in_(chunk)
        for project, pins in connection.execute(query.where(wanted)):
            yield project, json.loads(pins)
