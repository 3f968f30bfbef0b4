"""Which definitions a set of definitions reaches, and how each refers to the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featurestore.definitions import (
    Definition,
    Entity,
    FeatureService,
    FeatureView,
    MonitorPolicy,
    OnDemandFeatureView,
    content_hash,
    kind_of,
)
from featurestore.definitions.canonical import KINDS
from featurestore.errors import DefinitionError

#: Parts of a definition's notes that belong to the definitions it refers to, and are kept with those.
_OTHERS_NOTES = ("entities", "inputs", "features")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One definition on its way into the registry.

    Attributes:
        definition: the object.
        kind: its kind.
        content_hash: its identity.
        notes: what people read of it, without the notes of the definitions it refers to.
        references: the names of those.
    """

    definition: Definition
    kind: str
    content_hash: str
    notes: Mapping[str, Any]
    references: tuple[str, ...]


def collect(definitions: Sequence[Definition]) -> dict[str, Wanted]:
    """Return the definitions and all that they reach, by name; each comes after those that it refers to.

    Raises:
        DefinitionError: something is not a definition, or one name stands for two things.
    """
    found: dict[str, Wanted] = {}
    seen: set[int] = set()

    def visit(definition: Definition) -> None:
        if id(definition) in seen:
            return
        seen.add(id(definition))
        referred = tuple(references(definition))
        for other in referred:
            visit(other)
        wanted = Wanted(
            definition=definition,
            kind=kind_of(definition),
            content_hash=content_hash(definition),
            notes=own_notes(definition),
            references=tuple(dict.fromkeys(other.name for other in referred)),
        )
        known = found.setdefault(definition.name, wanted)
        if known.kind != wanted.kind:
            raise DefinitionError(
                f'"{definition.name}" is both {words(known.kind)} and {words(wanted.kind)}.',
                hint="Names are unique in a project, over all kinds: rename one.",
            )
        if known is not wanted and (known.content_hash, known.notes) != (wanted.content_hash, wanted.notes):
            raise DefinitionError(
                f'There are two different definitions of {wanted.kind} "{definition.name}".',
                hint="Use one object wherever it is meant.",
            )

    for definition in definitions:
        if type(definition) not in KINDS:
            raise DefinitionError(
                f"{definition!r} is not a definition.",
                hint="Pass entities, feature views, on-demand feature views, feature services and monitor policies.",
            )
        visit(definition)
    return found


def references(definition: Definition) -> Iterator[Definition]:
    """Yield the definitions that one refers to directly; for a service also the inputs of its on-demand views."""
    match definition:
        case Entity():
            return
        case FeatureView():
            yield from definition.entities
        case OnDemandFeatureView():
            yield from definition.inputs
        case FeatureService():
            # Not `.views`, which keeps one object a name: a second one that differs must be seen to be refused.
            for one in definition.features:
                if isinstance(one, OnDemandFeatureView):
                    yield from one.inputs
                    yield one
                else:
                    yield one if isinstance(one, FeatureView) else one.view
        case MonitorPolicy():
            yield definition.service


def own_notes(definition: Definition) -> dict[str, Any]:
    """Return the notes that are kept with the definition itself."""
    return {key: value for key, value in definition.notes().items() if key not in _OTHERS_NOTES}


def words(kind: str) -> str:
    """Return a kind as it reads in a sentence: ``a feature view``."""
    text = "on-demand feature view" if kind == "on_demand_feature_view" else kind.replace("_", " ")
    return f"{'an' if text[0] in 'aeo' else 'a'} {text}"
