"""Which definitions a set of definitions reaches, and how each refers to the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from featurestore.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    MonitorPolicy,
    OnDemandFeatureView,
    PromotionPolicy,
    SharedFeatureView,
    SharedView,
    content_hash,
    kind_of,
)
from featurestore.definitions.canonical import KINDS
from featurestore.errors import DefinitionError
from featurestore.places import place_of

#: Parts of a definition's notes that belong to the definitions it refers to, and are kept with those.
_OTHERS_NOTES = ("entities", "inputs", "features")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One definition on its way into the registry.

    Attributes:
        definition: the object.
        kind: its kind.
        content_hash: its identity.
        references: the names of the definitions that it refers to.
        shared: the views of other projects that it refers to.
    """

    definition: Definition
    kind: str
    content_hash: str
    references: tuple[str, ...]
    shared: tuple[SharedFeatureView, ...] = ()

    @property
    def notes(self) -> dict[str, Any]:
        """What people read of it, without the notes of the definitions it refers to; made anew each time.

        Kept for ten thousand views they would be half a million dicts, which the garbage collector walks through.
        """
        return own_notes(self.definition)


def collect(definitions: Sequence[Definition]) -> dict[str, Wanted]:
    """Return the definitions and all that they reach, by name; each comes after those that it refers to.

    Raises:
        DefinitionError: something is not a definition, one name stands for two things, or one refers to itself.
    """
    found: dict[str, Wanted] = {}
    seen: set[int] = set()

    path: list[Definition] = []

    def visit(definition: Definition) -> None:
        if any(definition is one for one in path):
            raise _circle(definition, path)
        if id(definition) in seen:
            return
        seen.add(id(definition))
        reached = tuple(references(definition))
        # The views of other projects are their owners' to apply.
        referred = [one for one in reached if not isinstance(one, SharedFeatureView)]
        shared = {one.reference: one for one in reached if isinstance(one, SharedFeatureView)}
        path.append(definition)
        for other in referred:
            visit(other)
        path.pop()
        wanted = Wanted(
            definition=definition,
            kind=kind_of(definition),
            content_hash=content_hash(definition),
            references=tuple(dict.fromkeys(other.name for other in referred)),
            shared=tuple(shared.values()),
        )
        known = found.setdefault(definition.name, wanted)
        if known.kind != wanted.kind:
            raise DefinitionError(
                f'"{definition.name}" is both {words(known.kind)} and {words(wanted.kind)}{_other(known.definition)}.',
                hint="Names are unique in a project, over all kinds: rename one.",
                where=place_of(definition),
            )
        if known is not wanted and (known.content_hash, known.notes) != (wanted.content_hash, wanted.notes):
            raise DefinitionError(
                f'There are two different definitions of {wanted.kind} "{definition.name}"{_other(known.definition)}.',
                hint="Use one object wherever it is meant.",
                where=place_of(definition),
            )

    for definition in definitions:
        if type(definition) not in KINDS:
            raise DefinitionError(
                f"{definition!r} is not a definition.",
                hint="Pass entities, feature views, on-demand feature views, feature services and monitor policies.",
            )
        visit(definition)
    return found


def _circle(definition: Definition, path: Sequence[Definition]) -> DefinitionError:
    first = next(at for at, one in enumerate(path) if one is definition)
    names = " -> ".join(one.name for one in (*path[first:], definition))
    return DefinitionError(
        f'{words(kind_of(definition)).partition(" ")[2].capitalize()} "{definition.name}" refers to itself: {names}.',
        hint="Take one of these references out.",
        where=place_of(definition),
    )


def _other(definition: Definition) -> str:
    place = place_of(definition)
    return f"; the other one is in {place}" if place else ""


def references(definition: Definition) -> Iterator[Definition]:
    """Yield the definitions that one refers to directly; for a service also the inputs of its on-demand views."""
    match definition:
        case Entity():
            return
        case FeatureView():
            yield from definition.entities
        case OnDemandFeatureView():
            yield from definition.input_views
        case FeatureService():
            # Not `.views`, which keeps one object a name: a second one that differs must be seen to be refused.
            for one in definition.features:
                if isinstance(one, OnDemandFeatureView):
                    yield from one.input_views
                    yield one
                elif isinstance(one, SharedView):
                    one.unknown()
                else:
                    yield one if isinstance(one, FeatureView) else one.view
        case MonitorPolicy() | PromotionPolicy():
            if definition.service is not None:
                yield definition.service


def own_notes(definition: Definition) -> dict[str, Any]:
    """Return the notes that are kept with the definition itself."""
    return {key: value for key, value in definition.notes().items() if key not in _OTHERS_NOTES}


def words(kind: str) -> str:
    """Return a kind as it reads in a sentence: ``a feature view``."""
    text = "on-demand feature view" if kind == "on_demand_feature_view" else kind.replace("_", " ")
    return f"{'an' if text[0] in 'aeo' else 'a'} {text}"
