"""Feature views that are stored, and a choice of some features of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

from featurestore import types
from featurestore.definitions.arguments import check_duration, check_list, check_mapping, check_text
from featurestore.definitions.entity import Entity
from featurestore.definitions.field import Field
from featurestore.definitions.gate import LoadGate
from featurestore.definitions.names import SEPARATOR, check_column, check_name, check_unique
from featurestore.definitions.sources import QuerySource, Source, SqlSource, source_from_spec
from featurestore.errors import DefinitionError, closest
from featurestore.places import remember

_WATCHFUL = LoadGate()

OnBadRows = Literal["quarantine", "reject", "warn"]


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
        delay: how long after its event time a row can be known; None where the rows say it themselves, by
            ``created_timestamp``, or by when they were ingested. Only joins with ``known_at="row"`` look at it.
        source: where rows come from; None when they are only ever passed to ``ingest``.
        on_bad_rows: what a load does with rows that fail the schema's checks: ``quarantine`` keeps them aside with
            the reason and publishes the rest; ``reject`` publishes nothing; ``warn`` publishes them too and counts
            them, but for those that no table can hold: without a key or an instant, from the future, or with a cell
            that could not be read.
        gate: what a load is compared in with the loads before it, and what becomes of one that differs.
        description: for people.
        owner: for people.
        tags: for people.

    ``weather[["temp", "dewp"]]`` is the view with these features only, for use in a service;
    ``weather.with_join_key_map({"origin": "dest"}, name="dest_weather")`` is the view looked up by another column.

    Raises:
        DefinitionError: no entity, no field, a name used twice, a TTL that is not positive, a negative delay, or loads
            that would be refused for what their source gives again.
    """

    name: str
    entities: Sequence[Entity]
    schema: Sequence[Field]
    ttl: timedelta | None = None
    delay: timedelta | None = None
    source: Source | None = None
    on_bad_rows: OnBadRows = "quarantine"
    gate: LoadGate = _WATCHFUL
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
        if self.delay is not None:
            hint = "delay=None takes what the rows say; else it is not negative, and 100 years at most."
            check_duration(self.delay, what, "delay", least=timedelta(0), hint=hint)
        if self.source is not None and not isinstance(self.source, Source):
            raise DefinitionError(
                f"{what} has {self.source!r} as its source.",
                hint="Use a FileSource, SqlSource, QuerySource or PushSource.",
            )
        if self.on_bad_rows not in ("quarantine", "reject", "warn"):
            raise DefinitionError(
                f'{what} has on_bad_rows="{self.on_bad_rows}".', hint='It is "quarantine", "reject" or "warn".'
            )
        if not isinstance(self.gate, LoadGate):
            raise DefinitionError(
                f"{what} has gate={self.gate!r}.", hint='Give a LoadGate: gate=LoadGate(on_anomaly="reject").'
            )
        unique = [one.name for one in fields if one.unique_within == "table"]
        runs_again = isinstance(self.source, SqlSource) and self.source.lookback is not None
        if unique and self.on_bad_rows == "reject" and (runs_again or isinstance(self.source, QuerySource)):
            # The newest row at least comes again with each load, and every load but the first would be refused.
            again = "SqlSource with a lookback" if runs_again else "QuerySource"
            raise DefinitionError(
                f'{what} rejects loads in which "{unique[0]}" repeats within the table, and a {again} gives rows '
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

    def with_join_key_map(self, join_key_map: Mapping[str, str], *, name: str = "") -> ViewProjection:
        """Return a use of the view whose join keys stand in other columns of requests and entity rows.

        Args:
            join_key_map: by join key of the view, the column that holds it: ``{"origin": "dest"}``.
            name: see :meth:`with_name`; a view that a service uses several times needs it.

        Raises:
            DefinitionError: the view has no such join key, or two would stand in one column.
        """
        return ViewProjection(view=self, name=name, join_key_map=join_key_map)

    def with_name(self, name: str) -> ViewProjection:
        """Return a use of the view under a name of its own, which gives its features their full names.

        Args:
            name: the use's: ``dest_weather``, whose features are ``dest_weather__temp`` and so on.

        Raises:
            DefinitionError: it cannot be a name, or a feature's full name would be that of a status.
        """
        return ViewProjection(view=self, name=name)

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
        late = {} if self.delay is None else {"delay_us": self.delay // timedelta(microseconds=1)}
        return late | {
            "name": self.name,
            "entities": [entity.spec() for entity in self.entities],
            "schema": [one.spec() for one in self.schema],
            "ttl_us": None if self.ttl is None else self.ttl // timedelta(microseconds=1),
            "source": None if self.source is None else self.source.spec(),
            "on_bad_rows": self.on_bad_rows,
        }

    def storage_spec(self) -> dict[str, Any]:
        """Return what determines the stored rows: all of :meth:`spec` but the TTL, the delay and the defaults.

        Stored rows keep their nulls; a default stands in for them when they are read. Every check is a part: it keeps
        rows aside, or refuses the load that has them.
        """
        spec = self.spec()
        del spec["ttl_us"]
        spec.pop("delay_us", None)
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
        } | ({"gate": gate} if (gate := self.gate.notes()) else {})

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], notes: Mapping[str, Any]) -> FeatureView:
        """Return the view that :meth:`spec` and :meth:`notes` came from."""
        rest = {key: value for key, value in notes.items() if key not in ("schema", "entities", "gate")}
        ttl, delay = spec["ttl_us"], spec.get("delay_us")
        return cls(
            name=spec["name"],
            entities=[Entity.from_spec(*pair) for pair in zip(spec["entities"], notes["entities"], strict=True)],
            schema=[Field.from_spec(*pair) for pair in zip(spec["schema"], notes["schema"], strict=True)],
            ttl=None if ttl is None else timedelta(microseconds=ttl),
            delay=None if delay is None else timedelta(microseconds=delay),
            source=None if spec["source"] is None else source_from_spec(spec["source"]),
            on_bad_rows=spec["on_bad_rows"],
            gate=LoadGate.from_notes(notes.get("gate", {})),
            **rest,
        )


#: What full names may not end with: the serving log has a column ``dest_weather__status``.
_STATUS = "status"


@dataclass(frozen=True, kw_only=True)
class ViewProjection:
    """One use of a view: which features it takes, by which columns they are looked up, and what it is called.

    Made by ``view[["a", "b"]]``, ``view.with_join_key_map({"key": "column"})`` and ``view.with_name("name")``, one
    after the other in any order.

    Attributes:
        view: the view.
        features: the features to take, in order; None for all.
        name: the use's: the view's, unless it has one of its own. Then its features go by their full names, such as
            ``dest_weather__temp``, so that no two uses collide.
        join_key_map: by join key of the view, the column of requests and entity rows that holds it; keys that stand in
            the column of their own name are left out.

    Raises:
        DefinitionError: the view has no feature or join key of that name, a feature or a column is named twice, or a
            full name would be that of a status.
    """

    view: FeatureView
    features: tuple[str, ...] | None = None
    name: str = ""
    join_key_map: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        remember(self)
        what = f'The choice from view "{self.view.name}"'
        known = [one.name for one in self.view.schema]
        for name in self.features or ():
            if name not in known:
                raise DefinitionError(
                    f'Feature view "{self.view.name}" has no feature "{name}".', hint=closest(str(name), known)
                )
        if self.features is not None:
            if not self.features:
                raise DefinitionError(f'{self.view.name}[[]] takes no feature of view "{self.view.name}".')
            check_unique(self.features, what)
        object.__setattr__(self, "name", check_name(self.name or self.view.name, f'a use of view "{self.view.name}"'))
        if self.named and _STATUS in self.names:
            raise DefinitionError(
                f'A feature of view "{self.view.name}" would get the full name "{self.name}{SEPARATOR}{_STATUS}", '
                f'which is that of the column that says whether the values of "{self.name}" are there.',
                hint=f'Rename the feature in view "{self.view.name}", or leave it out: {self.view.name}[[...]].',
            )
        object.__setattr__(self, "join_key_map", self._checked_map())

    def _checked_map(self) -> dict[str, str]:
        what = f'The use "{self.name}" of view "{self.view.name}"'
        given = check_mapping(self.join_key_map, what, "join_key_map")
        for key, column in given.items():
            if key not in self.view.keys:
                turned = f"A map leads from the view's key to your column: {{{column!r}: {key!r}}}."
                raise DefinitionError(
                    f'{what} maps "{key}", which is no join key of the view.',
                    hint=turned if column in self.view.keys else closest(key, self.view.keys),
                )
            check_column(column, "the column of a join key")
        columns = {key: given.get(key, key) for key in self.view.keys}
        check_unique(columns.values(), f"{what}, after its join_key_map,")
        return {key: column for key, column in columns.items() if key != column}

    def __getitem__(self, features: Sequence[str]) -> ViewProjection:
        chosen = self.view[features]
        for name in chosen.features or ():
            if name not in self.names:
                raise DefinitionError(
                    f'The choice from view "{self.view.name}" has no feature "{name}".', hint=closest(name, self.names)
                )
        return replace(self, features=chosen.features)

    def with_join_key_map(self, join_key_map: Mapping[str, str], *, name: str = "") -> ViewProjection:
        """Return the use with another map; see :meth:`~featurestore.FeatureView.with_join_key_map`."""
        return replace(self, join_key_map=join_key_map, name=name or self.name)

    def with_name(self, name: str) -> ViewProjection:
        """Return the use under a name of its own; see :meth:`~featurestore.FeatureView.with_name`."""
        return replace(self, name=name)

    @property
    def named(self) -> bool:
        """Whether it has a name of its own, so that its features go by their full names."""
        return self.name != self.view.name

    @property
    def names(self) -> tuple[str, ...]:
        """The names that its features have in the view, in order."""
        return tuple(one.name for one in self.view.schema) if self.features is None else self.features

    @property
    def outputs(self) -> tuple[Field, ...]:
        """Its features as it gives them, under their full names if it has a name of its own."""
        known = {one.name: one for one in self.view.schema}
        chosen = [known[name] for name in self.names]
        return tuple(one.under(self.name) for one in chosen) if self.named else tuple(chosen)

    @property
    def columns(self) -> dict[str, str]:
        """By join key of the view, in order, the column of requests and entity rows that holds it."""
        return {key: self.join_key_map.get(key, key) for key in self.view.keys}

    @property
    def keys(self) -> dict[str, types.DType]:
        """Each column that its rows are looked up by, with its type, in the order of the view's join keys."""
        return {self.columns[key]: dtype for key, dtype in self.view.keys.items()}

    def spec(self) -> dict[str, Any]:
        """Return what it is beyond the whole view under its own name and keys, as JSON values."""
        return ({"name": self.name} if self.named else {}) | (
            {"join_key_map": dict(self.join_key_map)} if self.join_key_map else {}
        )
