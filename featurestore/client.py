"""The client of the gRPC server, thin: it needs grpcio, protobuf and numpy, and nothing else of this package's.

with FeatureClient("localhost:6566") as client:
    rows = client.get_online_features(features="flight_delay", entity_rows=[{"origin": "JFK", ...}])
    rows.to_dict()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
from numpy.typing import NDArray

from featurestore import types
from featurestore.errors import (
    DeadlineExceededError,
    FeatureStoreError,
    InvalidRequestError,
    ObjectNotFoundError,
    ServerUnavailableError,
    ServingError,
    closest,
)
from featurestore.v1 import serving_pb2 as pb

if TYPE_CHECKING:
    import pyarrow as pa

#: Sends serialized bytes to a method and returns the answer's: ``transport("GetOnlineFeatures", request)``.
Transport = Callable[[str, bytes], bytes]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_ZERO = date(1970, 1, 1)


class OnlineFeatures:
    """The answer to one lookup: a value for each entity row and feature.

    Attributes:
        service: what answered: ``flight_delay@1``.
        request_id: names the request in the serving log.
        served_at: the instant against which ages were judged.
        replay: whether that is the clock of a rehearsal.
        names: the features, in order.
    """

    def __init__(self, response: pb.GetOnlineFeaturesResponse, schema: pb.GetServiceSchemaResponse) -> None:
        self._response = response
        self._schema = schema
        self.service = response.service
        self.request_id = response.request_id
        self.served_at = _EPOCH + timedelta(microseconds=response.served_at)
        self.replay = response.replay
        self.names = tuple(field.name for view in schema.views for field in view.features)

    def __len__(self) -> int:
        return self._response.row_count

    def _rows(self, view: int) -> Sequence[pb.FeatureRow]:
        count = self._response.row_count
        rows: Sequence[pb.FeatureRow] = self._response.rows[view * count : (view + 1) * count]
        return rows

    @property
    def statuses(self) -> dict[str, list[str]]:
        """By view, for each entity row: ``PRESENT``, ``NOT_FOUND`` or ``OUTSIDE_MAX_AGE``."""
        return {
            view.name: [pb.RowStatus.Name(row.status).removeprefix("ROW_STATUS_") for row in self._rows(index)]
            for index, view in enumerate(self._schema.views)
        }

    @property
    def event_timestamps(self) -> dict[str, list[datetime | None]]:
        """By stored view, for each entity row: when its values were true; None where there is no row."""
        return {
            view.name: [
                None if row.status == pb.ROW_STATUS_NOT_FOUND else _EPOCH + timedelta(microseconds=row.event_timestamp)
                for row in self._rows(index)
            ]
            for index, view in enumerate(self._schema.views)
            if not view.on_demand
        }

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the values by feature; None where a value is null or its row is not present."""
        found: dict[str, list[Any]] = {}
        for index, view in enumerate(self._schema.views):
            dtypes = [types.by_name(field.dtype) for field in view.features]
            columns: list[list[Any]] = [[] for _ in dtypes]
            for row in self._rows(index):
                for column, value in zip(columns, _values(row, dtypes), strict=True):
                    column.append(value)
            found |= {field.name: column for field, column in zip(view.features, columns, strict=True)}
        return found

    def to_numpy(self) -> NDArray[np.float64]:
        """Return an array of shape (rows, features) of float64, NaN where a value is null or its row not present.

        Raises:
            InvalidRequestError: a feature is not a number or a truth value.
        """
        for view in self._schema.views:
            for field in view.features:
                dtype = types.by_name(field.dtype)
                if not dtype.numeric and dtype is not types.Bool:
                    raise InvalidRequestError(
                        f'Feature "{field.name}" is {dtype}, which has no place in an array of numbers.',
                        hint="Use to_dict() or to_arrow(), or a service without it.",
                    )
        columns = [[np.nan if value is None else value for value in column] for column in self.to_dict().values()]
        return np.array(columns, np.float64).T.reshape(len(self), len(self.names))

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table in the declared types; pyarrow must be installed.

        Raises:
            ServingError: pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError:
            raise ServingError("to_arrow() needs pyarrow.", hint="pip install pyarrow") from None
        dtypes = {field.name: types.by_name(field.dtype) for view in self._schema.views for field in view.features}
        return pyarrow.table(
            {name: pyarrow.array(values, dtypes[name].to_arrow()) for name, values in self.to_dict().items()}
        )


class FeatureClient:
    """Looks features up on a server.

    Args:
        address: ``host:port`` of a server.
        timeout: seconds that a call may take.
        transport: how bytes reach the methods; a gRPC channel to ``address`` when not given.
    """

    def __init__(self, address: str = "", *, timeout: float = 5.0, transport: Transport | None = None) -> None:
        self._channel: _Channel | None = None
        if transport is None:
            self._channel = _Channel(address, timeout)
            transport = self._channel
        self._transport = transport
        self._schemas: dict[str, pb.GetServiceSchemaResponse] = {}

    def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            self._channel.close()

    def __enter__(self) -> FeatureClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_serving(self) -> bool:
        """Return whether the server answers, now, that it serves."""
        return self._channel is None or self._channel.is_serving()

    def get_schema(self, service: str) -> pb.GetServiceSchemaResponse:
        """Return what a service takes and gives.

        Raises:
            ObjectNotFoundError: the server knows no such service.
        """
        answer = self._transport("GetServiceSchema", pb.GetServiceSchemaRequest(service=service).SerializeToString())
        schema = pb.GetServiceSchemaResponse.FromString(answer)
        self._schemas[service] = self._schemas[schema.service] = schema
        return schema

    def get_online_features(
        self,
        features: str,
        entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
        *,
        request_id: str = "",
    ) -> OnlineFeatures:
        """Return the newest values of a service's features for each entity row, all from one snapshot.

        Args:
            features: the service: ``flight_delay`` or ``flight_delay@1``.
            entity_rows: join keys and request fields: a list of dicts, or a dict of columns.
            request_id: names the request in the serving log; made by the server when empty.

        Raises:
            ObjectNotFoundError: the server knows no such service.
            InvalidRequestError: a column is missing or of another type.
            ServerUnavailableError: no server answers.
            DeadlineExceededError: it did not answer in time.
        """
        columns = _columns(entity_rows)
        schema = self._schema_of(features)
        fields = {one.name: types.by_name(one.dtype) for one in (*schema.join_keys, *schema.request_fields)}
        request = pb.GetOnlineFeaturesRequest(service=features, request_id=request_id)
        for name, values in columns.items():
            if name not in fields:
                raise InvalidRequestError(
                    f'Feature service "{features}" takes no "{name}".', hint=closest(name, fields)
                )
            _fill(request.columns.add(name=name), fields[name], values)
        try:
            answer = self._transport("GetOnlineFeatures", request.SerializeToString())
        except InvalidRequestError:
            # The name may stand for another version by now, which takes other columns.
            self._schemas.pop(features, None)
            raise
        response = pb.GetOnlineFeaturesResponse.FromString(answer)
        if response.service != schema.service:
            self._schemas.pop(features, None)
        return OnlineFeatures(response, self._schema_of(response.service))

    def advance_clock(self, now: datetime) -> int:
        """Move the clock of a rehearsal forward and return how many rows entered its online store.

        Raises:
            InvalidRequestError: the clock stands later already, or the server is not a rehearsal's.
            TimestampError: ``now`` names no time zone.
        """
        instant = types.microseconds(types.utc(now, "The new time"))
        answer = self._transport("AdvanceClock", pb.AdvanceClockRequest(now=instant).SerializeToString())
        return pb.AdvanceClockResponse.FromString(answer).rows_materialized

    def _schema_of(self, service: str) -> pb.GetServiceSchemaResponse:
        return self._schemas.get(service) or self.get_schema(service)


def _columns(entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    if isinstance(entity_rows, Mapping):
        return dict(entity_rows)
    names = dict.fromkeys(name for row in entity_rows for name in row)
    return {name: [row.get(name) for row in entity_rows] for name in names}


def _fill(column: pb.Column, dtype: types.DType, values: Sequence[Any]) -> None:
    """Put values into a column of the request, nulls as placeholders marked in its mask.

    Raises:
        InvalidRequestError: a value is not of the type.
        TimestampError: an instant names no time zone.
    """
    where, encode, placeholder = _REQUEST_FORM[dtype.name]
    mask = bytearray((len(values) + 7) // 8)
    encoded = []
    for index, value in enumerate(values):
        if value is None:
            mask[index // 8] |= 1 << index % 8
            encoded.append(placeholder)
            continue
        try:
            encoded.append(encode(value, column.name))
        except (TypeError, ValueError, OverflowError):
            raise InvalidRequestError(
                f'"{column.name}" of entity row {index} is {value!r}, which is not {dtype}.',
                hint=f"Pass values of type {dtype}, or None.",
            ) from None
    target = getattr(column, where)
    target.SetInParent()  # a column without rows is still of its type
    try:
        target.values.extend(encoded)
    except (TypeError, ValueError):
        raise InvalidRequestError(f'"{column.name}" has a value that is outside the range of {dtype}.') from None
    if any(mask):
        column.nulls = bytes(mask)


def _whole(value: Any, _: str) -> int:
    if isinstance(value, bool) or int(value) != value:
        raise ValueError
    return int(value)


def _number(value: Any, _: str) -> float:
    if isinstance(value, (bool, str)):
        raise TypeError
    return float(value)


def _text(value: Any, _: str) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _blob(value: Any, _: str) -> bytes:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError
    return bytes(value)


def _truth(value: Any, _: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError
    return bool(value)


def _days(value: Any, _: str) -> int:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise TypeError
    return (value - _DAY_ZERO).days


def _instant(value: Any, name: str) -> int:
    return types.microseconds(types.utc(value, f'"{name}"'))


#: By type: the field of Column.values, how a value is written there, and what stands for a null.
_REQUEST_FORM: dict[str, tuple[str, Callable[[Any, str], Any], Any]] = {
    "Bool": ("bools", _truth, False),
    "Int32": ("int64s", _whole, 0),
    "Int64": ("int64s", _whole, 0),
    "Float32": ("doubles", _number, 0.0),
    "Float64": ("doubles", _number, 0.0),
    "String": ("strings", _text, ""),
    "Bytes": ("blobs", _blob, b""),
    "Date": ("int64s", _days, 0),
    "Timestamp": ("int64s", _instant, 0),
}

#: By type: how a value of FeatureRow is read.
_READ: dict[str, Callable[[Any], Any]] = {
    "Date": lambda days: _DAY_ZERO + timedelta(days=days),
    "Timestamp": lambda microseconds: _EPOCH + timedelta(microseconds=microseconds),
}


def _values(row: pb.FeatureRow, dtypes: Sequence[types.DType]) -> list[Any]:
    """Return the values of one row of a view in the schema's order; None where null or not present."""
    if row.status != pb.ROW_STATUS_PRESENT:
        return [None] * len(dtypes)
    taken: dict[str, int] = {}
    values: list[Any] = []
    for index, dtype in enumerate(dtypes):
        place = taken.get(dtype.wire, 0)
        taken[dtype.wire] = place + 1
        if index // 8 < len(row.nulls) and row.nulls[index // 8] >> index % 8 & 1:
            values.append(None)
            continue
        value = getattr(row, dtype.wire)[place]
        read = _READ.get(dtype.name)
        values.append(value if read is None else read(value))
    return values


class _Channel:
    """A gRPC channel as a :data:`Transport`."""

    def __init__(self, address: str, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self._methods = {name: self._channel.unary_unary(path) for name, path in _METHODS.items()}
        self._health = self._channel.unary_unary("/grpc.health.v1.Health/Check")

    def close(self) -> None:
        self._channel.close()

    def __call__(self, method: str, request: bytes) -> bytes:
        try:
            answer: bytes = self._methods[method](request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._mapped(error) from None
        return answer

    def is_serving(self) -> bool:
        try:
            # An empty HealthCheckRequest asks for the whole server; field 1 of the answer is 1 for SERVING.
            answer: bytes = self._health(b"", timeout=1.0)
        except grpc.RpcError:
            return False
        return answer == b"\x08\x01"

    def _mapped(self, error: grpc.RpcError) -> FeatureStoreError:
        code, details = error.code(), error.details() or ""
        message, _, hint = details.partition("\nHint: ")
        if code is grpc.StatusCode.UNAVAILABLE and hint:  # a server that cannot reach its store
            return ServerUnavailableError(message, hint=hint)
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServerUnavailableError(
                f"No feature server answers at {self._address}.", hint="Start one: featurestore serve"
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceededError(f"The server at {self._address} did not answer within {self._timeout:g} s.")
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return InvalidRequestError(
                f"The server at {self._address} has no such method: its clock is the world's.",
                hint="Start a rehearsal: featurestore serve --replay NAME",
            )
        kind = _ERRORS.get(code, ServingError)
        return kind(message or f"The server at {self._address} answered {code.name}.", hint=hint)


_METHODS = {
    "GetOnlineFeatures": "/featurestore.v1.ServingService/GetOnlineFeatures",
    "GetServiceSchema": "/featurestore.v1.ServingService/GetServiceSchema",
    "AdvanceClock": "/featurestore.v1.ReplayService/AdvanceClock",
}

_ERRORS: dict[grpc.StatusCode, type[FeatureStoreError]] = {
    grpc.StatusCode.NOT_FOUND: ObjectNotFoundError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
}
