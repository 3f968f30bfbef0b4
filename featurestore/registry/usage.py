"""Who uses what: definitions that pin others, aliases and models that hold versions of services, other projects."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, and_, select

from featurestore.registry import aliases, schema

_CHUNK = 500  # names in one query: well under the limits of both databases


@dataclass(frozen=True)
class Current:
    """The current version of an object, with the versions of those that it refers to."""

    kind: str
    name: str
    version: int
    pins: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}@{self.version}"


@dataclass(frozen=True)
class Holder:
    """An alias, model or waiting promotion: it holds one version of a service, current or not."""

    what: str
    service: str
    version: int

    def __str__(self) -> str:
        return f"{self.what} ({self.service}@{self.version})"


class Usage:
    """Who uses what in one project, as one transaction sees it."""

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection = connection
        self._project = project

    @cached_property
    def referring(self) -> dict[str, Current]:
        """The objects that can refer to others, by name: all that are there but entities."""
        version, there = schema.versions.c, schema.objects.c
        joined = schema.versions.join(
            schema.objects,
            and_(
                version.project == there.project,
                version.name == there.name,
                version.version == there.current_version,
            ),
        )
        query = (
            select(there.kind, there.name, version.version, version.pins)
            .select_from(joined)
            .where(there.project == self._project, there.removed_at.is_(None), there.kind != "entity")
        )
        # Not by the database: PostgreSQL's idea of an order depends on its language.
        rows = sorted(self._connection.execute(query), key=lambda row: row.name)
        return {row.name: Current(row.kind, row.name, row.version, json.loads(row.pins)) for row in rows}

    @cached_property
    def holders(self) -> tuple[Holder, ...]:
        """What holds versions of services."""
        mine = {"project": self._project}
        models = select(schema.models).filter_by(**mine, removed_at=None)
        promotions = select(schema.promotions).filter_by(**mine, state="pending")
        found = [
            Holder(f"alias {one.alias}", one.service, one.version)
            for one in aliases.listed(self._connection, self._project, None)
        ]
        found += [
            Holder(f"model {row.name}@{row.version}", row.service, row.service_version)
            for row in sorted(self._connection.execute(models), key=lambda row: (row.name, row.version))
        ]
        found += [
            Holder(f"promotion {row.number}", row.service, row.version)
            for row in self._connection.execute(promotions.order_by(schema.promotions.c.number))
        ]
        return tuple(found)

    @cached_property
    def held(self) -> dict[Holder, frozenset[tuple[str, int]]]:
        """The versions that each holder reaches: the service's, its views', their entities'."""
        pins: dict[tuple[str, int], Mapping[str, int]] = {}
        wanted = {(one.service, one.version) for one in self.holders}
        while wanted:
            found = dict(self._pins(wanted))
            pins |= found
            wanted = {pin for inner in found.values() for pin in inner.items()} - pins.keys()
        return {one: frozenset(_reached((one.service, one.version), pins)) for one in self.holders}

    def _pins(self, wanted: Collection[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], Mapping[str, int]]]:
        table = schema.versions.c
        query = select(table.name, table.version, table.pins).filter_by(project=self._project)
        names = sorted({name for name, _ in wanted})
        for at in range(0, len(names), _CHUNK):
            for row in self._connection.execute(query.where(table.name.in_(names[at : at + _CHUNK]))):
                if (row.name, row.version) in wanted:
                    yield (row.name, row.version), json.loads(row.pins)

    def users(
        self,
        names: Collection[str],
        *,
        without: Collection[str] = (),
        pins: Mapping[str, Mapping[str, int]] | None = None,
    ) -> dict[str, tuple[str, ...]]:
        """Return, for each name that is used, what uses it.

        Args:
            names: the objects.
            without: users that do not count, because they go as well.
            pins: what objects will refer to, where that is about to change.
        """
        found: dict[str, list[str]] = {}
        for user in self.referring.values():
            if user.name not in without:
                for name in (pins or {}).get(user.name, user.pins):
                    found.setdefault(name, []).append(str(user))
        for holder, versions in self.held.items():
            for name in dict.fromkeys(name for name, _ in versions):
                found.setdefault(name, []).append(str(holder))
        for name, others in self._elsewhere(names).items():
            found.setdefault(name, []).extend(others)
        return {name: tuple(dict.fromkeys(found[name])) for name in names if name in found}

    def users_of_version(self, name: str, version: int) -> tuple[str, ...]:
        """Return what uses one version of an object; policies are about every version."""
        found = [
            str(user)
            for user in self.referring.values()
            if name in user.pins and (user.pins[name] == version or user.kind.endswith("_policy"))
        ]
        found += [str(holder) for holder, versions in self.held.items() if (name, version) in versions]
        found += self._elsewhere([name]).get(name, ())
        return tuple(dict.fromkeys(found))

    def _elsewhere(self, names: Collection[str]) -> dict[str, list[str]]:
        """Return, for each view that other projects may use, what does so there, or the project that may."""
        consents = select(schema.consents).filter_by(project=self._project)
        given: dict[str, list[str]] = {}
        for row in sorted(self._connection.execute(consents), key=lambda row: row.consumer):
            if row.view in names:
                given.setdefault(row.consumer, []).append(row.view)
        found: dict[str, list[str]] = {}
        for consumer, views in given.items():
            used = foreign_users(self._connection, self._project, views, consumer)
            for view in views:
                users = [f'{one} of project "{consumer}"' for one in used.get(view, ())]
                found.setdefault(view, []).extend(users or [f'project "{consumer}" (by consent)'])
        return found


def foreign_users(
    connection: Connection, owner: str, views: Collection[str], consumer: str
) -> dict[str, tuple[str, ...]]:
    """Return, for each view of a project that another project uses, what does so there."""
    used = Usage(connection, consumer).users([f"{owner}/{view}" for view in views])
    return {reference.partition("/")[2]: users for reference, users in used.items()}


def _reached(start: tuple[str, int], pins: Mapping[tuple[str, int], Mapping[str, int]]) -> Iterable[tuple[str, int]]:
    seen = {start}
    rest = [start]
    while rest:
        # What another project pins is that project's.
        new = set(pins.get(rest.pop(), {}).items()) - seen
        seen |= new
        rest += new
    return seen


def some(names: Iterable[str], most: int = 5) -> str:
    """Return names as a list in a sentence, cut where it gets long."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
