"""What a user does with definitions: plan, apply, delete, and look at them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurestore.definitions import Definition, FeatureView
from featurestore.errors import RegistryError
from featurestore.materialize import MaterializeReport, materialize
from featurestore.registry import Comparison, Match, Plan, planfile
from featurestore.registry.graph import collect
from featurestore.registry.records import Registered
from featurestore.store.carrying import carried, foretold, newest_orders
from featurestore.store.opened import Opened
from featurestore.store.telling import check_channels, unheard

if TYPE_CHECKING:
    from featurestore.lineage import Lineage


class Definitions(Opened):
    """Plan, apply and look up definitions."""

    def plan(self, definitions: Sequence[Definition] | Definition, *, prune: bool = False) -> Plan:
        """Return what :meth:`apply` would change; nothing is written.

        Args:
            definitions: what shall be registered.
            prune: whether everything else of the project is to be removed.

        Raises:
            DefinitionError: a definition is wrong, or two of one name differ.
            ConfigError: a monitor policy names a channel that is not configured.
        """
        plan = self.registry.plan(self._checked(definitions), prune=prune)
        self._check_queries(plan)
        return plan.with_notes(foretold(plan, self.registry, self.offline) | unheard(plan.definitions, self.config))

    def save_plan(self, plan: Plan, file: str | os.PathLike[str]) -> None:
        """Write a plan to a file, for :meth:`apply_plan`: JSON, with the definitions and without secrets.

        Raises:
            RegistryError: the file cannot be written.
        """
        planfile.save(plan, Path(file), who=self.who())

    def apply(
        self, definitions: Sequence[Definition] | Definition, *, allow_breaking: bool = False, prune: bool = False
    ) -> Plan:
        """Register definitions, all or none, and return what changed.

        Args:
            definitions: what shall be registered.
            allow_breaking: whether users of the present versions may break.
            prune: whether everything else of the project is removed; datasets and models never are.

        Raises:
            DefinitionError: a definition is wrong, or two of one name differ.
            BreakingChangeError: a field, type, entity or key would go, and ``allow_breaking`` is not given.
            ObjectInUseError: something uses what ``prune`` would remove.
            ConfigError: a monitor policy names a channel that is not configured.
            OfflineStoreError: the rows of a version before cannot be carried over; applying again goes on with that.
        """
        listed = self._checked(definitions)
        ahead = self.registry.plan(listed, prune=prune)
        return self._applied(
            ahead,
            allow_breaking,
            lambda: self.registry.apply(listed, who=self.who(), allow_breaking=allow_breaking, prune=prune),
        )

    def _applied(self, ahead: Plan, allow_breaking: bool, apply: Callable[[], Plan]) -> Plan:
        """Carry rows over, apply, and carry over what came meanwhile: a new version is never seen without its rows.

        Killed in between, the rows lie where the version will look for them when it is applied again.
        """
        self._check_queries(ahead)
        refused = (ahead.breaking and not allow_breaking) or any(change.users for change in ahead.changes)
        since = {} if refused else newest_orders(ahead, self.registry, self.offline)
        before = {} if refused else self._carried(ahead)
        if ahead.is_empty:
            return ahead
        plan = apply()
        return plan.with_notes(self._carried(plan, since) | before | unheard(plan.definitions, self.config))

    def _carried(self, plan: Plan, since: Mapping[str, int] | None = None) -> dict[str, tuple[str, ...]]:
        return carried(plan, self.registry, self.offline, self._put_online, who=self.who(), since=since)

    def _put_online(self, view: FeatureView) -> MaterializeReport:
        return materialize(view, self.offline, self.online, now=datetime.now(UTC))

    def apply_plan(self, file: str | os.PathLike[str], *, allow_breaking: bool = False) -> Plan:
        """Do what a plan of :meth:`save_plan` says, that and nothing else, and return what changed.

        Where all of it is done already, nothing is.

        Raises:
            RegistryError: the file is no plan of this project, or the registry would now do something else.
            BreakingChangeError: a field, type, entity or key would go, and ``allow_breaking`` is not given.
            ObjectInUseError: something uses what would be removed.
            ConfigError: a monitor policy names a channel that is not configured.
        """
        saved = planfile.read(Path(file))
        if saved.project != self.config.project:
            raise RegistryError(
                f'The plan {file} is of project "{saved.project}", and this is "{self.config.project}".',
                hint="Apply it to the feature store that it was made for: --repo FOLDER",
            )
        listed = self._checked(saved.definitions)
        return self._applied(
            self.registry.plan(listed, prune=saved.prune),
            allow_breaking,
            lambda: self.registry.apply(
                listed, who=self.who(), allow_breaking=allow_breaking, prune=saved.prune, saved=saved
            ),
        )

    def delete(self, name: str) -> Plan:
        """Remove an object, or a model, and return what went.

        Its versions can still be read by ``name@version``, its rows stay, and applying its definition brings it back.

        Raises:
            ObjectNotFoundError: there is no such object or model.
            ObjectInUseError: a service, model, alias, policy, another object or another project uses it.
        """
        return self.registry.remove(name, who=self.who())

    def _checked(self, definitions: Sequence[Definition] | Definition) -> Sequence[Definition]:
        """Return the definitions as a list, if what they say of this store's configuration is right."""
        listed: list[Definition] = list(definitions) if isinstance(definitions, Sequence) else [definitions]
        check_channels(listed, self.config)
        return listed

    def _check_queries(self, plan: Plan) -> None:
        """Check what would be computed anew against the files that are here; versions stay for ever.

        Raises:
            DefinitionError: a query cannot run over them.
        """
        changed = {one.name for one in plan.changed if one.kind == "feature_view"}
        if not changed:
            return
        for name, one in collect(plan.definitions).items():
            if name in changed and isinstance(one.definition, FeatureView):
                self.offline.check_query(one.definition)

    def diff(self, old: str, new: str = "") -> Comparison:
        """Return what is different in one version from another: ``diff("weather@1", "weather@3")``.

        Without ``new`` the current version is compared.

        Raises:
            ObjectNotFoundError: one of them is not registered.
            RegistryError: they are of different kinds.
        """
        return self.registry.diff(old, new)

    def show(self, reference: str) -> dict[str, Any]:
        """Return everything about an object and one version of it (the current one if none is named), as JSON values.

        Raises:
            ObjectNotFoundError: it is not registered.
        """
        return self.registry.show(reference)

    def search(self, text: str) -> list[Match]:
        """Return the objects in whose names, fields, tags, owner or description every word occurs, the best first."""
        return self.registry.search(text)

    def lineage(self, reference: str, *, up: bool = True, down: bool = True, depth: int | None = None) -> Lineage:
        """Return what something comes from and what comes from it; see docs/lineage.md.

        Args:
            reference: ``weather``, ``weather@2:temp``, ``flights.arr_delay``, a service, a dataset, a model, a policy.
            up: whether to look for what it comes from.
            down: whether to look for what comes from it.
            depth: how many steps far; None for all.

        Raises:
            ObjectNotFoundError: there is nothing of that name.
            RegistryError: ``depth`` is no positive number.
        """
        from featurestore.lineage import lineage  # with a parser of SQL that nothing else here has to wait for

        return lineage(self.registry, self.config, reference, up=up, down=down, depth=depth)

    def get(self, reference: str) -> Registered[Definition]:
        """Return a registered version: ``weather`` is the current one, ``weather@1`` that one.

        Raises:
            ObjectNotFoundError: there is none.
        """
        return self.registry.get(reference)
