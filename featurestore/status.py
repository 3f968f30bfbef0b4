"""What a feature store holds, as one plain value: for people, for programs."""

from __future__ import annotations

from typing import Any

from featurestore.config import Config
from featurestore.definitions import storage_id
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore
from featurestore.registry import Registry, live_views


def status(config: Config, registry: Registry, offline: OfflineStore, online: OnlineStore) -> dict[str, Any]:
    """Return JSON values: project, root, views (every live version), services, datasets and models."""
    held = online.status()
    views = []
    for view in live_views(registry):
        definition = view.definition
        loads = offline.loads(definition)
        here = held.get(storage_id(definition))
        views.append(
            {
                "id": view.id,
                "storage_id": storage_id(definition),
                "loads": len(loads),
                "rows": sum(load.rows_written for load in loads),
                "quarantined": sum(load.rows_quarantined for load in loads),
                "online_rows": 0 if here is None else here.rows,
            }
        )
    services = [registry.service(one.id) for one in registry.list("feature_service")]
    return {
        "project": config.project,
        "root": str(config.root),
        "views": views,
        "services": [
            {
                "id": one.id,
                "features": sum(len(fields) for fields in one.definition.outputs.values()),
                "aliases": registry.aliases(one.name),
            }
            for one in services
        ],
        "datasets": [{"id": one.id, "rows": one.manifest["rows"]} for one in registry.datasets()],
        "models": [
            {"id": one.id, "service": one.service, "dataset": one.dataset, "metrics": dict(one.metrics)}
            for one in registry.models()
        ],
    }
