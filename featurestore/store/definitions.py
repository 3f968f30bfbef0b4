"""What a user does with definitions: plan, apply, get."""

from __future__ import annotations

from collections.abc import Sequence

from featurestore.definitions import Definition, MonitorPolicy
from featurestore.errors import ConfigError, closest
from featurestore.registry import Plan, current_user
from featurestore.registry.records import Registered
from featurestore.store.opened import Opened


class Definitions(Opened):
    """Plan, apply and look up definitions."""

    def plan(self, definitions: Sequence[Definition] | Definition) -> Plan:
        """Return what :meth:`apply` would change; nothing is written.

        Raises:
            DefinitionError: a definition is wrong, or two of one name differ.
            ConfigError: a monitor policy routes to a channel that is not configured.
        """
        return self.registry.plan(self._checked(definitions))

    def apply(self, definitions: Sequence[Definition] | Definition, *, allow_breaking: bool = False) -> Plan:
        """Register definitions, all or none, and return what changed. Adds and changes, never removes.

        Raises:
            DefinitionError: a definition is wrong, or two of one name differ.
            BreakingChangeError: a field, type, entity or key would go, and ``allow_breaking`` is not given.
            ConfigError: a monitor policy routes to a channel that is not configured.
        """
        return self.registry.apply(self._checked(definitions), who=current_user(), allow_breaking=allow_breaking)

    def _checked(self, definitions: Sequence[Definition] | Definition) -> Sequence[Definition]:
        """Return the definitions as a list, if what they say of this store's configuration is right."""
        listed: list[Definition] = list(definitions) if isinstance(definitions, Sequence) else [definitions]
        for one in listed:
            for route in one.routes if isinstance(one, MonitorPolicy) else ():
                if route not in self.config.channels:
                    raise ConfigError(
                        f'Monitor policy "{one.name}" routes to "{route}", which featurestore.toml does not configure.',
                        hint=closest(route, self.config.channels) or f"Add a section [channels.{route}].",
                    )
        return listed

    def get(self, reference: str) -> Registered[Definition]:
        """Return a registered version: ``weather`` is the current one, ``weather@1`` that one.

        Raises:
            ObjectNotFoundError: there is none.
        """
        return self.registry.get(reference)
