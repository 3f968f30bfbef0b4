"""A service compiled: everything that a lookup needs, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

import pyarrow as pa

from featurestore import types
from featurestore.definitions import FeatureService, Field, OnDemandFeatureView, storage_id
from featurestore.errors import FeatureStoreError
from featurestore.online.defaults import Defaults, defaults_of
from featurestore.online.keys import KeyLayout
from featurestore.online.rowcodec import RowCodec
from featurestore.registry.records import Registered
from featurestore.transforms import Transform
from featurestore.v1 import serving_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class StoredView:
    """One use that a service makes of a stored view.

    Attributes:
        name: the use's: the view's, unless it has one of its own.
        storage_id: names its rows online.
        ttl: microseconds that a row may be old; None is for ever.
        keys: how its join keys become bytes.
        columns: the columns of a request that hold them.
        codec: the layout of its rows.
        outputs: the features of it that the service gives, as it calls them; empty for one that is only an on-demand
            input.
        project: cuts a record down to ``outputs``; None when they are the whole record.
        defaults: puts defaults into a record of ``outputs``; None when they have none.
        kept_as: equal for uses, of whatever service, that send the same records for the same rows.
    """

    name: str
    storage_id: str
    ttl: int | None
    keys: KeyLayout
    columns: tuple[str, ...]
    codec: RowCodec
    outputs: tuple[Field, ...]
    project: Callable[[bytes], bytes] | None
    defaults: Defaults | None
    kept_as: str


@dataclass(frozen=True, kw_only=True)
class OnDemandView:
    """One on-demand view of a service.

    Attributes:
        name: the view's.
        transform: its expressions.
        sources: for each column that an evaluation needs, the use that has it, and what the view calls it; the use ""
            is the request.
        codec: the layout of its rows, which carry no event time.
    """

    name: str
    transform: Transform
    sources: dict[str, tuple[str, str]]
    codec: RowCodec


@dataclass(frozen=True, kw_only=True)
class Unserved:
    """A version of a service that cannot be compiled here: a function's package is missing, say."""

    error: FeatureStoreError


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """One version of a service, compiled.

    Attributes:
        id: ``flight_delay@1``.
        name: ``flight_delay``.
        keys: the join keys that a request carries, in order.
        request: the request fields that it carries beside them.
        optional: those of them that a request may leave out, because they have a default.
        stored: the uses of stored views, all of which are read; two of one view have the same storage id.
        on_demand: the on-demand views, in order.
        sent: the views of a response in order, each a member of ``stored`` or ``on_demand``.
        schema: what the service takes and gives.
    """

    id: str
    name: str
    keys: dict[str, types.DType]
    request: dict[str, types.DType]
    optional: dict[str, Field]
    stored: tuple[StoredView, ...]
    on_demand: tuple[OnDemandView, ...]
    sent: tuple[StoredView | OnDemandView, ...]
    schema: pb.GetServiceSchemaResponse

    @cached_property
    def what(self) -> str:
        """The service, to begin messages."""
        return f'Feature service "{self.id}"'

    @cached_property
    def columns(self) -> dict[str, types.DType]:
        """The columns of a request with their types."""
        return self.keys | self.request

    def filled(self, name: str, column: pa.Array) -> pa.Array:
        """Return the values of a column of a request, with the default in place of nulls if it has one."""
        return self.optional[name].filled(column) if name in self.optional else column

    @cached_property
    def stored_names(self) -> tuple[str, ...]:
        """The names of the uses of stored views."""
        return tuple(view.name for view in self.stored)

    @cached_property
    def ageless(self) -> list[bytes] | None:
        """What :attr:`LogEntry.oldest` is where no stored view has a TTL; None where one has."""
        return None if any(view.ttl is not None for view in self.stored) else [b""] * len(self.stored)

    @cached_property
    def sent_places(self) -> tuple[tuple[StoredView | OnDemandView | None, int], ...]:
        """The views of a response, None where rows go as they are read; and their places in :attr:`stored`, or -1."""
        places = {view.name: place for place, view in enumerate(self.stored)}
        return tuple(
            (view, -1) if isinstance(view, OnDemandView) else (None if view.ttl is None else view, places[view.name])
            for view in self.sent
        )

    @cached_property
    def service_field(self) -> bytes:
        """The id as field 2 of a response, and the tag of field 3."""
        return pb.GetOnlineFeaturesResponse(service=self.id).SerializeToString() + b"\x19"


def compile_plan(service: Registered[FeatureService]) -> ServicePlan:
    """Compile one version of a service.

    Raises:
        DefinitionError: two views give one join key different types, or an expression cannot be evaluated.
    """
    definition = service.definition
    outputs = definition.outputs
    stored = []
    for use in definition.uses:
        view = use.view
        codec = RowCodec(view.schema)
        chosen = outputs.get(use.name, ())
        features = [one.feature for one in chosen]
        whole = not features or features == [one.name for one in view.schema]
        defaults = defaults_of(chosen)
        stored.append(
            StoredView(
                name=use.name,
                storage_id=storage_id(view),
                ttl=None if view.ttl is None else view.ttl // timedelta(microseconds=1),
                keys=KeyLayout(view.keys),
                columns=tuple(use.columns.values()),
                codec=codec,
                outputs=chosen,
                project=None if whole else codec.projection(features),
                defaults=defaults,
                kept_as=_kept_as(storage_id(view), () if whole and defaults is None else chosen),
            )
        )
    on_demand = [_on_demand(view) for view in definition.on_demand_views]
    by_name: dict[str, StoredView | OnDemandView] = {one.name: one for one in stored}
    by_name |= {one.name: one for one in on_demand}
    request = {one.name: one.dtype for one in definition.request}
    references = {use.name: use.view.reference for use in definition.uses}
    return ServicePlan(
        id=service.id,
        name=service.name,
        keys=definition.keys,
        request=request,
        optional={one.name: one for one in definition.request if one.default is not None},
        stored=tuple(stored),
        on_demand=tuple(on_demand),
        sent=tuple(by_name[name] for name in outputs),
        schema=pb.GetServiceSchemaResponse(
            service=service.id,
            content_hash=service.content_hash,
            join_keys=[pb.FieldSchema(name=name, dtype=dtype.name) for name, dtype in definition.keys.items()],
            request_fields=[
                pb.FieldSchema(name=one.name, dtype=one.dtype.name, optional=one.default is not None)
                for one in definition.request
            ],
            views=[
                pb.ViewSchema(
                    name=name,
                    version=service.pins.get(references.get(name, name), 0),
                    features=[pb.FieldSchema(name=one.name, dtype=one.dtype.name) for one in fields],
                    on_demand=isinstance(by_name[name], OnDemandView),
                )
                for name, fields in outputs.items()
            ],
        ),
    )


def _kept_as(storage_id: str, chosen: Sequence[Field]) -> str:
    return f"{storage_id} {[(one.feature, one.default) for one in chosen]!r}" if chosen else storage_id


def _on_demand(view: OnDemandFeatureView) -> OnDemandView:
    transform = Transform(view)
    stored = {one.name: (use.name, one.feature) for use in view.uses for one in use.outputs}
    return OnDemandView(
        name=view.name,
        transform=transform,
        sources={name: stored.get(name, ("", name)) for name in transform.inputs},
        codec=RowCodec(view.schema, event_time=False),
    )
