"""What a feature store holds, as one plain value: for people, for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from featurestore.config import Config
from featurestore.definitions import storage_id
from featurestore.offline.datasets.erasures import rows_left
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.garbage import size_of
from featurestore.online import OnlineStore
from featurestore.pushing import PushLog
from featurestore.registry import Registry, live_views


def status(config: Config, registry: Registry, offline: OfflineStore, online: OnlineStore) -> dict[str, Any]:
    """Return JSON values: project, root, pushed rows that wait, views (all live versions), services, datasets, models.

    ``rows`` are those that are in the table, ``quarantined`` those that its loads keep aside now; ``bytes`` says where
    the disk's went, of each object and of all.
    """
    held = online.status()
    views = []
    for view in live_views(registry):
        definition = view.definition
        loads = offline.loads(definition)
        here = held.get(storage_id(definition))
        table = offline.table(definition)
        views.append(
            {
                "id": view.id,
                "storage_id": storage_id(definition),
                "loads": len(loads),
                "rows": table.snapshot().rows if table.exists() else 0,
                "quarantined": offline.quarantined_rows(definition),
                "online_rows": 0 if here is None else here.rows,
                "bytes": offline.sizes(definition) | {"online": 0 if here is None else here.bytes},
            }
        )
    services = [registry.service(one.id) for one in registry.list("feature_service")]
    return {
        "project": config.project,
        "root": str(config.root),
        "bytes": {
            "offline": size_of(config.path(config.offline.path)),
            "online": sum(one.bytes for one in held.values()),
            "log": size_of(config.path(config.serving.log_path)),
            "feedback": size_of(config.path(config.serving.feedback_path)),
        },
        "push": _waiting(config),
        "views": views,
        "services": [
            {
                "id": one.id,
                "features": sum(len(fields) for fields in one.definition.outputs.values()),
                "aliases": registry.aliases(one.name),
            }
            for one in services
        ],
        "datasets": [
            {
                "id": one.id,
                "rows": rows_left(one, config),
                "bytes": size_of(config.path(one.manifest["path"]).parent),
            }
            for one in registry.datasets()
        ],
        "models": [
            {"id": one.id, "service": one.service, "dataset": one.dataset, "metrics": dict(one.metrics)}
            for one in registry.models()
        ],
    }


def _waiting(config: Config) -> dict[str, Any]:
    """Return how many pushed rows the offline store has not yet, and since when the oldest waits."""
    found = PushLog(config.path(config.push.path)).backlog()
    oldest = None if found.oldest is None else datetime.fromtimestamp(found.oldest / 1e6, UTC).isoformat()
    return {"rows": found.rows, "oldest": oldest}
