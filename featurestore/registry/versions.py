"""Stored versions back into definitions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Select, and_, select
from sqlalchemy.engine import Row

from featurestore.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    MonitorPolicy,
    OnDemandFeatureView,
)
from featurestore.errors import ObjectNotFoundError, RegistryError, closest
from featurestore.registry import schema, values
from featurestore.registry.graph import words
from featurestore.registry.records import Registered

_CHUNK = 500  # names in one query: well under the limits of both databases


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One row of the versions table, its JSON read.

    Attributes:
        row: the columns, and ``kind`` and ``current_version`` of the object.
        spec: what the hash covers.
        notes: what people read, without the notes of the definitions it refers to.
        pins: the versions of those.
    """

    row: Row[Any]
    spec: Mapping[str, Any]
    notes: Mapping[str, Any]
    pins: Mapping[str, int]


class Versions:
    """The versions of one project, as one transaction sees them; each row is read and decoded once."""

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self._project = project
        self._stored: dict[tuple[str, int], Stored] = {}
        self._definitions: dict[tuple[str, int], Definition] = {}

    def find(self, reference: str, kind: str | None) -> Stored:
        """Return a version by ``name`` (the current one) or ``name@version``.

        Raises:
            ObjectNotFoundError: there is none, or it is of another kind.
        """
        name, version = values.split_reference(reference)
        column = schema.objects.c.current_version if version is None else version
        row = self._connection.execute(self._query().where(_OBJECT.name == name, _VERSION.version == column)).first()
        if row is None:
            raise self._not_found(name, version, kind)
        if kind is not None and row.kind != kind:
            raise ObjectNotFoundError(f'"{name}" is {words(row.kind)}, not {words(kind)}.')
        return self._keep(row)

    def current(self, kind: str | None = None) -> list[Stored]:
        """Return the current version of each object, by name."""
        query = self._query().where(_VERSION.version == _OBJECT.current_version).order_by(_OBJECT.name)
        if kind is not None:
            query = query.where(_OBJECT.kind == kind)
        return [self._keep(row) for row in self._connection.execute(query)]

    def of(self, name: str) -> list[Stored]:
        """Return every version of one object, oldest first; none if there is no such object."""
        query = self._query().where(_OBJECT.name == name).order_by(_VERSION.version)
        return [self._keep(row) for row in self._connection.execute(query)]

    def current_of(self, names: Iterable[str]) -> dict[str, Stored]:
        """Return the current versions of the objects that exist, by name."""
        query = self._query().where(_VERSION.version == _OBJECT.current_version)
        return {
            row.name: self._keep(row)
            for chunk in _chunks(names)
            for row in self._connection.execute(query.where(_OBJECT.name.in_(chunk)))
        }

    def hashes_of(self, names: Iterable[str]) -> dict[str, dict[str, int]]:
        """Return, for each name, its versions by content hash."""
        columns = select(_VERSION.name, _VERSION.content_hash, _VERSION.version).filter_by(project=self._project)
        found: dict[str, dict[str, int]] = {}
        for chunk in _chunks(names):
            for name, content_hash, version in self._connection.execute(columns.where(_VERSION.name.in_(chunk))):
                found.setdefault(name, {})[content_hash] = version
        return found

    def definition(self, stored: Stored) -> Definition:
        """Return the definition, with its own notes and those of the versions it is pinned to.

        Raises:
            RegistryError: a newer release wrote it, with a kind of object that this one does not know.
        """
        key = (stored.row.name, stored.row.version)
        if key not in self._definitions:
            self._definitions[key] = self._decode(stored)
        return self._definitions[key]

    def registered(self, stored: Stored) -> Registered[Definition]:
        """Return the version as the registry hands it out."""
        row = stored.row
        return Registered(
            project=self._project,
            kind=row.kind,
            name=row.name,
            version=row.version,
            content_hash=row.content_hash,
            definition=self.definition(stored),
            pins=stored.pins,
            applied_at=values.instant(row.applied_at),
            applied_by=row.applied_by,
        )

    def _decode(self, stored: Stored) -> Definition:
        spec, kind = stored.spec, stored.row.kind
        if kind == "entity":
            return Entity.from_spec(spec, stored.notes)
        if kind == "feature_view":
            return FeatureView.from_spec(spec, self._all_notes(stored))
        if kind == "on_demand_feature_view":
            return OnDemandFeatureView.from_spec(spec, self._all_notes(stored))
        if kind == "feature_service":
            return FeatureService.from_spec(spec, self._all_notes(stored))
        if kind == "monitor_policy":
            service = self.definition(self._pinned(stored, spec["service"]))
            assert isinstance(service, FeatureService)  # noqa: S101 - a policy can refer to nothing else
            return MonitorPolicy.from_spec(spec, stored.notes, service)
        raise RegistryError(
            f'"{stored.row.name}" is of kind "{kind}", which this release does not know.',
            hint="Upgrade the featurestore package here.",
        )

    def _all_notes(self, stored: Stored) -> dict[str, Any]:
        spec, notes = stored.spec, dict(stored.notes)
        if stored.row.kind == "feature_view":
            notes["entities"] = [self._notes_of(stored, entity["name"]) for entity in spec["entities"]]
        elif stored.row.kind == "on_demand_feature_view":
            notes["inputs"] = [self._notes_of(stored, view["name"]) for view in spec["inputs"]]
        elif stored.row.kind == "feature_service":
            notes["features"] = [self._notes_of(stored, part["view"]["name"]) for part in spec["features"]]
        return notes

    def _notes_of(self, stored: Stored, name: str) -> dict[str, Any]:
        return self._all_notes(self._pinned(stored, name))

    def _pinned(self, stored: Stored, name: str) -> Stored:
        version = stored.pins[name]
        if (name, version) not in self._stored:
            query = self._query().where(_OBJECT.name == name, _VERSION.version == version)
            self._keep(self._connection.execute(query).one())
        return self._stored[name, version]

    def _keep(self, row: Row[Any]) -> Stored:
        return self._stored.setdefault(
            (row.name, row.version),
            Stored(row=row, spec=json.loads(row.spec), notes=json.loads(row.notes), pins=json.loads(row.pins)),
        )

    def _query(self) -> Select[Any]:
        joined = schema.versions.join(
            schema.objects, and_(_VERSION.project == _OBJECT.project, _VERSION.name == _OBJECT.name)
        )
        return (
            select(schema.versions, _OBJECT.kind, _OBJECT.current_version)
            .select_from(joined)
            .where(_OBJECT.project == self._project)
        )

    def _not_found(self, name: str, version: int | None, kind: str | None) -> ObjectNotFoundError:
        what = "object" if kind is None else words(kind).partition(" ")[2]
        known = [stored.row.version for stored in self.of(name)] if version is not None else []
        if known:
            shown = ", ".join(f"{name}@{one}" for one in known[-5:])
            return ObjectNotFoundError(f'There is no version {version} of "{name}".', hint=f"There is: {shown}.")
        query = select(_OBJECT.name).filter_by(project=self._project)
        if kind is not None:
            query = query.filter_by(kind=kind)
        names = list(self._connection.execute(query).scalars())
        return ObjectNotFoundError(
            f'There is no {what} "{name}" in project "{self._project}".',
            hint=closest(name, names) or "Apply its definition first.",
        )


_OBJECT, _VERSION = schema.objects.c, schema.versions.c


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
