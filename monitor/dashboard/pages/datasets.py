"""The training datasets, and two of them side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurestore.errors import FeatureStoreError
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader


def read(reader: Reader, asked: Asked) -> Values:
    """Return every dataset, the newest first; with ``a`` and ``b`` what is different in ``b`` from ``a``."""
    found = sorted(reader.registry.datasets(), key=lambda one: one.created_at, reverse=True)
    a, b = asked.query.get("a", ""), asked.query.get("b", "")
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
        "a": a,
        "b": b,
        "compared": _compared(reader, a, b) if a and b else None,
    }


def _compared(reader: Reader, a: str, b: str) -> Mapping[str, Any]:
    """Return what is different; no value of a row is among it, and no mean of a field tagged ``pii``."""
    try:
        sides = [reader.registry.dataset(one) for one in (a, b)]
        # The rows of both are read, which may take seconds. They are the same until they are made anew, or removed.
        state = [(one.id, one.manifest.get("content_hash"), str(one.removed_at)) for one in sides]
        return reader.known(("diff", *state), lambda: {"error": "", **reader.store.diff_datasets(a, b).to_json()})
    except FeatureStoreError as error:
        return {"error": f"{error.message} {error.hint}".strip()}


def _twin(asked: Asked) -> tuple[str, ...]:
    a, b = asked.query.get("a", ""), asked.query.get("b", "")
    return ("dataset", "diff", a, b) if a and b else ("dataset", "list")


PAGE = Page(name="datasets", path="/datasets", menu="Datasets", read=read, twin=_twin, query=("a", "b"))
