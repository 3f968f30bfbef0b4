"""The registry: one project's definitions and aliases; its ledgers come with it."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import cast

from sqlalchemy import Connection, insert, select, update

from featurestore.definitions import Definition, FeatureService, FeatureView, MonitorPolicy
from featurestore.errors import BreakingChangeError
from featurestore.registry import audit, graph, schema, values
from featurestore.registry.audit import Event
from featurestore.registry.ledgers import Ledgers
from featurestore.registry.migrating import open_database
from featurestore.registry.plan import Plan, Step, prepare
from featurestore.registry.records import Registered
from featurestore.registry.rollout import Rollout
from featurestore.registry.versions import Versions


def open_registry(url: str, project: str) -> Registry:
    """Open a registry, making or upgrading its tables if needed.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg://...``.
        project: the namespace to work in; it need not exist yet.

    Raises:
        RegistryError: the database cannot be opened, or belongs to a newer release.
    """
    return Registry(open_database(url), project)


class Registry(Rollout, Ledgers):
    """One project of a registry; :func:`open_registry` makes it. Processes and threads may share the database.

    Every method that writes is one transaction together with its entries in the audit log, and takes ``who``: the
    name of whoever is answerable (:func:`featurestore.registry.current_user` where nobody authenticated).
    """

    # Definitions

    def plan(self, definitions: Sequence[Definition]) -> Plan:
        """Return what :meth:`apply` would change; what the definitions refer to is part of it.

        Raises:
            DefinitionError: one name stands for two things, or an on-demand expression cannot be evaluated.
        """
        wanted = graph.collect(definitions)
        with self._database.read() as connection:
            return _plan(prepare(wanted, Versions(connection, self.project)))

    def apply(self, definitions: Sequence[Definition], *, who: str, allow_breaking: bool = False) -> Plan:
        """Bring the registry to the definitions: all of them, or nothing. What is not named stays as it is.

        Returns:
            What was changed.

        Raises:
            DefinitionError: as :meth:`plan`.
            BreakingChangeError: users of the present versions would break, and ``allow_breaking`` is not set.
        """
        wanted = graph.collect(definitions)
        with self._database.read() as connection:
            plan = _plan(prepare(wanted, Versions(connection, self.project)))
        if plan.is_empty:  # so that services which apply at every start do not queue for the lock
            return plan
        with self._write() as connection:
            steps = prepare(wanted, Versions(connection, self.project))
            plan = _plan(steps)
            if plan.breaking and not allow_breaking:
                raise BreakingChangeError(
                    "Users of the present versions would break: " + "; ".join(plan.breaking) + ".",
                    hint="If that is meant, apply with --allow-breaking (allow_breaking=True).",
                )
            changed = [step for step in steps if step.change.action != "unchanged"]
            if changed:
                at = values.now()
                for step in changed:
                    self._carry_out(connection, step, at, who)
                self._revise(connection)
                audit.append(connection, self.project, who, at, [_event(step) for step in changed])
        return plan

    def _carry_out(self, connection: Connection, step: Step, at: int, who: str) -> None:
        change = step.change
        notes = values.to_json(dict(step.wanted.notes), f'The notes of "{change.name}"')
        key = {"project": self.project, "name": change.name}
        if change.action == "create":
            connection.execute(
                insert(schema.objects).values(**key, kind=change.kind, current_version=change.to_version)
            )
        elif change.action in ("new version", "make current"):
            connection.execute(update(schema.objects).filter_by(**key).values(current_version=change.to_version))
        if change.action in ("create", "new version"):
            connection.execute(
                insert(schema.versions).values(
                    **key,
                    version=change.to_version,
                    content_hash=step.wanted.content_hash,
                    spec=values.to_json(dict(step.spec), f'The definition of "{change.name}"'),
                    notes=notes,
                    pins=values.to_json(dict(step.pins), f'The pins of "{change.name}"'),
                    applied_at=at,
                    applied_by=who,
                )
            )
        else:
            connection.execute(update(schema.versions).filter_by(**key, version=change.to_version).values(notes=notes))

    def get(self, reference: str, *, kind: str | None = None) -> Registered[Definition]:
        """Return ``weather`` (the current version) or ``weather@1``.

        Raises:
            ObjectNotFoundError: there is none, or it is not of that kind.
        """
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            return versions.registered(versions.find(reference, kind))

    def feature_view(self, reference: str) -> Registered[FeatureView]:
        """Return a feature view; see :meth:`get`."""
        return cast("Registered[FeatureView]", self.get(reference, kind="feature_view"))

    def service(self, reference: str) -> Registered[FeatureService]:
        """Return a feature service; a bare name is its current version, unlike :meth:`resolve_service`."""
        return cast("Registered[FeatureService]", self.get(reference, kind="feature_service"))

    def policy(self, reference: str) -> Registered[MonitorPolicy]:
        """Return a monitor policy, with its service as it was when the policy was applied; see :meth:`get`."""
        return cast("Registered[MonitorPolicy]", self.get(reference, kind="monitor_policy"))

    def versions(self, name: str) -> builtins.list[Registered[Definition]]:
        """Return every version of an object, oldest first.

        Raises:
            ObjectNotFoundError: there is no such object.
        """
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            versions.find(name, None)
            return [versions.registered(stored) for stored in versions.of(name)]

    def revision(self) -> int:
        """Return a number that grows with every change that a server must see: applied definitions and aliases."""
        query = select(schema.projects.c.revision).filter_by(project=self.project)
        with self._database.read() as connection:
            return connection.execute(query).scalar() or 0

    def list(self, kind: str | None = None) -> builtins.list[Registered[Definition]]:
        """Return the current version of every object, or of those of one kind, by name."""
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            return [versions.registered(stored) for stored in versions.current(kind)]


def _plan(steps: Sequence[Step]) -> Plan:
    return Plan(changes=tuple(step.change for step in steps))


def _event(step: Step) -> Event:
    change = step.change
    return Event(
        action="apply",
        object=f"{change.name}@{change.to_version}",
        details={
            "kind": change.kind,
            "action": change.action,
            "from_version": change.from_version,
            "to_version": change.to_version,
            "content_hash": step.wanted.content_hash,
            "differences": [[one.path, one.old, one.new] for one in change.differences],
        },
    )
