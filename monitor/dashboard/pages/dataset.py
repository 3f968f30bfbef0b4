"""One training dataset: what it was made of, who was trained on it, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.reading import Reader

#: Parts of a manifest that are shown as they are.
_PLAIN = ("rows", "content_hash", "first_instant", "last_instant", "path", "service_hash", "engine")


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about a dataset.

    Raises:
        ObjectNotFoundError: there is no such dataset.
    """
    registry = reader.registry
    found = registry.dataset(asked.path["name"])
    manifest = found.manifest
    recipe: Mapping[str, Any] = manifest.get("recipe", {})
    others = [one.id for one in registry.datasets() if one.name == found.name and one.version != found.version]
    return {
        "title": f"Dataset {found.id}",
        "id": found.id,
        "service": str(manifest.get("service", "")),
        "created_at": found.created_at.isoformat(),
        "created_by": found.created_by,
        "removed_at": None if found.removed_at is None else found.removed_at.isoformat(),
        "manifest": {key: str(manifest[key]) for key in _PLAIN if manifest.get(key) is not None},
        "recipe": {key: str(value) for key, value in recipe.items() if value not in (None, {}, "", False)},
        "views": [
            {"view": name, "version": one.get("version"), "table_version": one.get("table_version")}
            for name, one in sorted(dict(manifest.get("views", {})).items())
        ],
        "columns": {str(key): str(value) for key, value in dict(manifest.get("columns", {})).items()},
        "notes": [str(one) for one in manifest.get("notes", ())],
        "models": [one.id for one in registry.models() if one.dataset == found.id],
        "others": others,
    }


PAGE = Page(
    name="dataset",
    path="/datasets/{name}",
    read=read,
    twin=lambda asked: ("dataset", "show", asked.path["name"]),
)
