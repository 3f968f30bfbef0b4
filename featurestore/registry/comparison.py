"""Two versions side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from featurestore.errors import RegistryError
from featurestore.markup import Printed
from featurestore.registry import rendering
from featurestore.registry.differences import Difference, breaking, describe, differences
from featurestore.registry.graph import words
from featurestore.registry.versions import Versions


@dataclass(frozen=True, kw_only=True)
class Comparison(Printed):
    """What is different in one version from another.

    Attributes:
        kind: ``feature_view`` and so on.
        old: ``weather@1``.
        new: ``weather@3``.
        differences: the values that differ, with their paths.
        breaking: the reasons why those who rely on the old one would not survive the new one.
    """

    kind: str
    old: str
    new: str
    differences: tuple[Difference, ...]
    breaking: tuple[str, ...]

    def __str__(self) -> str:
        return self.render()

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "kind": self.kind,
            "old": self.old,
            "new": self.new,
            "differences": rendering.differences_as_json(self.differences),
            "breaking": list(self.breaking),
        }

    def render(self, format: rendering.Format = "text") -> str:  # noqa: A002 - the option's own word
        """Return the comparison for a terminal (``text``), a pull request (``markdown``) or a program (``json``)."""
        if format == "json":
            return json.dumps(self.to_json(), indent=2, ensure_ascii=False)
        reasons = [f"breaking: {reason}" for reason in self.breaking]
        headline = f"{self.kind} {self.old} -> {self.new}"
        if not self.differences:
            headline += " (no difference)"
        return rendering.render_block("~", headline, self.differences, reasons, format)


def compare(versions: Versions, old: str, new: str) -> Comparison:
    """Return what is different in one version from another.

    Raises:
        ObjectNotFoundError: one of them is not registered.
        RegistryError: they are of different kinds.
    """
    before, after = versions.find(old, None), versions.find(new, None)
    if before.row.kind != after.row.kind:
        raise RegistryError(
            f'"{old}" is {words(before.row.kind)} and "{new}" {words(after.row.kind)}: they have nothing to compare.',
            hint="Compare two versions of one object: featurestore diff weather@1 weather@3",
        )
    found = differences(describe(before.spec, before.notes, before.pins), describe(after.spec, after.notes, after.pins))
    return Comparison(
        kind=before.row.kind,
        old=f"{before.row.name}@{before.row.version}",
        new=f"{after.row.name}@{after.row.version}",
        differences=tuple(found),
        breaking=breaking(versions.definition(before), versions.definition(after)),
    )
