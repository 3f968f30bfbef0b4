"""What a feature store holds, as one plain value: for people, for programs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from featurestore.config import Config
from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import OfflineStoreError, OnlineStoreError
from featurestore.offline.datasets.erasures import rows_left
from featurestore.offline.datasets.manifest import found_at
from featurestore.offline.places import local_folder, offline_folder
from featurestore.offline.store import OfflineStore
from featurestore.offline.tables.disk import low_disk
from featurestore.offline.tables.garbage import size_of
from featurestore.online import OnlineStore, TableStatus
from featurestore.pushing import PushLog
from featurestore.registry import Registry, live_views


def status(
    config: Config, registry: Registry, offline: OfflineStore, online: Callable[[], OnlineStore]
) -> dict[str, Any]:
    """Return JSON values: project, root, online store, pushed rows that wait, views, services, datasets and models.

    ``views`` are the live versions, which loads feed; ``not_live`` the tables of other versions, which stay until
    ``gc`` removes them. ``rows`` are those that are in the table, ``quarantined`` those that its loads keep aside now;
    ``bytes`` says where the disk's went, of each object and of all; ``low_disk`` that little is left, or is null. Where
    the online store cannot be read, ``error`` of ``online`` says why, and all that only it knows is null.

    Args:
        config: the store's.
        registry: the store's.
        offline: the store's.
        online: opens the online store.
    """
    held, error = _held(online)
    views = []
    live = live_views(registry)
    for view in live:
        definition = view.definition
        loads = offline.loads(definition)
        rows, size = _kept(held, storage_id(definition))
        table = offline.table(definition)
        views.append(
            {
                "id": view.id,
                "storage_id": storage_id(definition),
                "loads": len(loads),
                "rows": table.snapshot().rows if table.exists() else 0,
                "quarantined": offline.quarantined_rows(definition),
                "online_rows": rows,
                "bytes": offline.sizes(storage_id(definition)) | {"online": size},
            }
        )
    services = [registry.service(one.id) for one in registry.list("feature_service")]
    return {
        "project": config.project,
        "root": str(config.root),
        "bytes": {
            "offline": size_of(offline_folder(config)),
            "online": None if held is None else sum(one.bytes for one in held.values()),
            "log": size_of(config.path(config.serving.log_path)),
            "feedback": size_of(config.path(config.serving.feedback_path)),
        },
        "online": {"error": error},
        "push": _waiting(config),
        "low_disk": low_disk(local_folder(config), config.offline.low_disk_mb),
        "views": views,
        "not_live": list(_not_live({storage_id(one.definition) for one in live}, registry, offline, held)),
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
                "bytes": size_of(found_at(one.manifest["path"], config).parent),
            }
            for one in registry.datasets()
        ],
        "models": [
            {"id": one.id, "service": one.service, "dataset": one.dataset, "metrics": dict(one.metrics)}
            for one in registry.models()
        ],
    }


def _held(online: Callable[[], OnlineStore]) -> tuple[dict[str, TableStatus] | None, str | None]:
    """Return the tables of the online store; or None, and why they are not known."""
    try:
        return online().status(), None
    except OnlineStoreError as error:
        return None, f"{error.message} {error.hint}".rstrip()


def _kept(held: Mapping[str, TableStatus] | None, name: str) -> tuple[int | None, int | None]:
    """Return the rows and the bytes of a table: 0 where there is no such table, null where nobody knows."""
    if held is None:
        return None, None
    here = held.get(name)
    return (0, 0) if here is None else (here.rows, here.bytes)


def _waiting(config: Config) -> dict[str, Any]:
    """Return how many pushed rows the offline store has not yet, and since when the oldest waits.

    Both are null, and ``damage`` says why, if the log cannot be read; all else there is to say goes on.
    """
    try:
        found = PushLog(config.path(config.push.path)).backlog()
    except OfflineStoreError as error:
        return {"rows": None, "oldest": None, "damage": f"{error.message} {error.hint}".rstrip()}
    oldest = None if found.oldest is None else datetime.fromtimestamp(found.oldest / 1e6, UTC).isoformat()
    return {"rows": found.rows, "oldest": oldest, "damage": None}


def _not_live(
    live: Collection[str], registry: Registry, offline: OfflineStore, held: Mapping[str, TableStatus] | None
) -> Iterator[dict[str, Any]]:
    """Yield what is left of versions that nothing serves or feeds, if it is more than the memory of their loads."""
    names: dict[str, str] = {}
    for name in sorted({*registry.loaded(), *(held or ())} - {*live}):
        rows, size = _kept(held, name)
        sizes = offline.sizes(name) | {"online": size}
        if not any(count for what, count in sizes.items() if what not in ("history", "profiles")):
            continue
        names = names or _names(registry)
        yield {
            "id": names.get(name, name),
            "storage_id": name,
            "live": False,
            "rows": offline.rows_held(name),
            "online_rows": rows,
            "bytes": sizes,
        }


def _names(registry: Registry) -> dict[str, str]:
    """Return, for each storage id, the newest version of a view that is stored so; of removed views too."""
    views = [(one.id, one.definition) for one in registry.every_version("feature_view")]
    return {storage_id(view): name for name, view in views if isinstance(view, FeatureView)}
