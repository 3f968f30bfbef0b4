"""What a server process needs of the registry and the offline store. It is opened in each worker, after its start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial

import structlog

from featurestore.config import Config
from featurestore.definitions import FeatureService
from featurestore.errors import FeatureStoreError, ServingError
from featurestore.notices import Listener
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore
from featurestore.online.upkeep import longest_ttls
from featurestore.pushing import Pusher
from featurestore.registry import (
    Head,
    Registry,
    Token,
    acting_user,
    current_user,
    live_views,
    open_registry,
    signing_key,
)
from featurestore.registry.records import ModelRecord, Registered
from featurestore.serving.plan import ServicePlan, Unserved, compile_plan

_logger = structlog.get_logger(__name__)


class Runtime:
    """The registry and the offline store of a configuration, open.

    Attributes:
        config: the configuration.
        offline: where a rehearsal's rows come from.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._registry = open_registry(config.database_url(config.registry), config.project)
        self.offline = OfflineStore(config, self._registry)

    def revision(self) -> int:
        """Return a number that grows with every change that a server must see."""
        return self._registry.revision()

    def follow(self, changed: Callable[[], None]) -> Listener | None:
        """Hear of such changes at once, where the registry's database can tell; see :meth:`Registry.follow`."""
        return self._registry.follow(changed)

    def services(self) -> dict[str, Registered[FeatureService]]:
        """Return, by each name that a request may use, the version of a service that it stands for."""
        return served_services(self._registry)

    def canaries(self) -> Mapping[str, tuple[int, float]]:
        """Return, for each service with a canary, its version and its share of the routing keys."""
        return self._registry.canaries()

    def tokens(self) -> list[Token]:
        """Return the tokens of callers, also those that are worth nothing any more."""
        return self._registry.tokens()

    def enter_expired_tokens(self) -> None:
        """Enter in the audit log which tokens have expired."""
        self._registry.enter_expired_tokens(who=current_user())

    def longest_ttls(self) -> dict[str, timedelta | None]:
        """Return, by storage id, how long some live version may serve a row; None for ever."""
        return longest_ttls(view.definition for view in live_views(self._registry))

    def model(self, reference: str) -> ModelRecord:
        """Return a model by ``churn`` (the newest version) or ``churn@3``.

        Raises:
            ObjectNotFoundError: there is none.
        """
        return self._registry.model(reference)

    def audit_head(self) -> Head:
        """Return the head of the audit log, signed.

        Raises:
            ConfigError: the key that signs it cannot be read or made.
        """
        return self._registry.head(signing_key(self.config))

    def pusher(self, online: OnlineStore) -> Pusher:
        """Return what takes pushes into an online store."""
        return Pusher(
            self.config, self._registry, self.offline, online, partial(acting_user, self.config, self._registry)
        )

    def close(self) -> None:
        """Close the registry."""
        self._registry.close()


def served_services(registry: Registry) -> dict[str, Registered[FeatureService]]:
    """Return, by each name that a request may use, the version of a service that it stands for."""
    return registry.resolved_services()


def compile_plans(services: Mapping[str, Registered[FeatureService]]) -> dict[str, ServicePlan | Unserved]:
    """Return the plan behind each name; one that cannot be compiled costs its own requests, and no other service."""
    once = {service.id: service for service in services.values()}
    plans = {name: _compiled(service) for name, service in once.items()}
    return {name: plans[service.id] for name, service in services.items()}


def _compiled(service: Registered[FeatureService]) -> ServicePlan | Unserved:
    try:
        return compile_plan(service)
    except FeatureStoreError as error:
        _logger.error("service cannot be served", service=service.id, error=error.message, hint=error.hint)
        return Unserved(
            error=ServingError(f"{service.id} cannot be served here: {error.message}", hint=error.hint),
        )
