"""Stored versions back into definitions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Select, and_, select, tuple_
from sqlalchemy.engine import Row

from featurestore.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    MonitorPolicy,
    OnDemandFeatureView,
    PromotionPolicy,
)
from featurestore.definitions.shared import reference_in
from featurestore.errors import ObjectNotFoundError, RegistryError, closest
from featurestore.registry import schema, values
from featurestore.registry.graph import words
from featurestore.registry.records import Registered

_CHUNK = 500  # names in one query: well under the limits of both databases

T = TypeVar("T")
#: Project, name and version.
_Key = tuple[str, str, int]


@dataclass(frozen=True)
class Stored:
    """One row of the versions table; its JSON is read when it is first asked for.

    Attributes:
        row: the columns, and ``kind``, ``current_version`` and ``removed_at`` of the object.
    """

    row: Row[Any]

    @property
    def key(self) -> _Key:
        """Project, name and version."""
        return self.row.project, self.row.name, self.row.version

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """What the hash covers."""
        return cast("dict[str, Any]", json.loads(self.row.spec))

    @cached_property
    def notes(self) -> Mapping[str, Any]:
        """What people read, without the notes of the definitions it refers to."""
        return cast("dict[str, Any]", json.loads(self.row.notes))

    @cached_property
    def pins(self) -> Mapping[str, int]:
        """The versions of those; one of another project stands under ``project/name``."""
        return cast("dict[str, int]", json.loads(self.row.pins))

    def pinned(self, reference: str) -> _Key:
        """Return which version a definition that it refers to has."""
        project, slash, name = reference.partition("/")
        return (project, name, self.pins[reference]) if slash else (self.row.project, reference, self.pins[reference])


class Versions:
    """The versions of one project, as one transaction sees them; each row is read and decoded once.

    What was read together is completed together: all versions that it is pinned to come in a few queries, and decoding
    then needs the database no more. So it can wait until somebody asks for the definition; a list of names does not.
    """

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self._project = project
        self._stored: dict[_Key, Stored] = {}
        self._incomplete: list[Stored] = []
        self._definitions: dict[_Key, Definition] = {}

    def find(self, reference: str, kind: str | None) -> Stored:
        """Return a version by ``name`` (the current one) or ``name@version``, which finds removed objects too.

        Raises:
            ObjectNotFoundError: there is none, or it is of another kind.
        """
        name, version = values.split_reference(reference)
        query = self._query().where(_OBJECT.name == name)
        if version is None:
            query = query.where(_VERSION.version == _OBJECT.current_version, _OBJECT.removed_at.is_(None))
        else:
            query = query.where(_VERSION.version == version)
        row = self._connection.execute(query).first()
        if row is None:
            raise self._not_found(name, version, kind)
        if kind is not None and row.kind != kind:
            raise ObjectNotFoundError(f'"{name}" is {words(row.kind)}, not {words(kind)}.')
        return self._keep(row)

    def current(self, kind: str | None = None, name: str | None = None) -> list[Stored]:
        """Return the current version of each object that is not removed, or of one, by name."""
        query = self._query().where(_VERSION.version == _OBJECT.current_version, _OBJECT.removed_at.is_(None))
        if name is not None:
            query = query.where(_OBJECT.name == name)
        if kind is not None:
            query = query.where(_OBJECT.kind == kind)
        # Not by the database: PostgreSQL's idea of an order depends on its language.
        rows = sorted(self._connection.execute(query), key=lambda row: row.name)
        return [self._keep(row) for row in rows]

    def every(self, kind: str) -> list[Stored]:
        """Return every version of each object of a kind that is not removed, by name and number."""
        query = self._query().where(_OBJECT.kind == kind, _OBJECT.removed_at.is_(None))
        rows = sorted(self._connection.execute(query), key=lambda row: (row.name, row.version))
        return [self._keep(row) for row in rows]

    def at(self, keys: Iterable[tuple[str, int]], kind: str) -> list[Stored]:
        """Return versions by name and number, in no order; those of another kind are left out."""
        return self._load(((self._project, *key) for key in keys), kind)

    def of(self, name: str) -> list[Stored]:
        """Return every version of one object, oldest first; none if there is no such object."""
        query = self._query().where(_OBJECT.name == name).order_by(_VERSION.version)
        return [self._keep(row) for row in self._connection.execute(query)]

    def current_of(self, names: Iterable[str]) -> dict[str, Stored]:
        """Return the current versions of the objects that exist, and the last ones of those removed, by name."""
        query = self._query().where(_VERSION.version == _OBJECT.current_version)
        return {
            row.name: self._keep(row)
            for chunk in chunks(names)
            for row in self._connection.execute(query.where(_OBJECT.name.in_(chunk)))
        }

    def hashes_of(self, names: Iterable[str]) -> dict[str, dict[str, int]]:
        """Return, for each name, its versions by content hash."""
        columns = select(_VERSION.name, _VERSION.content_hash, _VERSION.version).filter_by(project=self._project)
        found: dict[str, dict[str, int]] = {}
        for chunk in chunks(names):
            for name, content_hash, version in self._connection.execute(columns.where(_VERSION.name.in_(chunk))):
                found.setdefault(name, {})[content_hash] = version
        return found

    def definition(self, stored: Stored) -> Definition:
        """Return the definition, with its own notes and those of the versions it is pinned to.

        Raises:
            RegistryError: a newer release wrote it, with a kind of object that this one does not know.
        """
        key = stored.key
        if key not in self._definitions:
            self._definitions[key] = self._decode(stored)
        return self._definitions[key]

    def registered(self, stored: Stored) -> Registered[Definition]:
        """Return the version as the registry hands it out; its definition is decoded when it is asked for."""
        self._complete()
        row = stored.row
        return Registered(
            project=self._project,
            kind=row.kind,
            name=row.name,
            version=row.version,
            content_hash=row.content_hash,
            decode=partial(self.definition, stored),
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
        if kind in ("monitor_policy", "promotion_policy"):
            policy = MonitorPolicy if kind == "monitor_policy" else PromotionPolicy
            if "service" not in spec:  # a monitor policy of another stream of rows
                return MonitorPolicy.from_spec(spec, stored.notes)
            service = self.definition(self._pinned(stored, spec["service"]))
            assert isinstance(service, FeatureService)  # noqa: S101 - a policy can refer to nothing else
            return policy.from_spec(spec, stored.notes, service)
        raise RegistryError(
            f'"{stored.row.name}" is of kind "{kind}", which this release does not know.',
            hint="Upgrade the featurestore package here.",
        )

    def _all_notes(self, stored: Stored) -> dict[str, Any]:
        spec, notes = stored.spec, dict(stored.notes)
        if stored.row.kind == "feature_view":
            notes["entities"] = [self._notes_of(stored, entity) for entity in spec["entities"]]
        elif stored.row.kind == "on_demand_feature_view":
            notes["inputs"] = [self._notes_of(stored, view) for view in spec["inputs"]]
        elif stored.row.kind == "feature_service":
            notes["features"] = [self._notes_of(stored, part["view"]) for part in spec["features"]]
        return notes

    def _notes_of(self, stored: Stored, spec: Mapping[str, Any]) -> dict[str, Any]:
        return self._all_notes(self._pinned(stored, reference_in(spec)))

    def _pinned(self, stored: Stored, reference: str) -> Stored:
        key = stored.pinned(reference)
        if key not in self._stored:
            self._complete()
        return self._stored[key]

    def _complete(self) -> None:
        while self._incomplete:
            wanted = {stored.pinned(reference) for stored in self._incomplete for reference in stored.pins}
            self._incomplete = []
            self._load(wanted - self._stored.keys())

    def _load(self, keys: Iterable[_Key], kind: str | None = None) -> list[Stored]:
        """Read versions of this project and of others; what is not there is left out."""
        found: list[Stored] = []
        names: dict[str, list[tuple[str, int]]] = {}
        for project, name, version in sorted(keys):
            names.setdefault(project, []).append((name, version))
        for project, wanted in names.items():
            for chunk in chunks(wanted):
                query = self._query(project).where(tuple_(_VERSION.name, _VERSION.version).in_(chunk))
                if kind is not None:
                    query = query.where(_OBJECT.kind == kind)
                found += [self._keep(row) for row in self._connection.execute(query)]
        return found

    def _keep(self, row: Row[Any]) -> Stored:
        stored = Stored(row)
        if stored.key not in self._stored:
            self._stored[stored.key] = stored
            self._incomplete.append(stored)
        return self._stored[stored.key]

    def _query(self, project: str | None = None) -> Select[Any]:
        joined = schema.versions.join(
            schema.objects, and_(_VERSION.project == _OBJECT.project, _VERSION.name == _OBJECT.name)
        )
        return (
            select(schema.versions, _OBJECT.kind, _OBJECT.current_version, _OBJECT.removed_at)
            .select_from(joined)
            .where(_OBJECT.project == (project or self._project))
        )

    def _not_found(self, name: str, version: int | None, kind: str | None) -> ObjectNotFoundError:
        what = "object" if kind is None else words(kind).partition(" ")[2]
        known = self.of(name)
        shown = ", ".join(f"{name}@{stored.row.version}" for stored in known[-5:])
        if known and version is not None:
            return ObjectNotFoundError(f'There is no version {version} of "{name}".', hint=f"There is: {shown}.")
        if known:
            return ObjectNotFoundError(
                f'"{name}", {words(known[0].row.kind)}, was removed on '
                f"{values.instant(known[0].row.removed_at):%Y-%m-%d}.",
                hint=f"Its versions can still be read: {shown}. Applying its definition brings it back.",
            )
        query = select(_OBJECT.name).filter_by(project=self._project, removed_at=None)
        if kind is not None:
            query = query.filter_by(kind=kind)
        names = list(self._connection.execute(query).scalars())
        return ObjectNotFoundError(
            f'There is no {what} "{name}" in project "{self._project}".',
            hint=closest(name, names) or "Apply its definition first.",
        )


_OBJECT, _VERSION = schema.objects.c, schema.versions.c


def chunks(wanted: Iterable[T]) -> Iterator[list[T]]:
    """Yield what is wanted in lists that one query can hold."""
    rest = iter(wanted)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
