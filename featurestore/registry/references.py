"""Who refers to whom, in a few queries for a project of any size: no definition is decoded that nobody asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from sqlalchemy import ColumnElement, and_, or_, select

from featurestore.definitions import Definition, FeatureView, Source
from featurestore.definitions.sources import source_from_spec
from featurestore.registry import schema
from featurestore.registry.project import Project
from featurestore.registry.records import Registered
from featurestore.registry.versions import Versions

#: What refers to views or services. Views refer to entities only, and there may be very many of them.
_REFERRING = ("on_demand_feature_view", "feature_service", "monitor_policy", "promotion_policy")


@dataclass(frozen=True, kw_only=True)
class Referrer:
    """One version of a definition that refers to others.

    Attributes:
        project: whose it is; another's if it refers to a view of ours.
        kind: its kind.
        name: its name.
        version: its number.
        pins: the versions of what it refers to, by name; ``sales/weather`` is another project's.
        current: whether it is the current version of an object that is not removed.
    """

    project: str
    kind: str
    name: str
    version: int
    pins: Mapping[str, int]
    current: bool


class References(Project):
    """The references between the definitions of one project, and to its views from others."""

    def referrers(self) -> list[Referrer]:
        """Return every version of every definition that refers to views or services, by name and number."""
        there, version = schema.objects.c, schema.versions.c
        query = (
            select(there.project, there.kind, there.name, version.version, version.pins)
            .add_columns(there.current_version, there.removed_at)
            .join_from(schema.objects, schema.versions, _same_object())
            .where(there.kind.in_(_REFERRING))
            .where(or_(there.project == self.project, version.pins.contains(f'"{self.project}/', autoescape=True)))
        )
        with self._database.read() as connection:
            found = [
                Referrer(
                    project=row.project,
                    kind=row.kind,
                    name=row.name,
                    version=row.version,
                    pins=json.loads(row.pins),
                    current=row.removed_at is None and row.version == row.current_version,
                )
                for row in connection.execute(query)
            ]
        return sorted(found, key=lambda one: (one.project != self.project, one.project, one.name, one.version))

    def current_versions(self) -> dict[str, int]:
        """Return the number of the current version of each object that is not removed."""
        there = schema.objects.c
        query = select(there.name, there.current_version).filter_by(project=self.project, removed_at=None)
        with self._database.read() as connection:
            return {row.name: row.current_version for row in connection.execute(query)}

    def definitions(
        self, wanted: Iterable[tuple[str, int]], *, kind: str, project: str = ""
    ) -> dict[tuple[str, int], Registered[Definition]]:
        """Return versions of one kind by name and number, of this project or another; those that there are."""
        with self._database.read() as connection:
            versions = Versions(connection, project or self.project)
            read = [versions.registered(stored) for stored in versions.at(wanted, kind)]
            return {(one.name, one.version): one for one in read}

    def views_that_say(self, text: str) -> list[Registered[FeatureView]]:
        """Return every version of a feature view in whose definition a text stands: a source's name, or a path."""
        there, version = schema.objects.c, schema.versions.c
        said = json.dumps(text, ensure_ascii=False)
        query = (
            select(version.name, version.version)
            .join_from(schema.objects, schema.versions, _same_object())
            .where(there.project == self.project, there.kind == "feature_view")
            .where(version.spec.contains(said, autoescape=True))
        )
        with self._database.read() as connection:
            keys = [(row.name, row.version) for row in connection.execute(query)]
        found = self.definitions(keys, kind="feature_view")
        return [cast("Registered[FeatureView]", found[key]) for key in sorted(found)]

    def view_sources(self) -> dict[str, Source | None]:
        """Return the source of the current version of each feature view, by the view's name."""
        there, version = schema.objects.c, schema.versions.c
        query = (
            select(version.name, version.spec)
            .join_from(schema.objects, schema.versions, _same_object())
            .where(there.project == self.project, there.kind == "feature_view", there.removed_at.is_(None))
            .where(version.version == there.current_version)
        )
        with self._database.read() as connection:
            found = {row.name: json.loads(row.spec)["source"] for row in connection.execute(query)}
        return {name: None if spec is None else source_from_spec(spec) for name, spec in found.items()}


def _same_object() -> ColumnElement[bool]:
    there, version = schema.objects.c, schema.versions.c
    return and_(there.project == version.project, there.name == version.name)
