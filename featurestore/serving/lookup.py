"""Lookups: bytes in, bytes out. Nothing here knows of gRPC, so a client in the same process uses it too."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
from google.protobuf.message import DecodeError
from polars.exceptions import PolarsError

from featurestore import types
from featurestore.errors import InvalidRequestError, ObjectNotFoundError, closest
from featurestore.online import OnlineStore
from featurestore.online.base import ORDER_BYTES, event_time, oldest_order
from featurestore.online.rowcodec import NOT_FOUND, outside_max_age, varint
from featurestore.serving.plan import OnDemandView, ServicePlan, StoredView
from featurestore.v1 import serving_pb2 as pb

#: By type: the member of Column.values that carries it, and the values that it can hold.
_INT32 = (-(1 << 31), (1 << 31) - 1)
_CARRIED: dict[types.DType, tuple[str, tuple[int, int] | None]] = {
    types.Bool: ("bools", None),
    types.Int32: ("int64s", _INT32),
    types.Int64: ("int64s", None),
    types.Float32: ("doubles", None),
    types.Float64: ("doubles", None),
    types.String: ("strings", None),
    types.Bytes: ("blobs", None),
    types.Date: ("int64s", _INT32),
    types.Timestamp: ("int64s", None),
}


class LogEntry(NamedTuple):
    """What the serving log needs of one lookup; all of it is there already, so it costs the lookup nothing.

    Attributes:
        plan: what answered.
        request_id: the request's.
        served_at: microseconds since 1970.
        row_count: entity rows.
        columns: the request's values by column.
        values: by stored view, each row's stored value or None.
        oldest: by stored view, what a stored value must not be below to be present.
        computed: the on-demand features by name.
    """

    plan: ServicePlan
    request_id: str
    served_at: int
    row_count: int
    columns: dict[str, list[Any]]
    values: list[list[bytes | None]]
    oldest: list[bytes]
    computed: dict[str, pa.Array]


class Answer(NamedTuple):
    """A response, and what the log needs of it."""

    response: bytes
    entry: LogEntry


class Lookups:
    """Answers requests for any of several services from one online store.

    Args:
        store: where rows are.
        plans: by each name that a request may use: ``flight_delay`` and ``flight_delay@1``. It may be replaced while
            requests are answered.
        max_rows: entity rows that one request may have.
        replay: whether the store's clock, not the world's, is the instant against which ages are judged.
    """

    def __init__(
        self, store: OnlineStore, plans: Mapping[str, ServicePlan], *, max_rows: int, replay: bool = False
    ) -> None:
        self.store = store
        self.plans = plans
        self.replay = replay
        self._max_rows = max_rows

    def now(self) -> int:
        """Return the instant of a lookup made now, microseconds since 1970."""
        return (self.store.clock() or 0) if self.replay else time.time_ns() // 1000

    def get_online_features(self, data: bytes) -> Answer:
        """Answer a serialized ``GetOnlineFeaturesRequest``.

        Raises:
            ObjectNotFoundError: there is no such service.
            InvalidRequestError: the bytes are not a request, or a column is missing, surplus or of another type.
            OnlineStoreError: the store cannot be read.
        """
        request = _parse(pb.GetOnlineFeaturesRequest, data)
        plan = self._plan(request.service)
        columns, count = _columns(request, plan, self._max_rows)
        found = self.store.read(
            [(view.storage_id, view.keys.encode([columns[name] for name in view.keys.names])) for view in plan.stored]
        )
        now = (found.clock or 0) if self.replay else time.time_ns() // 1000
        oldest = [b"" if view.ttl is None else oldest_order(now - view.ttl) for view in plan.stored]
        by_view = dict(zip(plan.stored_names, zip(found.values, oldest, strict=True), strict=True))
        computed, rows = _on_demand(plan, by_view, columns, count) if plan.on_demand else ({}, {})
        request_id = request.request_id or os.urandom(16).hex()
        name = request_id.encode()
        parts = [
            b"\x0a" + varint(len(name)) + name + plan.service_field + b"\x19" + struct.pack("<q", now),
            (b"\x20\x01" if self.replay else b"") + b"\x28" + varint(count),
        ]
        for view in plan.sent:
            parts += rows[view.name] if isinstance(view, OnDemandView) else _records(view, *by_view[view.name])
        entry = LogEntry(plan, request_id, now, count, columns, found.values, oldest, computed)
        return Answer(b"".join(parts), entry)

    def get_service_schema(self, data: bytes) -> bytes:
        """Answer a serialized ``GetServiceSchemaRequest``.

        Raises:
            ObjectNotFoundError: there is no such service.
            InvalidRequestError: the bytes are not a request.
        """
        schema = pb.GetServiceSchemaResponse()
        schema.CopyFrom(self._plan(_parse(pb.GetServiceSchemaRequest, data).service).schema)
        schema.replay = self.replay
        return schema.SerializeToString()

    def transport(self, method: str, request: bytes) -> bytes:
        """Answer as a server does: the transport of a client in this process.

        Raises:
            InvalidRequestError: the method is a server's only.
        """
        if method == "GetOnlineFeatures":
            return self.get_online_features(request).response
        if method == "GetServiceSchema":
            return self.get_service_schema(request)
        raise InvalidRequestError(f"{method} needs a server.", hint="Start one: featurestore serve --replay NAME")

    def _plan(self, name: str) -> ServicePlan:
        try:
            return self.plans[name]
        except KeyError:
            raise ObjectNotFoundError(
                f'There is no feature service "{name}".', hint=closest(name, self.plans)
            ) from None


def _parse(message: Callable[..., Any], data: bytes) -> Any:
    parsed = message()
    try:
        parsed.ParseFromString(data)
    except DecodeError:
        raise InvalidRequestError(
            f"The request is not a {parsed.DESCRIPTOR.name}.", hint="Generate the client from serving.proto."
        ) from None
    return parsed


def _records(view: StoredView, values: Sequence[bytes | None], oldest: bytes) -> list[bytes]:
    """Return the record of each row as it is sent."""
    if view.project is None:
        return [
            NOT_FOUND
            if value is None
            else value[ORDER_BYTES:]
            if value >= oldest
            else outside_max_age(event_time(value))
            for value in values
        ]
    project = view.project
    return [
        NOT_FOUND
        if value is None
        else project(value[ORDER_BYTES:])
        if value >= oldest
        else outside_max_age(event_time(value))
        for value in values
    ]


def _columns(
    request: pb.GetOnlineFeaturesRequest, plan: ServicePlan, max_rows: int
) -> tuple[dict[str, list[Any]], int]:
    """Return the values of each column, None where null, and their number.

    Raises:
        InvalidRequestError: a column is missing, surplus, double, of another type or length, or they are too long.
    """
    expected = plan.columns
    found: dict[str, list[Any]] = {}
    count = -1
    first = ""
    for column in request.columns:
        name = column.name
        dtype = expected.get(name)
        if dtype is None:
            raise InvalidRequestError(f'Feature service "{plan.id}" takes no "{name}".', hint=closest(name, expected))
        if name in found:
            raise InvalidRequestError(f'The request has column "{name}" twice.', hint="Send each column once.")
        carried, limits = _CARRIED[dtype]
        kind = column.WhichOneof("values")
        if kind != carried:
            raise InvalidRequestError(
                f'Column "{name}" of the request has {kind or "no values"}; feature service "{plan.id}" takes it as '
                f"{dtype}.",
                hint=f"Send it as {carried}.",
            )
        values = list(getattr(column, carried).values)
        if count < 0:
            count, first = len(values), name
        elif len(values) != count:
            raise InvalidRequestError(
                f'Column "{name}" of the request has {len(values)} rows, and "{first}" has {count}.',
                hint="All columns have one value for each entity row.",
            )
        if count > max_rows:
            raise InvalidRequestError(
                f"The request has {count:,} entity rows; at most {max_rows:,} are answered at once.",
                hint="Send several requests, or raise max_rows under [serving] in featurestore.toml.",
            )
        if limits is not None and values and not limits[0] <= min(values) <= max(values) <= limits[1]:
            raise InvalidRequestError(
                f'Column "{name}" of the request has a value that {dtype} cannot hold.',
                hint=f"It lies between {limits[0]} and {limits[1]}.",
            )
        if column.nulls:
            mask = column.nulls
            values = [
                None if row // 8 < len(mask) and mask[row // 8] >> row % 8 & 1 else value
                for row, value in enumerate(values)
            ]
        found[name] = values
    if len(found) != len(expected):
        missing = [name for name in expected if name not in found]
        raise InvalidRequestError(
            f'The request lacks "{missing[0]}" ({expected[missing[0]]}), which feature service "{plan.id}" needs.',
            hint="It takes: " + ", ".join(f"{name} ({dtype})" for name, dtype in expected.items()) + ".",
        )
    return found, count


def _on_demand(
    plan: ServicePlan,
    by_view: Mapping[str, tuple[list[bytes | None], bytes]],
    columns: Mapping[str, list[Any]],
    count: int,
) -> tuple[dict[str, pa.Array], dict[str, list[bytes]]]:
    """Return the on-demand features by name, and the records of each on-demand view.

    Raises:
        InvalidRequestError: an expression cannot be evaluated for these values.
    """
    needed = {name for view in plan.on_demand for name in view.transform.inputs}
    inputs = {name: to_arrow(columns[name], dtype) for name, dtype in plan.request.items() if name in needed}
    for view in plan.stored:
        if needed.isdisjoint(one.name for one in view.codec.fields):
            continue
        values, oldest = by_view[view.name]
        present = [None if value is None or value < oldest else value[ORDER_BYTES:] for value in values]
        inputs |= {name: array for name, array in view.codec.decode(present).items() if name in needed}
    computed: dict[str, pa.Array] = {}
    records: dict[str, list[bytes]] = {}
    for computing in plan.on_demand:
        # An expression may name no input at all; its frame still needs the height.
        frame = pl.DataFrame(
            {name: pl.Series(name, inputs[name], dtype) for name, dtype in computing.transform.inputs.items()},
            height=count,
        )
        try:
            made = computing.transform.evaluate(frame)
        except PolarsError as error:
            raise InvalidRequestError(
                f'On-demand feature view "{computing.name}" cannot be evaluated for this request: '
                f"{str(error).splitlines()[0]}.",
            ) from error
        arrays = {one.name: made[one.name].to_arrow().cast(one.dtype.to_arrow()) for one in computing.codec.fields}
        computed |= arrays
        records[computing.name] = computing.codec.encode(pa.table(arrays))
    return computed, records


def to_arrow(values: Sequence[Any], dtype: types.DType) -> pa.Array:
    """Return values of a request (days for Date, microseconds for Timestamp) as an Arrow array of their type."""
    if dtype is types.Date:
        return pa.array(values, pa.int32()).cast(pa.date32())
    if dtype is types.Timestamp:
        return pa.array(values, pa.int64()).cast(dtype.to_arrow())
    return pa.array(values, dtype.to_arrow())
