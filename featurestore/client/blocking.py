"""The client that waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from featurestore.client.answer import OnlineFeatures
from featurestore.client.attempts import Deadline
from featurestore.client.conversation import Call, Conversation, Exchange, drive_blocking
from featurestore.client.feedback import Logged
from featurestore.client.network import Network
from featurestore.client.pushed import Pushed
from featurestore.client.target import Target, TokenSource
from featurestore.types import DType
from featurestore.v1 import serving_pb2 as pb

T = TypeVar("T")

#: Sends serialized bytes to a method and returns the answer's: ``transport("GetOnlineFeatures", request)``.
Transport = Callable[[str, bytes], bytes]


class FeatureClient:
    """Looks features up on servers, and sends rows, predictions and outcomes; for any number of threads.

    Args:
        addresses: ``host:port`` of a server, or several that are one to you; ``dns:///host:port`` is all hosts that the
            name stands for. Calls go to the least busy connection, and leave an address that does not answer.
        timeout: seconds that a call may take, with all of its attempts.
        connections: to each address; made when they are used. Workers behind one port are spread by connection.
        retries: attempts after a first one that ended with UNAVAILABLE; the pauses between them grow.
        tls: whether calls are encrypted; by default if ``ca`` or ``certificate`` is given.
        ca: a PEM file of who may have signed the server's certificate; gRPC's own list when not given.
        certificate: a PEM file of this client's certificate, for servers that ask for one.
        key: a PEM file of its private key.
        token: sent with each call; a :class:`~pathlib.Path` is a file that has it, read again when it has changed, and
            a function is asked each time.
        transport: takes the bytes in the place of a network; then nothing else is needed.

    Raises:
        ConfigError: an address is none, a file cannot be read, or a token would cross the network unencrypted.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] = (),
        *,
        timeout: float = 5.0,
        connections: int = 4,
        retries: int = 3,
        tls: bool | None = None,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        token: TokenSource | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._timeout = timeout
        self._conversation = Conversation()
        self._transport = transport
        self._network: Network | None = None
        if transport is None:
            target = Target(
                addresses, connections=connections, tls=tls, ca=ca, certificate=certificate, key=key, token=token
            )
            self._network = Network(target, retries)

    def close(self) -> None:
        """Close the connections."""
        if self._network is not None:
            self._network.close()

    def __enter__(self) -> FeatureClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def is_serving(self) -> bool:
        """Return whether a server answers, now, that it serves."""
        return self._network is None or self._network.is_serving()

    def get_schema(self, service: str, *, timeout: float | None = None) -> pb.GetServiceSchemaResponse:
        """Return what a service takes and gives.

        Raises:
            ObjectNotFoundError: the server knows no such service.
        """
        return self._drive(self._conversation.schema(service), timeout).message

    def get_online_features(
        self,
        features: str,
        entity_rows: Any,
        *,
        request_id: str = "",
        routing_key: str = "",
        timeout: float | None = None,
    ) -> OnlineFeatures:
        """Return the newest values of a service's features for each entity row, all from one snapshot.

        Args:
            features: the service: ``flight_delay`` or ``flight_delay@1``.
            entity_rows: join keys and request fields: dicts, one a row; a dict of columns; or an Arrow table, a Polars
                or a pandas frame.
            request_id: names the request in the serving log; made by the server when empty.
            routing_key: decides, where the service has a canary, whether it answers: equal keys always go the same way.
                The join keys of the first entity row decide when it is empty.
            timeout: seconds; the client's when not given.

        Raises:
            ObjectNotFoundError: the server knows no such service.
            InvalidRequestError: a column is missing or of another type.
            LimitExceededError: there are too many rows, or too many calls under way.
            UnauthenticatedError: the server does not know the token; PermissionDeniedError: it may not do this.
            ServerUnavailableError: no server answers.
            DeadlineExceededError: it did not answer in time.
        """
        exchange = self._conversation.look_up(features, entity_rows, request_id=request_id, routing_key=routing_key)
        return self._drive(exchange, timeout)

    def push(
        self, view: str, rows: Any, *, dtypes: Mapping[str, DType] | None = None, timeout: float | None = None
    ) -> Pushed:
        """Send new rows of a view: when this returns, they are served, and kept for training.

        It may be done again when it failed: of rows with one key and instants the later one wins, so twice is once.

        Args:
            view: ``clicks``; every version of it that is served gets the rows.
            rows: join keys, features, ``event_timestamp`` and so on, in any form that entity rows may have. A feature
                that is left out, or has no value in any row, is null.
            dtypes: types of columns whose values do not tell it: lists and dicts, or whole numbers for a Float64. An
                Arrow table needs none.
            timeout: seconds; the client's when not given.

        Raises:
            ObjectNotFoundError: the server knows no such view.
            InvalidRequestError: a column is missing, surplus or of another type, or the rows are refused as a whole.
            TimestampError: an instant names no time zone.
            ServingError: as of :meth:`get_online_features`.
        """
        return self._drive(self._conversation.push(view, rows, dtypes), timeout)

    def log_predictions(self, model: str, rows: Any, *, timeout: float | None = None) -> Logged:
        """Send what a model predicted: it is on the server's disk when this returns.

        Args:
            model: ``flight_delay_ridge@3``; without a version it is the newest.
            rows: in any form that entity rows may have; ``prediction_id``, either ``number`` or ``label``, and,
                where known, ``request_id`` and ``row`` of the lookup, ``probabilities`` by label, and ``predicted_at``.
                Of one id the first counts.
            timeout: seconds; the client's when not given.

        Raises:
            ObjectNotFoundError: the server knows no such model.
            InvalidRequestError: a column is missing, surplus or of another type.
            ServingError: as of :meth:`get_online_features`.
        """
        return self._drive(self._conversation.log_predictions(model, rows), timeout)

    def log_outcomes(self, model: str, rows: Any, *, timeout: float | None = None) -> Logged:
        """Send what came of predictions: it is on the server's disk when this returns.

        Args:
            model: its name, without a version.
            rows: in any form that entity rows may have; ``prediction_id``, either ``number`` or ``label``, and,
                where known, ``metric`` (of the business; empty for what the model predicts) and ``observed_at``.
            timeout: seconds; the client's when not given.

        Raises:
            ObjectNotFoundError: the server knows no such model.
            InvalidRequestError: a column is missing, surplus or of another type.
            ServingError: as of :meth:`get_online_features`.
        """
        return self._drive(self._conversation.log_outcomes(model, rows), timeout)

    def advance_clock(self, now: datetime, *, timeout: float | None = None) -> int:
        """Move the clock of a rehearsal forward and return how many rows entered its online store.

        Raises:
            InvalidRequestError: the clock stands later already, or the server is not a rehearsal's.
            TimestampError: ``now`` names no time zone.
        """
        return self._drive(self._conversation.advance_clock(now), timeout)

    def _drive(self, exchange: Exchange[T], timeout: float | None) -> T:
        return drive_blocking(exchange, self._send, Deadline.after(self._timeout if timeout is None else timeout))

    def _send(self, call: Call, deadline: Deadline) -> bytes:
        if self._transport is not None:
            return self._transport(*call)
        assert self._network is not None  # noqa: S101 - one of them is there
        return self._network.send(call, deadline)
