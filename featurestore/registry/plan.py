"""What applying definitions would change: compared, numbered, judged and shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from featurestore.definitions import OnDemandFeatureView
from featurestore.errors import DefinitionError
from featurestore.registry.differences import Difference, breaking, describe, differences
from featurestore.registry.graph import Wanted, words
from featurestore.registry.rendering import render_difference
from featurestore.registry.versions import Stored, Versions
from featurestore.transforms import Transform

Action = Literal["create", "new version", "update notes", "make current", "unchanged"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happens to one object.

    Attributes:
        kind: ``feature_view`` and so on.
        name: the object.
        action: ``create``; ``new version``: a value that a user sees can change; ``update notes``: only what people
            read; ``make current``: the definition is that of an earlier version; ``unchanged``.
        from_version: the current version before; None if there is none.
        to_version: the current version after.
        differences: the values that change, with their paths.
        breaking: the reasons why users would break; empty if they would not.
    """

    kind: str
    name: str
    action: Action
    from_version: int | None
    to_version: int
    differences: tuple[Difference, ...] = ()
    breaking: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What :meth:`Registry.apply` will do, or has done; each change comes after those that it builds on.

    Attributes:
        changes: one for each definition that was given or reached.
    """

    changes: tuple[Change, ...]

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return all(change.action == "unchanged" for change in self.changes)

    @property
    def breaking(self) -> tuple[str, ...]:
        """The reasons why users would break, each with its object."""
        return tuple(f"{change.kind} {change.name}: {reason}" for change in self.changes for reason in change.breaking)

    def render(self) -> str:
        """Return the plan as text; see :mod:`featurestore.registry.rendering`."""
        lines: list[str] = []
        for change in self.changes:
            if change.action == "unchanged":
                continue
            lines.append(_headline(change))
            lines += [line for difference in change.differences for line in render_difference(difference)]
            lines += [f"      ! breaking: {reason}" for reason in change.breaking]
        return "\n".join([*lines, "", self._summary()] if lines else [self._summary()])

    def _summary(self) -> str:
        count = Counter(change.action for change in self.changes)
        if self.is_empty:
            return f"No changes: {count['unchanged']} definitions are as registered."
        parts = [f"{count[action]} {past}" for action, past in _PAST.items() if count[action]]
        return f"Plan: {', '.join(parts)}."


_PAST: Mapping[Action, str] = {
    "create": "to create",
    "new version": "to get a new version",
    "make current": "to go back to an earlier version",
    "update notes": "with new notes",
    "unchanged": "unchanged",
}


def _headline(change: Change) -> str:
    if change.action == "create":
        return f"  + {change.kind} {change.name}@{change.to_version}"
    if change.action == "update notes":
        return f"  ~ {change.kind} {change.name}@{change.to_version} (notes only, no new version)"
    moved = f"{change.name}@{change.from_version} -> {change.name}@{change.to_version}"
    return f"  ~ {change.kind} {moved}" + (" (known definition)" if change.action == "make current" else "")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A change with all that is needed to carry it out."""

    change: Change
    wanted: Wanted
    spec: Mapping[str, Any]
    pins: Mapping[str, int]


def prepare(wanted: Mapping[str, Wanted], versions: Versions) -> list[Step]:
    """Return the steps that bring the registry to the wanted definitions, in order.

    Args:
        wanted: by name, each after those that it refers to.
        versions: the registry as the current transaction sees it.

    Raises:
        DefinitionError: a name is registered as another kind, or an on-demand expression cannot be evaluated.
    """
    current = versions.current_of(wanted)
    hashes = versions.hashes_of(wanted)
    targets: dict[str, int] = {}
    steps = []
    for name, one in wanted.items():
        stored = current.get(name)
        if stored is not None and stored.row.kind != one.kind:
            raise DefinitionError(
                f'"{name}" is registered as {words(stored.row.kind)}, and now defined as {words(one.kind)}.',
                hint="Names are unique in a project, over all kinds: choose another.",
            )
        known = hashes.get(name, {})
        targets[name] = known.get(one.content_hash) or max(known.values(), default=0) + 1
        steps.append(_step(one, stored, targets, one.content_hash in known, versions))
    return steps


def _step(one: Wanted, stored: Stored | None, targets: Mapping[str, int], known: bool, versions: Versions) -> Step:
    version = targets[one.definition.name]
    if stored is not None and version == stored.row.version:
        # The service of a policy counts by name, so the pins of an unchanged definition may point back; they stay.
        pins = stored.pins
    else:
        pins = {name: targets[name] for name in one.references}
    spec = one.definition.spec()
    new = describe(spec, one.notes, pins)
    reasons: tuple[str, ...] = ()
    found: tuple[Difference, ...]
    action: Action
    if stored is None:
        action = "create"
        found = tuple(Difference(path, None, value) for path, value in new.items() if value not in (None, [], {}))
    else:
        found = tuple(differences(describe(stored.spec, stored.notes, stored.pins), new))
        if version == stored.row.version:
            action = "update notes" if found else "unchanged"
        else:
            action = "make current" if known else "new version"
            reasons = breaking(versions.definition(stored), one.definition)
    if not known and isinstance(one.definition, OnDemandFeatureView):
        Transform(one.definition)  # raises when an expression cannot be evaluated: better now than at a lookup
    change = Change(
        kind=one.kind,
        name=one.definition.name,
        action=action,
        from_version=None if stored is None else stored.row.version,
        to_version=version,
        differences=found,
        breaking=reasons,
    )
    return Step(change=change, wanted=one, spec=spec, pins=pins)
