"""Consent: which views of a project others may use, and which of theirs it may."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, cast

from sqlalchemy import Connection, delete, insert, or_, select
from sqlalchemy.engine import Row

from featurestore.definitions import FeatureView, SharedFeatureView
from featurestore.errors import DefinitionError, ObjectInUseError, ObjectNotFoundError, RegistryError, closest
from featurestore.registry import loads, schema, values
from featurestore.registry.audit import Event
from featurestore.registry.liveness import Liveness
from featurestore.registry.project import Project
from featurestore.registry.records import Load, Materialization, Registered
from featurestore.registry.usage import foreign_users, some
from featurestore.registry.versions import Versions

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TABLE = schema.consents.c


@dataclass(frozen=True, kw_only=True)
class Consent:
    """An owner's leave for another project to use one of its views.

    Attributes:
        owner: the project whose view it is.
        view: the view's name there.
        consumer: the project that may use it.
        given_at: when.
        given_by: by whom.
        users: what uses it there: ``feature_service campaign@1``.
    """

    owner: str
    view: str
    consumer: str
    given_at: datetime
    given_by: str
    users: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What the other project calls the view: ``sales/weather``."""
        return f"{self.owner}/{self.view}"


class Home(Protocol):
    """The project that a view belongs to: what there is to know of the view and of its rows."""

    def feature_view(self, reference: str) -> Registered[FeatureView]:
        """Return a version of a view, as the asking project holds it."""
        ...

    def live_views(self, name: str | None = None) -> list[Registered[FeatureView]]:
        """Return the live versions of all views, or of one."""
        ...

    def loads(self, storage_id: str) -> list[Load]:
        """Return the loads of a table in their order."""
        ...

    def last_materialization(self, storage_id: str) -> Materialization | None:
        """Return the newest materialization of a table."""
        ...


class Owner(Project):
    """A project whose views another one uses, as that one sees it: nothing can be written."""

    def feature_view(self, reference: str) -> Registered[FeatureView]:
        """Return ``weather`` (the current version) or ``weather@2``, under the name ``sales/weather``.

        Raises:
            ObjectNotFoundError: there is none.
        """
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            found = versions.registered(versions.find(reference, "feature_view"))
        return self._shared(cast("Registered[FeatureView]", found))

    def live_views(self, name: str | None = None) -> list[Registered[FeatureView]]:
        """Return the live versions of all views, or of one; see :func:`featurestore.registry.live_views`."""
        return [self._shared(one) for one in Liveness(self._database, self.project).live_views(name)]

    def _shared(self, one: Registered[FeatureView]) -> Registered[FeatureView]:
        return replace(
            one,
            name=f"{self.project}/{one.name}",
            decode=lambda: SharedFeatureView.of(one.definition, self.project),
        )

    def loads(self, storage_id: str) -> list[Load]:
        """Return the loads of a table in their order; empty if there are none."""
        with self._database.read() as connection:
            return loads.list_loads(connection, self.project, storage_id)

    def last_materialization(self, storage_id: str) -> Materialization | None:
        """Return the newest materialization of a table; None before the first."""
        with self._database.read() as connection:
            return loads.last_materialization(connection, self.project, storage_id)


class Consents(Project):
    """The consents that one project gave and got."""

    def share(self, view: str, consumer: str, *, who: str) -> Consent:
        """Let another project use a view; again changes nothing.

        Args:
            view: the view's name.
            consumer: the other project; it need not have applied anything yet.
            who: who gives leave.

        Raises:
            ObjectNotFoundError: there is no such view.
            RegistryError: the other project is this one, or cannot be one.
        """
        if not _PROJECT.fullmatch(consumer) or consumer == self.project:
            what = "is this project" if consumer == self.project else "cannot name a project"
            raise RegistryError(f'"{consumer}" {what}.', hint="Name the project of the other featurestore.toml.")
        with self._write() as connection:
            name = _own_view(connection, self.project, view)
            if _find(connection, self.project, name, consumer) is None:
                key = {"project": self.project, "view": name, "consumer": consumer}
                connection.execute(insert(schema.consents).values(**key, given_at=values.now(), given_by=who))
                self._audit(connection, who, Event(action="share", object=name, details={"with": consumer}))
            row = _find(connection, self.project, name, consumer)
            assert row is not None  # noqa: S101 - written above, if it was not there
            return _consents(connection, [row])[0]

    def unshare(self, view: str, consumer: str, *, who: str) -> Consent:
        """Withdraw a consent, and return what it was.

        Raises:
            ObjectNotFoundError: there is no such view, or it is not shared with that project.
            ObjectInUseError: the other project uses it; the message lists by what.
        """
        with self._write() as connection:
            name = _own_view(connection, self.project, view)
            row = _find(connection, self.project, name, consumer)
            if row is None:
                given = select(_TABLE.consumer).filter_by(project=self.project, view=name)
                raise ObjectNotFoundError(
                    f'View "{name}" is not shared with project "{consumer}".',
                    hint=closest(consumer, connection.execute(given).scalars()),
                )
            # Before its users are counted: whoever is applying one at this moment holds the row, and is waited for.
            key = {"project": self.project, "view": name, "consumer": consumer}
            connection.execute(delete(schema.consents).filter_by(**key))
            (consent,) = _consents(connection, [row])
            if consent.users:
                raise ObjectInUseError(
                    f'View "{name}" is used in project "{consumer}", by {some(consent.users, most=20)}.',
                    hint=f'Project "{consumer}" first applies these without it, and takes aliases and models back.',
                )
            self._audit(connection, who, Event(action="unshare", object=name, details={"with": consumer}))
        return consent

    def consents(self) -> list[Consent]:
        """Return the consents that this project gave, then those that it got, by owner, view and consumer."""
        query = select(schema.consents).where(or_(_TABLE.project == self.project, _TABLE.consumer == self.project))
        with self._database.read() as connection:
            found = _consents(connection, list(connection.execute(query)))
        return sorted(found, key=lambda one: (one.owner != self.project, one.owner, one.view, one.consumer))

    def projects(self) -> Sequence[str]:
        """Return the projects of the registry, by name."""
        with self._database.read() as connection:
            return sorted(connection.execute(select(schema.projects.c.project)).scalars())

    def owner(self, view: SharedFeatureView) -> Home:
        """Return the project that a view of another one belongs to."""
        return Owner(self._database, view.project)

    def may_use(self, view: SharedFeatureView) -> bool:
        """Return whether the owner of a view shares it with this project."""
        with self._database.read() as connection:
            return _find(connection, view.project, view.name, self.project) is not None


def check(connection: Connection, owner: str, view: str, consumer: str, *, hold: bool) -> None:
    """Check that a project may use a view of another.

    Args:
        connection: of a transaction.
        owner: the project whose view it is.
        view: the view.
        consumer: the project that wants it.
        hold: whether the consent may not be withdrawn before the transaction has ended.

    Raises:
        DefinitionError: it may not.
    """
    if _find(connection, owner, view, consumer, hold=hold) is None:
        raise DefinitionError(
            f'Project "{owner}" does not share view "{view}" with project "{consumer}".',
            hint=f'Its owner runs, in the folder of "{owner}": featurestore share {view} --with {consumer}',
        )


def _own_view(connection: Connection, project: str, view: str) -> str:
    name, version = values.split_reference(view)
    if version is not None:
        raise RegistryError(f'"{view}" is a version; a view is shared with all of them.', hint=f'Name it: "{name}".')
    return str(Versions(connection, project).find(name, "feature_view").row.name)


def _find(
    connection: Connection, owner: str, view: str, consumer: str, *, hold: bool = False
) -> Row[tuple[Any, ...]] | None:
    query = select(schema.consents).filter_by(project=owner, view=view, consumer=consumer)
    return connection.execute(query.with_for_update(read=True) if hold else query).first()


def _consents(connection: Connection, rows: Sequence[Row[tuple[Any, ...]]]) -> list[Consent]:
    views: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        views.setdefault((row.project, row.consumer), []).append(row.view)
    users = {pair: foreign_users(connection, pair[0], names, pair[1]) for pair, names in views.items()}
    return [
        Consent(
            owner=row.project,
            view=row.view,
            consumer=row.consumer,
            given_at=values.instant(row.given_at),
            given_by=row.given_by,
            users=users[row.project, row.consumer].get(row.view, ()),
        )
        for row in rows
    ]
