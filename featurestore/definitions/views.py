"""Feature views that are stored, and a choice of some features of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from featurestore import types
from featurestore.definitions.arguments import check_duration, check_list, check_mapping, check_text
from featurestore.definitions.entity import Entity
from featurestore.definitions.field import Field
from featurestore.definitions.names import check_name, check_unique
from featurestore.definitions.sources import QuerySource, Source, source_from_spec
from featurestore.errors import DefinitionError, closest
from featurestore.places import remember

OnBadRows = Literal["quarantine", "reject"]


def check_schema(schema: Sequence[Field], what: str) -> tuple[Field, ...]:
    """Return the features of a view; raise :class:`DefinitionError` if there are none, or two share a name."""
    fields = check_list(schema, what, "schema")
    if not fields:
        raise DefinitionError(f"{what} has no fields.", hint='Give schema=[Field(name="...", dtype=...)].')
    for one in fields:
        if not isinstance(one, Field):
            raise DefinitionError(f"{what} has {one!r} in its schema, which is not a Field.")
    check_unique((one.name for one in fields), what)
    return fields


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """Features of an entity over time, from one source.

    Attributes:
        name: its name in the project.
        entities: what the features describe; the keys of all of them identify a row.
        schema: the features.
        ttl: how long after its event time a value may be used, offline and online alike; None is for ever.
        source: where rows come from; None when they are only ever passed to ``ingest``.
        on_bad_rows: what a load does with rows that fail the schema's checks: ``quarantine`` keeps them aside with
            the reason and publishes the rest; ``reject`` publishes nothing.
        description: for people.
        owner: for people.
        tags: for people.

    ``weather[["temp", "dewp"]]`` is the view with these features only, for use in a service.

    Raises:
        DefinitionError: no entity, no field, a name used twice, a TTL that is not positive, or loads that would be
            refused for what their source gives again.
    """

    name: str
    entities: Sequence[Entity]
    schema: Sequence[Field]
    ttl: timedelta | None = None
    source: Source | None = None
    on_bad_rows: OnBadRows = "quarantine"
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remember(self)
        check_name(self.name, "a feature view")
        what = f'Feature view "{self.name}"'
        entities = check_list(self.entities, what, "entities")
        if not entities or not all(isinstance(entity, Entity) for entity in entities):
            raise DefinitionError(f"{what} needs entities.", hint="Give entities=[...] with Entity objects.")
        fields = check_schema(self.schema, what)
        check_unique([key for entity in entities for key in entity.join_keys] + [one.name for one in fields], what)
        if self.ttl is not None:
            least = timedelta(microseconds=1)
            hint = "ttl=None keeps values for ever; else it is positive, and 100 years at most."
            check_duration(self.ttl, what, "ttl", least=least, hint=hint)
        if self.source is not None and not isinstance(self.source, Source):
            raise DefinitionError(
                f"{what} has {self.source!r} as its source.",
                hint="Use a FileSource, SqlSource, QuerySource or PushSource.",
            )
        if self.on_bad_rows not in ("quarantine", "reject"):
            raise DefinitionError(
                f'{what} has on_bad_rows="{self.on_bad_rows}".', hint='It is "quarantine" or "reject".'
            )
        unique = [one.name for one in fields if one.unique_within == "table"]
        if unique and self.on_bad_rows == "reject" and isinstance(self.source, QuerySource):
            # The newest row at least comes again with each load, and every load but the first would be refused.
            raise DefinitionError(
                f'{what} rejects loads in which "{unique[0]}" repeats within the table, and a QuerySource gives rows '
                "again.",
                hint='Set on_bad_rows="quarantine": repeated rows are kept aside, and the others published.',
            )
        for name in ("description", "owner"):
            check_text(getattr(self, name), what, name)
        object.__setattr__(self, "entities", entities)
        object.__setattr__(self, "schema", fields)
        object.__setattr__(self, "tags", check_mapping(self.tags, what, "tags"))

    def __getitem__(self, features: Sequence[str]) -> ViewProjection:
        if isinstance(features, str):
            raise DefinitionError(f'{self.name}["{features}"] is one text.', hint=f'Write {self.name}[["{features}"]].')
        if not isinstance(features, (list, tuple)):
            raise DefinitionError(
                f'{self.name}[{features!r}] takes no features of view "{self.name}".',
                hint=f'List their names: {self.name}[["{self.schema[0].name}"]].',
            )
        return ViewProjection(view=self, features=tuple(features))

    @property
    def keys(self) -> dict[str, types.DType]:
        """Each join key with its type, over all entities, in order."""
        return {key: dtype for entity in self.entities for key, dtype in entity.keys.items()}

    @property
    def reference(self) -> str:
        """What definitions that refer to it call it: its name, or with its project before if that is another one."""
        return self.name

    @property
    def timestamp_field(self) -> str:
        """The column of incoming rows that holds the event time."""
        return self.source.timestamp_field if self.source is not None else "event_timestamp"

    @property
    def created_timestamp_column(self) -> str | None:
        """The column of incoming rows that says when the source wrote them."""
        return self.source.created_timestamp_column if self.source is not None else "created_timestamp"

    def spec(self) -> dict[str, Any]:
        """Return what can change a value that a user sees, as JSON values."""
        return {
            "name": self.name,
            "entities": [entity.spec() for entity in self.entities],
            "schema": [one.spec() for one in self.schema],
            "ttl_us": None if self.ttl is None else self.ttl // timedelta(microseconds=1),
            "source": None if self.source is None else self.source.spec(),
            "on_bad_rows": self.on_bad_rows,
        }

    def storage_spec(self) -> dict[str, Any]:
        """Return what determines the stored rows: all of :meth:`spec` but the TTL and the defaults.

        Stored rows keep their nulls; a default stands in for them when they are read. Every check is a part: it keeps
        rows aside, or refuses the load that has them.
        """
        spec = self.spec()
        del spec["ttl_us"]
        for one in spec["schema"]:
            one.pop("default", None)
        return spec

    def notes(self) -> dict[str, Any]:
        """Return what only people read."""
        return {
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags),
            "schema": [one.notes() for one in self.schema],
            "entities": [entity.notes() for entity in self.entities],
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> FeatureView:
        """Return the view that :meth:`spec` and :meth:`notes` came from."""
        rest = {key: value for key, value in notes.items() if key not in ("schema", "entities")}
        ttl = spec["ttl_us"]
        return cls(
            name=spec["name"],
            entities=[Entity.from_spec(*pair) for pair in zip(spec["entities"], notes["entities"], strict=True)],
            schema=[Field.from_spec(*pair) for pair in zip(spec["schema"], notes["schema"], strict=True)],
            ttl=None if ttl is None else timedelta(microseconds=ttl),
            source=None if spec["source"] is None else source_from_spec(spec["source"]),
            on_bad_rows=spec["on_bad_rows"],
            **rest,
        )


@dataclass(frozen=True, kw_only=True)
class ViewProjection:
    """Some features of a view, made by ``view[["a", "b"]]``.

    Raises:
        DefinitionError: the view has no feature of that name, or one is named twice.
    """

    view: FeatureView
    features: tuple[str, ...]

    def __post_init__(self) -> None:
        remember(self)
        known = [one.name for one in self.view.schema]
        for name in self.features:
            if name not in known:
                raise DefinitionError(
                    f'Feature view "{self.view.name}" has no feature "{name}".', hint=closest(str(name), known)
                )
        if not self.features:
            raise DefinitionError(f'{self.view.name}[[]] takes no feature of view "{self.view.name}".')
        check_unique(self.features, f'The choice from view "{self.view.name}"')
