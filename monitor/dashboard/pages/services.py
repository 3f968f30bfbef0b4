"""The services: which version is served, and since when."""

from __future__ import annotations

from typing import Any

from featurestore.registry import Registry
from featurestore.registry.aliases import CANARY
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader


def read(reader: Reader, _: Asked) -> Values:
    """Return every service with its aliases and its newest model."""
    registry = reader.registry
    models: dict[str, str] = {}
    for model in sorted(registry.models(), key=lambda one: one.created_at):
        models[model.service.partition("@")[0]] = model.id
    services = [
        {
            "name": one.name,
            "id": one.id,
            "features": sum(len(fields) for fields in one.definition.outputs.values()),
            "aliases": aliases_of(registry, one.name),
            "model": models.get(one.name, ""),
        }
        for one in (registry.service(each.name) for each in registry.list("feature_service"))
    ]
    return {"title": "Services", "services": services}


def aliases_of(registry: Registry, service: str) -> list[dict[str, Any]]:
    """Return the aliases of a service as JSON values: where each points, since when, by whom, and the way back."""
    return [
        {
            "alias": one.alias,
            "version": one.version,
            "share": one.share if one.alias == CANARY else None,
            "moved_at": None if one.moved_at is None else one.moved_at.isoformat(),
            "moved_by": one.moved_by,
            "before": list(one.before),
        }
        for one in registry.alias_records(service)
    ]


PAGE = Page(
    name="services",
    path="/services",
    menu="Services",
    read=read,
    twin=lambda _: ("aliases",),
)
