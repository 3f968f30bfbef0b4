"""The client of the gRPC server, thin: it needs grpcio, protobuf and numpy, and nothing else of this package's.

with FeatureClient("localhost:6566") as client:
    rows = client.get_online_features(features="flight_delay", entity_rows=[{"origin": "JFK", ...}])
    rows.to_dict()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any

from featurestore import types
from featurestore.client.answer import OnlineFeatures
from featurestore.client.channel import Channel
from featurestore.client.request import columns_of, fill
from featurestore.errors import InvalidRequestError, closest
from featurestore.v1 import serving_pb2 as pb

__all__ = ["FeatureClient", "OnlineFeatures", "Transport"]

#: Sends serialized bytes to a method and returns the answer's: ``transport("GetOnlineFeatures", request)``.
Transport = Callable[[str, bytes], bytes]


class FeatureClient:
    """Looks features up on a server.

    Args:
        address: ``host:port`` of a server.
        timeout: seconds that a call may take.
        transport: how bytes reach the methods; a gRPC channel to ``address`` when not given.
    """

    def __init__(self, address: str = "", *, timeout: float = 5.0, transport: Transport | None = None) -> None:
        self._channel: Channel | None = None
        if transport is None:
            self._channel = Channel(address, timeout)
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
        entity_rows: Any,
        *,
        request_id: str = "",
        routing_key: str = "",
    ) -> OnlineFeatures:
        """Return the newest values of a service's features for each entity row, all from one snapshot.

        Args:
            features: the service: ``flight_delay`` or ``flight_delay@1``.
            entity_rows: join keys and request fields: dicts, one a row; a dict of columns; or an Arrow table, a Polars
                or a pandas frame.
            request_id: names the request in the serving log; made by the server when empty.
            routing_key: decides, where the service has a canary, whether it answers: equal keys always go the same way.
                The join keys of the first entity row decide when it is empty.

        Raises:
            ObjectNotFoundError: the server knows no such service.
            InvalidRequestError: a column is missing or of another type.
            ServerUnavailableError: no server answers.
            DeadlineExceededError: it did not answer in time.
        """
        columns = columns_of(entity_rows)
        known = features in self._schemas
        try:
            return self._look_up(features, columns, request_id, routing_key)
        except InvalidRequestError:
            # The name may stand for another version by now, which takes other columns.
            self._schemas.pop(features, None)
            if not known:
                raise
        return self._look_up(features, columns, request_id, routing_key)

    def _look_up(
        self, features: str, columns: Mapping[str, Sequence[Any]], request_id: str, routing_key: str
    ) -> OnlineFeatures:
        schema = self._schema_of(features)
        fields = {one.name: types.by_name(one.dtype) for one in (*schema.join_keys, *schema.request_fields)}
        request = pb.GetOnlineFeaturesRequest(service=features, request_id=request_id, routing_key=routing_key)
        # No rows at all name no columns.
        for name, values in (columns or dict.fromkeys(fields, ())).items():
            if name not in fields:
                raise InvalidRequestError(
                    f'Feature service "{schema.service}" takes no "{name}".', hint=closest(name, fields)
                )
            fill(request.columns.add(name=name), fields[name], values)
        response = pb.GetOnlineFeaturesResponse.FromString(
            self._transport("GetOnlineFeatures", request.SerializeToString())
        )
        # What answered may be a canary; the schema of the name is that of the version which most requests get.
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
