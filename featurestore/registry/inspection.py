"""What there is, for people: everything about one object, two versions side by side, and search."""

from __future__ import annotations

from typing import Any

from featurestore.definitions import FeatureView, storage_id
from featurestore.registry import aliases, values
from featurestore.registry.comparison import Comparison, compare
from featurestore.registry.differences import describe
from featurestore.registry.project import Project
from featurestore.registry.searching import Match, match
from featurestore.registry.usage import Usage
from featurestore.registry.versions import Versions


class Inspection(Project):
    """The definitions of one project, as they are looked at."""

    def diff(self, old: str, new: str = "") -> Comparison:
        """Return what is different in one version from another.

        Args:
            old: ``weather@1``; a bare name is the current version.
            new: ``weather@3``; the current version of ``old`` when not given.

        Raises:
            ObjectNotFoundError: one of them is not registered.
            RegistryError: they are of different kinds.
        """
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            return compare(versions, old, new or values.split_reference(old)[0])

    def search(self, text: str) -> list[Match]:
        """Return the objects in whose names, fields, tags, owner or description every word occurs, the best first."""
        words = tuple(text.casefold().split())
        with self._database.read() as connection:
            found = [match(stored, words) for stored in Versions(connection, self.project).current()] if words else []
        return sorted((one for one in found if one is not None), key=lambda one: (-one.score, one.name))

    def show(self, reference: str) -> dict[str, Any]:
        """Return everything about an object and one version of it (the current one if none is named), as JSON values.

        Raises:
            ObjectNotFoundError: it is not registered.
        """
        with self._database.read() as connection:
            versions = Versions(connection, self.project)
            stored = versions.find(reference, None)
            row = stored.row
            definition = versions.definition(stored)
            removed = row.removed_at is not None
            return {
                "id": f"{row.name}@{row.version}",
                "kind": row.kind,
                "name": row.name,
                "version": row.version,
                "current_version": None if removed else row.current_version,
                "removed_at": _instant(row.removed_at) if removed else None,
                "content_hash": row.content_hash,
                "storage_id": storage_id(definition) if isinstance(definition, FeatureView) else None,
                "applied_at": _instant(row.applied_at),
                "applied_by": row.applied_by,
                "definition": describe(stored.spec, stored.notes, stored.pins),
                "uses": [f"{name}@{version}" for name, version in stored.pins.items()],
                "used_by": list(Usage(connection, self.project).users_of_version(row.name, row.version)),
                "aliases": aliases.of_service(connection, self.project, row.name),
                "versions": [
                    {
                        "version": one.row.version,
                        "content_hash": one.row.content_hash,
                        "applied_at": _instant(one.row.applied_at),
                        "applied_by": one.row.applied_by,
                    }
                    for one in versions.of(row.name)
                ],
            }


def _instant(stored: int) -> str:
    return values.instant(stored).isoformat()
