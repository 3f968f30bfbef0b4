"""Where the keys of an entity may stand: tables by storage id, and columns of what services were asked and gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.definitions import Entity, FeatureService, FeatureView, SharedFeatureView, storage_id
from featurestore.errors import ObjectNotFoundError, SchemaError, closest
from featurestore.offline.erasure.erased_keys import ErasedKeys, Matches, keys_of
from featurestore.registry import Registry

#: The columns that hold a key, in the order of the join keys.
Columns = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What an erasure may find.

    Attributes:
        entity: the entity, as the newest version with these join keys has it.
        keys: of its members.
        views: our views of this entity, one for each storage id, whatever became of them.
        foreign: views of this entity that other projects own, by storage id.
        columns: by name of a service, where the key stands in its rows; several times where a view is used by several.
        notes: what the user should know.
    """

    entity: Entity
    keys: ErasedKeys
    views: Mapping[str, FeatureView]
    foreign: Mapping[str, SharedFeatureView]
    columns: Mapping[str, tuple[Columns, ...]]
    notes: tuple[str, ...]

    def matches(self, wanted: Sequence[Columns]) -> Matches:
        """Return which rows have one of the keys in any of these columns."""

        def mask(batch: pa.RecordBatch) -> pa.BooleanArray:
            found = pa.repeat(pa.scalar(False), batch.num_rows)
            for columns in wanted:
                found = pc.or_(found, self.keys.mask([batch.column(name) for name in columns]))
            return found

        return mask

    def places_in(self, service: str, names: Sequence[str]) -> list[Columns]:
        """Return where the key stands in a file of a service's rows that has these columns.

        A service that knows nothing of the entity may have been given its key all the same, as a column of its own.
        """
        wanted = self.columns.get(service.partition("@")[0], (self.keys.names,))
        return [columns for columns in wanted if set(columns) <= set(names)]


def scope_of(registry: Registry, entity: str, given: Sequence[Mapping[str, Any]]) -> Scope:
    """Return what an erasure of some keys may find.

    Args:
        registry: knows the definitions.
        entity: the entity's name.
        given: by join key its value, for each member.

    Raises:
        ObjectNotFoundError: there is no such entity, and never was.
        SchemaError: these are no keys of it.
    """
    views = [cast("FeatureView", one.definition) for one in registry.every_version("feature_view")]
    services = [cast("FeatureService", one.definition) for one in registry.every_version("feature_service")]
    foreign = [view for one in services for view in one.views if isinstance(view, SharedFeatureView)]
    entities = [cast("Entity", one.definition) for one in registry.every_version("entity")]
    named = [one for one in entities if one.name == entity]
    # A project may know an entity only by a view of another project.
    named = named or [one for view in foreign for one in view.entities if one.name == entity]
    if not named:
        raise ObjectNotFoundError(
            f'There is no entity "{entity}" in project "{registry.project}".',
            hint=closest(entity, {one.name for one in entities}),
        )
    known = _fitting(named, given)
    names = tuple(known.keys)
    return Scope(
        entity=known,
        keys=keys_of(known, given),
        views={storage_id(view): view for view in views if _has(view, known)},
        foreign={storage_id(view): view for view in foreign if _has(view, known)},
        columns=_columns(services, known),
        notes=tuple(dict.fromkeys([*_other_keys(named, names), *_lookalikes(views, known)])),
    )


def _fitting(versions: Sequence[Entity], given: Sequence[Mapping[str, Any]]) -> Entity:
    """Return the newest version of an entity that has the join keys that are given; the newest if none has."""
    wanted = {name for one in given for name in one}
    fitting = [one for one in versions if set(one.keys) == wanted]
    return (fitting or list(versions))[-1]


def _has(view: FeatureView, entity: Entity) -> bool:
    return any(one.name == entity.name and set(one.keys) == set(entity.keys) for one in view.entities)


def _columns(services: Sequence[FeatureService], entity: Entity) -> dict[str, tuple[Columns, ...]]:
    found: dict[str, dict[Columns, None]] = {}
    for service in services:
        mine = found.setdefault(service.name, {})
        claimed = set[str]()
        for use in service.uses:
            if _has(use.view, entity):
                mine[tuple(use.columns[name] for name in entity.keys)] = None
            else:
                claimed |= set(use.columns.values())
        # A column of that name is this key, unless the service knows it as the key of something else.
        if not claimed & set(entity.keys):
            mine[tuple(entity.keys)] = None
    return {name: tuple(columns) for name, columns in found.items()}


def _other_keys(versions: Sequence[Entity], names: Columns) -> list[str]:
    return [
        f'Entity "{one.name}" also had the join keys {", ".join(one.keys)}: erase by these, too.'
        for one in versions
        if set(one.keys) != set(names)
    ]


def _lookalikes(views: Sequence[FeatureView], entity: Entity) -> list[str]:
    """Return what stands under the names of the join keys and is not known to be these keys."""
    names, found = set(entity.keys), []
    for view in views:
        others = [one for one in view.entities if one.name != entity.name and names & set(one.keys)]
        for other in others:
            shared = ", ".join(sorted(names & set(other.keys)))
            found.append(f'View "{view.name}" has {shared} as a key of entity "{other.name}": its rows stay.')
        features = ", ".join(sorted(names & {one.name for one in view.schema}))
        if features and not _has(view, entity):
            found.append(f'View "{view.name}" has {features} as a feature, of rows of something else: they stay.')
    return found


def check_request(request: str) -> str:
    """Return the name of a request if it can be one.

    Raises:
        SchemaError: it is empty, or too long to be kept.
    """
    text = request.strip()
    if not text or len(text) > 100:
        raise SchemaError("The erasure names no request.", hint="Say whose wish it is, without the key: GDPR-123.")
    return text
