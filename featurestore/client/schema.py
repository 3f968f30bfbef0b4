"""What a service takes and gives, as a client needs it: the schema with its types read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from featurestore import types
from featurestore.client.packed import Layout
from featurestore.types import DType
from featurestore.v1 import serving_pb2 as pb


@dataclass(frozen=True)
class ServiceSchema:
    """A service version's schema.

    Attributes:
        message: as the server sent it.
    """

    message: pb.GetServiceSchemaResponse

    @property
    def service(self) -> str:
        """The version: ``flight_delay@2``."""
        service: str = self.message.service
        return service

    @cached_property
    def takes(self) -> dict[str, DType]:
        """The types of the join keys and request fields, by name."""
        fields = (*self.message.join_keys, *self.message.request_fields)
        return {one.name: types.by_name(one.dtype) for one in fields}

    @cached_property
    def views(self) -> tuple[ViewSchema, ...]:
        """What is given, view by view, in the order of a response's rows."""
        return tuple(
            ViewSchema(
                view.name,
                tuple(one.name for one in view.features),
                Layout([types.by_name(one.dtype) for one in view.features]),
                view.on_demand,
            )
            for view in self.message.views
        )

    @cached_property
    def features(self) -> dict[str, DType]:
        """The types of the features, by name, in order."""
        return {
            name: dtype for view in self.views for name, dtype in zip(view.features, view.layout.dtypes, strict=True)
        }


@dataclass(frozen=True)
class ViewSchema:
    """One view, or one of several uses of it.

    Attributes:
        name: unique within the service.
        features: their names, in order.
        layout: how its rows are laid out.
        on_demand: whether it is computed for the request; its rows carry no event time.
    """

    name: str
    features: tuple[str, ...]
    layout: Layout
    on_demand: bool
