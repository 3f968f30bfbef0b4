"""Which versions of views are live: those that something may still serve, and that new rows must therefore reach."""

from __future__ import annotations

from datetime import timedelta

from featurestore.definitions import FeatureView, storage_id
from featurestore.registry.records import Registered
from featurestore.registry.registry import Registry


def live_views(registry: Registry) -> list[Registered[FeatureView]]:
    """Return the live versions of all views, by name, the current version of each first.

    A version is live while it is current, or a live service version pins it; a service version is live while it is
    current, or an alias or a recorded model refers to it.
    """
    ids = {one.id: None for one in registry.list("feature_view")}
    services = {one.id for one in registry.list("feature_service")}
    for one in registry.list("feature_service"):
        services |= {f"{one.name}@{version}" for version in registry.aliases(one.name).values()}
    services |= {model.service for model in registry.models()}
    for service in sorted(services):
        found = registry.service(service)
        ids |= {f"{view.name}@{found.pins[view.name]}": None for view in found.definition.views}
    views = [registry.feature_view(one) for one in ids]
    current = {one.id for one in registry.list("feature_view")}
    return sorted(views, key=lambda one: (one.name, one.id not in current, -one.version))


def stored_once(views: list[Registered[FeatureView]]) -> list[Registered[FeatureView]]:
    """Return one version for each storage id, in order: of those that share rows, the one that keeps them longest."""
    kept: dict[str, Registered[FeatureView]] = {}
    for view in views:
        other = kept.setdefault(storage_id(view.definition), view)
        if _ttl(view.definition) > _ttl(other.definition):
            kept[storage_id(view.definition)] = view
    return list(kept.values())


def _ttl(view: FeatureView) -> timedelta:
    return timedelta.max if view.ttl is None else view.ttl
