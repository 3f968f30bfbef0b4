"""The views with what came in: loads, rows that were kept aside and why, and what is in the online store."""

from __future__ import annotations

from typing import Any

from featurestore.definitions import FeatureView, storage_id
from featurestore.registry import live_views
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader


def read(reader: Reader, _: Asked) -> Values:
    """Return every view that is stored, with its newest load."""
    registry = reader.registry
    live = {one.id for one in live_views(registry)}
    views = []
    for one in registry.list("feature_view"):
        definition = one.definition
        assert isinstance(definition, FeatureView)  # noqa: S101 - this kind was listed
        loads = registry.loads(storage_id(definition))
        standing = [load for load in loads if load.withdrawn_at is None]
        last = standing[-1] if standing else None
        done = registry.last_materialization(storage_id(definition))
        views.append(
            {
                "name": one.name,
                "id": one.id,
                "live": one.id in live,
                "loads": len(loads),
                "rows": sum(load.rows_written for load in standing),
                "quarantined": sum(load.rows_quarantined for load in loads),
                "loaded_at": None if last is None else last.published_at.isoformat(),
                "materialized_at": None if done is None else done.finished_at.isoformat(),
            }
        )
    return {"title": "Ingest", "views": views}


def loads_of(reader: Reader, definition: FeatureView, most: int) -> list[dict[str, Any]]:
    """Return the newest loads of a view, the newest first, as JSON values; no row of them."""
    loads = reader.registry.loads(storage_id(definition))
    return [
        {
            "load": one.load_id,
            "published_at": one.published_at.isoformat(),
            "author": one.author,
            "rows_read": one.rows_read,
            "rows_written": one.rows_written,
            "rows_quarantined": one.rows_quarantined,
            "rows_suppressed": one.rows_suppressed,
            "reasons": dict(one.reasons),
            "withdrawn_at": None if one.withdrawn_at is None else one.withdrawn_at.isoformat(),
        }
        for one in loads[::-1][:most]
    ]


PAGE = Page(name="views", path="/views", menu="Ingest", read=read, twin=lambda _: ("status",))
