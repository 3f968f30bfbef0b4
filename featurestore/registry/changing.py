"""Plan, apply and remove: everything that changes which definitions there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from sqlalchemy import Connection, insert, select, update

from featurestore.definitions import Definition, FeatureService, OnDemandFeatureView
from featurestore.errors import BreakingChangeError
from featurestore.registry import audit, graph, planfile, removal, resolving, schema, values
from featurestore.registry.audit import Event
from featurestore.registry.consequences import consequences
from featurestore.registry.plan import Plan, Step, prepare
from featurestore.registry.planfile import SavedPlan
from featurestore.registry.project import Project
from featurestore.registry.usage import Usage
from featurestore.registry.versions import Versions

#: On-demand views whose cost a plan measures; each takes some 0.03 s.
_MOST_MEASURED = 20


class Changing(Project):
    """The definitions of one project, as they are changed."""

    def plan(self, definitions: Sequence[Definition], *, prune: bool = False) -> Plan:
        """Return what :meth:`apply` would change; what the definitions refer to is part of it.

        Args:
            definitions: what shall be registered.
            prune: whether everything else of the project is to be removed.

        Raises:
            DefinitionError: one name stands for two things, an expression or a query cannot be evaluated, or a view of
                another project is not there, or not shared.
        """
        definitions = self._resolved(definitions)
        wanted = graph.collect(definitions)
        with self._database.read() as connection:
            steps, plan = self._prepared(connection, wanted, definitions, prune, set())
        return plan.with_notes(_costs_per_request(steps))

    def apply(
        self,
        definitions: Sequence[Definition],
        *,
        who: str,
        allow_breaking: bool = False,
        prune: bool = False,
        saved: SavedPlan | None = None,
    ) -> Plan:
        """Bring the registry to the definitions: all of them, or nothing. What is not named stays as it is.

        Args:
            definitions: what shall be registered.
            who: whoever is answerable.
            allow_breaking: whether users of the present versions may break.
            prune: whether everything else of the project is removed; datasets and models never are.
            saved: the plan that was agreed to, if nothing else shall be done.

        Returns:
            What was changed.

        Raises:
            DefinitionError: as :meth:`plan`.
            BreakingChangeError: users of the present versions would break, and ``allow_breaking`` is not set.
            ObjectInUseError: something uses what ``prune`` would remove.
            RegistryError: the registry would now do something else than the saved plan says.
        """
        definitions = self._resolved(definitions)
        wanted = graph.collect(definitions)
        sound: set[str] = set()
        with self._database.read() as connection:
            plan = self._prepared(connection, wanted, definitions, prune, sound)[1]
        if plan.is_empty:  # so that services which apply at every start do not queue for the lock
            return plan
        with self._write() as connection:
            steps, plan = self._prepared(connection, wanted, definitions, prune, sound, hold=True)
            if plan.is_empty:
                return plan
            if saved is not None:
                planfile.check_current(saved, plan, connection)
            if plan.breaking and not allow_breaking:
                raise BreakingChangeError(
                    "Users of the present versions would break: " + "; ".join(plan.breaking) + ".",
                    hint="If that is meant, apply with --allow-breaking (allow_breaking=True).",
                    where=next(change.where for change in plan.changes if change.breaking),
                )
            removed = [change for change in plan.changes if change.action == "remove"]
            removal.check_unused(removed)
            changed = [step for step in steps if step.change.action != "unchanged"]
            at = values.now()
            self._carry_out(connection, changed, at, who)
            removal.carry_out(connection, self.project, removed, at)
            self._revise(connection)
            events = [_event(step) for step in changed] + [removal.event(change) for change in removed]
            audit.append(connection, self.project, who, at, events)
        return plan

    def removal(self, reference: str) -> Plan:
        """Return what :meth:`remove` would do; what still uses the object is in its ``users``.

        Raises:
            ObjectNotFoundError: there is no such object or model.
            RegistryError: a version of a definition is meant, or an object and a model have the name.
        """
        with self._database.read() as connection:
            changes = removal.of_one(connection, self.project, reference)
        return Plan(changes=tuple(changes), project=self.project)

    def remove(self, reference: str, *, who: str) -> Plan:
        """Remove an object, or a model (``delay_ridge`` with every version, ``delay_ridge@1``), and return what went.

        Its versions can still be read by ``name@version``, and applying the definition again brings it back.

        Raises:
            ObjectNotFoundError: there is no such object or model.
            ObjectInUseError: a service, a model, an alias, a policy, another object or another project uses it.
            RegistryError: a version of a definition is meant, or an object and a model have the name.
        """
        with self._write() as connection:
            changes = removal.of_one(connection, self.project, reference)
            removal.check_unused(changes)
            at = values.now()
            removal.carry_out(connection, self.project, changes, at)
            self._revise(connection)
            audit.append(connection, self.project, who, at, [removal.event(change) for change in changes])
        return Plan(changes=tuple(changes), project=self.project)

    def resolved(self, service: FeatureService) -> FeatureService:
        """Return a service with the views of other projects in it as they are registered; nothing is written.

        Raises:
            DefinitionError: one is not there, or not shared, or what it is does not fit.
        """
        found = cast("FeatureService", self._resolved([service])[0])
        with self._database.read() as connection:
            resolving.pins_of_shared(graph.collect([found]), connection, self.project, hold=False)
        return found

    def _resolved(self, definitions: Sequence[Definition]) -> Sequence[Definition]:
        """Return the definitions with the views of other projects in them as they are registered."""
        if not resolving.asks(definitions):
            return definitions
        with self._database.read() as connection:
            return resolving.resolve(definitions, connection, self.project)

    def _prepared(
        self,
        connection: Connection,
        wanted: dict[str, graph.Wanted],
        definitions: Sequence[Definition],
        prune: bool,
        sound: set[str],
        *,
        hold: bool = False,
    ) -> tuple[list[Step], Plan]:
        shared = resolving.pins_of_shared(wanted, connection, self.project, hold=hold)
        steps = prepare(wanted, Versions(connection, self.project), sound, shared)
        changes = [step.change for step in steps]
        if prune:
            changes += removal.unnamed(connection, self.project, wanted, steps)
        sequence = select(schema.projects.c.audit_sequence).filter_by(project=self.project)
        plan = Plan(
            changes=tuple(changes),
            project=self.project,
            prune=prune,
            definitions=tuple(definitions),
            audit_sequence=connection.execute(sequence).scalar() or 0,
        )
        return steps, plan.with_notes(consequences(steps, Usage(connection, self.project)))

    def _carry_out(self, connection: Connection, steps: Sequence[Step], at: int, who: str) -> None:
        # Many rows in one statement: a first apply of a large project is nothing but inserts.
        objects, versions = [], []
        for step in steps:
            change = step.change
            notes = values.to_json(dict(step.wanted.notes), f'The notes of "{change.name}"')
            key = {"project": self.project, "name": change.name}
            if change.action == "create":
                objects.append({**key, "kind": change.kind, "current_version": change.to_version})
            elif change.action in ("new version", "make current"):
                current = {"current_version": change.to_version, "removed_at": None}
                connection.execute(update(schema.objects).filter_by(**key).values(**current))
            if change.action in ("create", "new version"):
                versions.append(
                    {
                        **key,
                        "version": change.to_version,
                        "content_hash": step.wanted.content_hash,
                        "spec": values.to_json(step.wanted.definition.spec(), f'The definition of "{change.name}"'),
                        "notes": notes,
                        "pins": values.to_json(dict(step.pins), f'The pins of "{change.name}"'),
                        "applied_at": at,
                        "applied_by": who,
                    }
                )
            else:
                version = update(schema.versions).filter_by(**key, version=change.to_version)
                connection.execute(version.values(notes=notes))
        for table, rows in ((schema.objects, objects), (schema.versions, versions)):
            if rows:
                connection.execute(insert(table), rows)


def _costs_per_request(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Return a sentence for each on-demand view whose code is new."""
    views = [
        step.wanted.definition
        for step in steps
        if isinstance(step.wanted.definition, OnDemandFeatureView) and step.change.action in ("create", "new version")
    ]
    if not views:
        return {}
    from featurestore.transforms import Transform  # imports Polars, which other plans do without

    found: dict[str, tuple[str, ...]] = {
        view.name: (f"it takes about {Transform(view).microseconds_per_request():,.0f} us of each request",)
        for view in views[:_MOST_MEASURED]
    }
    unmeasured = f"its time per request was not measured, as over {_MOST_MEASURED} such views are new"
    return found | {view.name: (unmeasured,) for view in views[_MOST_MEASURED:]}


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
