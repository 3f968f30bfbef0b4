"""What a server process needs of the registry and the offline store. It is opened in each worker, after its start."""

from __future__ import annotations

from collections.abc import Mapping

from featurestore.config import Config
from featurestore.definitions import FeatureService
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry, open_registry
from featurestore.registry.records import Registered
from featurestore.serving.plan import ServicePlan, compile_plan


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

    def services(self) -> dict[str, Registered[FeatureService]]:
        """Return, by each name that a request may use, the version of a service that it stands for."""
        return served_services(self._registry)

    def close(self) -> None:
        """Close the registry."""
        self._registry.close()


def served_services(registry: Registry) -> dict[str, Registered[FeatureService]]:
    """Return, by each name that a request may use, the version of a service that it stands for."""
    found: dict[str, Registered[FeatureService]] = {}
    for current in registry.list("feature_service"):
        found[current.name] = registry.resolve_service(current.name)
        for version in registry.versions(current.name):
            found[version.id] = registry.service(version.id)
    return found


def compile_plans(services: Mapping[str, Registered[FeatureService]]) -> dict[str, ServicePlan]:
    """Return the plan behind each name."""
    plans = {service.id: compile_plan(service) for service in services.values()}
    return {name: plans[service.id] for name, service in services.items()}
