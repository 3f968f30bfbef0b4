"""What a client says to a server and makes of its answers, without input or output.

Each method is a generator: it yields a :class:`Call`, is sent the bytes that answer it (or thrown the error), and
returns what the user gets. :class:`~featurestore.client.FeatureClient` and ``AsyncFeatureClient`` drive the same
generators, each in its own way of waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError

from featurestore import types
from featurestore.client.answer import Head, OnlineFeatures
from featurestore.client.attempts import Deadline
from featurestore.client.feedback import Logged, outcomes_of, predictions_of
from featurestore.client.pushed import Pushed, pushed_columns
from featurestore.client.request import columns_of, fill
from featurestore.client.schema import ServiceSchema
from featurestore.errors import FeatureStoreError, InvalidRequestError, ServingError, closest
from featurestore.types import DType
from featurestore.v1 import serving_pb2 as pb

T = TypeVar("T")


class Call(NamedTuple):
    """One call of a method.

    Attributes:
        method: its name: ``GetOnlineFeatures``.
        request: serialized.
    """

    method: str
    request: bytes


Exchange = Generator[Call, bytes, T]


class Conversation:
    """One client's side; it keeps the schemas of the services that it has asked for."""

    def __init__(self) -> None:
        self._schemas: dict[str, ServiceSchema] = {}

    def schema(self, service: str) -> Exchange[ServiceSchema]:
        """Ask for a service's schema, whether or not it is known."""
        request = pb.GetServiceSchemaRequest(service=service)
        data = yield Call("GetServiceSchema", request.SerializeToString())
        schema = ServiceSchema(_parsed(pb.GetServiceSchemaResponse, data))
        self._schemas[service] = self._schemas[schema.service] = schema
        return schema

    def look_up(
        self, service: str, entity_rows: Any, *, request_id: str = "", routing_key: str = ""
    ) -> Exchange[OnlineFeatures]:
        """Look entity rows up; see :meth:`FeatureClient.get_online_features`."""
        columns = columns_of(entity_rows)
        known = service in self._schemas
        try:
            return (yield from self._look_up(service, columns, request_id, routing_key))
        except InvalidRequestError:
            # The name may stand for another version by now, which takes other columns.
            self._schemas.pop(service, None)
            if not known:
                raise
        return (yield from self._look_up(service, columns, request_id, routing_key))

    def _look_up(
        self, service: str, columns: Mapping[str, Sequence[Any]], request_id: str, routing_key: str
    ) -> Exchange[OnlineFeatures]:
        schema = yield from self._schema_of(service)
        fields = schema.takes
        request = pb.GetOnlineFeaturesRequest(service=service, request_id=request_id, routing_key=routing_key)
        # No rows at all name no columns.
        for name, values in (columns or dict.fromkeys(fields, ())).items():
            if name not in fields:
                raise InvalidRequestError(
                    f'Feature service "{schema.service}" takes no "{name}".', hint=closest(name, fields)
                )
            fill(request.columns.add(name=name), fields[name], values)
        head = Head((yield Call("GetOnlineFeatures", request.SerializeToString())))
        # What answered may be a canary; the schema of the name is that of the version which most requests get.
        return OnlineFeatures(head, (yield from self._schema_of(head.service)))

    def _schema_of(self, service: str) -> Exchange[ServiceSchema]:
        return self._schemas.get(service) or (yield from self.schema(service))

    def push(self, view: str, rows: Any, dtypes: Mapping[str, DType] | None) -> Exchange[Pushed]:
        """Push rows; see :meth:`FeatureClient.push`."""
        request = pb.PushFeaturesRequest(view=view, columns=pushed_columns(rows, dtypes or {}))
        data = yield Call("PushFeatures", request.SerializeToString())
        answer = _parsed(pb.PushFeaturesResponse, data)
        return Pushed(answer.view, answer.rows_accepted, {one.row: one.reason for one in answer.rejected})

    def log_predictions(self, model: str, rows: Any) -> Exchange[Logged]:
        """Log predictions; see :meth:`FeatureClient.log_predictions`."""
        request = pb.LogPredictionsRequest(model=model, predictions=predictions_of(rows))
        data = yield Call("LogPredictions", request.SerializeToString())
        answer = _parsed(pb.LogPredictionsResponse, data)
        return Logged(answer.model, answer.predictions_logged)

    def log_outcomes(self, model: str, rows: Any) -> Exchange[Logged]:
        """Log outcomes; see :meth:`FeatureClient.log_outcomes`."""
        request = pb.LogOutcomesRequest(model=model, outcomes=outcomes_of(rows))
        data = yield Call("LogOutcomes", request.SerializeToString())
        return Logged(model, _parsed(pb.LogOutcomesResponse, data).outcomes_logged)

    def advance_clock(self, now: datetime) -> Exchange[int]:
        """Move the clock of a rehearsal; see :meth:`FeatureClient.advance_clock`."""
        instant = types.microseconds(types.utc(now, "The new time"))
        data = yield Call("AdvanceClock", pb.AdvanceClockRequest(now=instant).SerializeToString())
        rows: int = _parsed(pb.AdvanceClockResponse, data).rows_materialized
        return rows


def _parsed(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError:
        raise ServingError(
            f"The server's answer is not a {message.DESCRIPTOR.name}.", hint="Is it a feature server?"
        ) from None


async def drive(exchange: Exchange[T], send: Callable[[Call, Deadline], Awaitable[bytes]], deadline: Deadline) -> T:
    """Return what an exchange returns, its calls awaited.

    Raises:
        FeatureStoreError: a call failed, and the exchange knew no other way.
    """
    try:
        call = next(exchange)
        while True:
            try:
                answer = await send(call, deadline)
            except FeatureStoreError as error:
                call = exchange.throw(error)
            else:
                call = exchange.send(answer)
    except StopIteration as ended:
        found: T = ended.value
        return found


def drive_blocking(exchange: Exchange[T], send: Callable[[Call, Deadline], bytes], deadline: Deadline) -> T:
    """Return what an exchange returns, its calls waited for.

    Raises:
        FeatureStoreError: a call failed, and the exchange knew no other way.
    """
    try:
        call = next(exchange)
        while True:
            try:
                answer = send(call, deadline)
            except FeatureStoreError as error:
                call = exchange.throw(error)
            else:
                call = exchange.send(answer)
    except StopIteration as ended:
        found: T = ended.value
        return found
