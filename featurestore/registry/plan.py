"""What applying definitions would change: compared, numbered and judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from featurestore.definitions import Definition
from featurestore.errors import DefinitionError, about
from featurestore.places import place_of
from featurestore.registry import rendering, values
from featurestore.registry.differences import Difference, breaking, describe, differences
from featurestore.registry.graph import Wanted, words
from featurestore.registry.soundness import check_sound
from featurestore.registry.versions import Stored, Versions

Action = Literal["create", "new version", "update notes", "make current", "remove", "unchanged"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happens to one object.

    Attributes:
        kind: ``feature_view`` and so on.
        name: the object.
        action: ``create``; ``new version``: a value that a user sees can change; ``update notes``: only what people
            read; ``make current``: the definition is that of an earlier version; ``remove``; ``unchanged``.
        from_version: the current version before; None if there is none, as of an object that was removed.
        to_version: the current version after; None if there is none any more.
        differences: the values that change, with their paths.
        breaking: the reasons why users would break; empty if they would not.
        users: what still uses an object that is to be removed, which therefore cannot be.
        notes: what the change costs, and whom it does not reach; a sentence each.
        where: the file and line of the definition; empty if it is not known.
    """

    kind: str
    name: str
    action: Action
    from_version: int | None
    to_version: int | None
    differences: tuple[Difference, ...] = ()
    breaking: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    where: str = ""

    @property
    def effect(self) -> Action:
        """The action as a reader counts it: an object that was removed and comes back is created."""
        return "create" if self.from_version is None else self.action

    def to_json(self) -> dict[str, Any]:
        """Return the change as JSON values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "action": self.action,
            "from_version": self.from_version,
            "to_version": self.to_version,
            "differences": rendering.differences_as_json(self.differences),
            "breaking": list(self.breaking),
            "users": list(self.users),
            "notes": list(self.notes),
            "where": self.where,
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an apply will do, or has done; each change comes after those that it builds on.

    Attributes:
        changes: one for each definition that was given or reached, then what is removed.
        project: the namespace.
        prune: whether what is not among the definitions is removed.
        definitions: what was given.
        audit_sequence: the registry's state that the plan was made for: its newest audit entry.
    """

    changes: tuple[Change, ...]
    project: str = ""
    prune: bool = False
    definitions: tuple[Definition, ...] = field(default=(), repr=False)
    audit_sequence: int = 0

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return rendering.html(self)

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return all(change.action == "unchanged" for change in self.changes)

    @property
    def changed(self) -> tuple[Change, ...]:
        """The changes, without what stays as it is."""
        return tuple(change for change in self.changes if change.action != "unchanged")

    @property
    def breaking(self) -> tuple[str, ...]:
        """The reasons why users would break, each with its object."""
        return tuple(f"{change.kind} {change.name}: {reason}" for change in self.changes for reason in change.breaking)

    @property
    def counts(self) -> dict[str, int]:
        """How many objects each effect has, ``unchanged`` among them; effects that none has are left out."""
        count: Counter[str] = Counter(change.effect for change in self.changes)
        return {effect: count[effect] for effect in rendering.COUNTED if count[effect]}

    def with_notes(self, notes: Mapping[str, Iterable[str]]) -> Plan:
        """Return the plan with more notes.

        Args:
            notes: by the name of the changed object; others are left out.
        """
        changes = tuple(
            replace(change, notes=(*change.notes, *notes[change.name]))
            if change.name in notes and change.action != "unchanged"
            else change
            for change in self.changes
        )
        return replace(self, changes=changes)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values; of what stays as it is only the number."""
        return {
            "project": self.project,
            "empty": self.is_empty,
            "counts": self.counts,
            "breaking": list(self.breaking),
            "changes": [change.to_json() for change in self.changed],
        }

    def render(self, format: rendering.Format = "text") -> str:  # noqa: A002 - the option's own word
        """Return the plan for a terminal (``text``), a pull request (``markdown``) or a program (``json``)."""
        return rendering.render(self, format)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A change with all that is needed to carry it out."""

    change: Change
    wanted: Wanted
    pins: Mapping[str, int]


def prepare(
    wanted: Mapping[str, Wanted],
    versions: Versions,
    sound: set[str],
    shared: Mapping[str, Mapping[str, int]],
) -> list[Step]:
    """Return the steps that bring the registry to the wanted definitions, in order.

    Args:
        wanted: by name, each after those that it refers to.
        versions: the registry as the current transaction sees it.
        sound: names of those that were found sound before, which grows: what the engines say of a definition, or a
            user's function of its examples, need not be asked again while others wait for a lock.
        shared: the versions of views of other projects, by the definition that refers to them.

    Raises:
        DefinitionError: a name is registered as another kind, or a definition cannot be evaluated.
    """
    current = versions.current_of(wanted)
    hashes = versions.hashes_of(name for name, one in wanted.items() if not _is_current(one, current.get(name)))
    targets: dict[str, int] = {}
    steps = []
    for name, one in wanted.items():
        stored = current.get(name)
        if stored is not None and stored.row.kind != one.kind:
            raise DefinitionError(
                f'"{name}" is registered as {words(stored.row.kind)}, and now defined as {words(one.kind)}.',
                hint="Names are unique in a project, over all kinds and for ever: choose another.",
                where=place_of(one.definition),
            )
        known = hashes.get(name, {})
        if stored is not None and _is_current(one, stored):
            known = {one.content_hash: stored.row.version}
        targets[name] = version = known.get(one.content_hash) or max(known.values(), default=0) + 1
        pins = {other: targets[other] for other in one.references} | dict(shared.get(name, {}))
        steps.append(_step(one, stored, version, pins, one.content_hash in known, versions, sound))
    return steps


def _is_current(one: Wanted, stored: Stored | None) -> bool:
    return stored is not None and stored.row.content_hash == one.content_hash


def _says_the_same(one: Wanted, stored: Stored) -> bool:
    return values.to_json(one.notes, f'The notes of "{one.definition.name}"') == str(stored.row.notes)


def _step(
    one: Wanted,
    stored: Stored | None,
    version: int,
    pins: Mapping[str, int],
    known: bool,
    versions: Versions,
    sound: set[str],
) -> Step:
    there = stored is not None and stored.row.removed_at is None
    if stored is not None and there and _is_current(one, stored) and _says_the_same(one, stored):
        # Nearly all of a large registry, at nearly every plan: not worth being described twice and compared.
        change = Change(
            kind=one.kind, name=one.definition.name, action="unchanged", from_version=version, to_version=version
        )
        return Step(change=change, wanted=one, pins=stored.pins)
    if stored is not None and version == stored.row.version:
        # The service of a policy counts by name, so the pins of an unchanged definition may point back; they stay.
        pins = stored.pins
    new = describe(one.definition.spec(), one.notes, pins)
    reasons: tuple[str, ...] = ()
    found: tuple[Difference, ...]
    action: Action
    if stored is None or not there:
        action = "create" if stored is None else "make current" if known else "new version"
        found = tuple(Difference(path, None, value) for path, value in new.items() if value not in (None, [], {}))
    else:
        found = tuple(differences(describe(stored.spec, stored.notes, stored.pins), new))
        if version == stored.row.version:
            action = "update notes" if found else "unchanged"
        else:
            action = "make current" if known else "new version"
            reasons = breaking(versions.definition(stored), one.definition)
    name = one.definition.name
    # Examples are notes, and a wrong one would stop the servers that check them.
    if name not in sound and (not known or any(each.path.startswith("examples") for each in found)):
        with about(one.definition):
            check_sound(one.definition)
        sound.add(name)
    change = Change(
        kind=one.kind,
        name=one.definition.name,
        action=action,
        from_version=stored.row.version if stored is not None and there else None,
        to_version=version,
        differences=found,
        breaking=reasons,
        where=place_of(one.definition) if action != "unchanged" else "",
    )
    return Step(change=change, wanted=one, pins=pins)
