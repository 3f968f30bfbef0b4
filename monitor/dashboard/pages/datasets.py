"""The training datasets."""

from __future__ import annotations

from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader


def read(reader: Reader, _: Asked) -> Values:
    """Return every dataset, the newest first."""
    found = sorted(reader.registry.datasets(), key=lambda one: one.created_at, reverse=True)
    return {
        "title": "Datasets",
        "datasets": [
            {
                "id": one.id,
                "service": str(one.manifest.get("service", "")),
                "rows": one.manifest.get("rows"),
                "label": one.manifest.get("recipe", {}).get("label") or "",
                "created_at": one.created_at.isoformat(),
                "created_by": one.created_by,
            }
            for one in found
        ],
    }


PAGE = Page(name="datasets", path="/datasets", menu="Datasets", read=read, twin=lambda _: ("dataset", "list"))
