"""The client of asyncio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from featurestore.client.answer import OnlineFeatures
from featurestore.client.attempts import Deadline
from featurestore.client.conversation import Conversation, Exchange, drive
from featurestore.client.feedback import Logged
from featurestore.client.network import AsyncNetwork
from featurestore.client.pushed import Pushed
from featurestore.client.streaming import FeatureStream
from featurestore.client.target import Target, TokenSource
from featurestore.types import DType
from featurestore.v1 import serving_pb2 as pb

T = TypeVar("T")


class AsyncFeatureClient:
    """The client of asyncio, for the coroutines of one event loop.

    Its methods are those of :class:`~featurestore.FeatureClient`, with the same arguments and errors, as
    coroutines; its arguments are the same too. A function that gives the token must not block.

    Raises:
        ConfigError: an address is none, a file cannot be read, or a token would cross the network unencrypted.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        timeout: float = 5.0,
        connections: int = 4,
        retries: int = 3,
        tls: bool | None = None,
        ca: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        token: TokenSource | None = None,
    ) -> None:
        self._timeout = timeout
        self._conversation = Conversation()
        target = Target(
            addresses, connections=connections, tls=tls, ca=ca, certificate=certificate, key=key, token=token
        )
        self._network = AsyncNetwork(target, retries)

    async def close(self) -> None:
        """Close the connections."""
        await self._network.close()

    async def __aenter__(self) -> AsyncFeatureClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def is_serving(self) -> bool:
        """Return whether a server answers, now, that it serves."""
        return await self._network.is_serving()

    def stream(self, *, timeout: float | None = None) -> FeatureStream:
        """Return a stream: one call, over which any number of coroutines look features up.

        ``async with client.stream() as stream: answer = await stream.get_online_features(...)``

        Args:
            timeout: seconds that a lookup may take; the client's when not given.
        """
        return FeatureStream(self._network, self._conversation, self._timeout if timeout is None else timeout)

    async def get_schema(self, service: str, *, timeout: float | None = None) -> pb.GetServiceSchemaResponse:
        """See :meth:`~featurestore.FeatureClient.get_schema`."""
        return (await self._drive(self._conversation.schema(service), timeout)).message

    async def get_online_features(
        self,
        features: str,
        entity_rows: Any,
        *,
        request_id: str = "",
        routing_key: str = "",
        timeout: float | None = None,
    ) -> OnlineFeatures:
        """See :meth:`~featurestore.FeatureClient.get_online_features`."""
        exchange = self._conversation.look_up(features, entity_rows, request_id=request_id, routing_key=routing_key)
        return await self._drive(exchange, timeout)

    async def push(
        self, view: str, rows: Any, *, dtypes: Mapping[str, DType] | None = None, timeout: float | None = None
    ) -> Pushed:
        """See :meth:`~featurestore.FeatureClient.push`."""
        return await self._drive(self._conversation.push(view, rows, dtypes), timeout)

    async def log_predictions(self, model: str, rows: Any, *, timeout: float | None = None) -> Logged:
        """See :meth:`~featurestore.FeatureClient.log_predictions`."""
        return await self._drive(self._conversation.log_predictions(model, rows), timeout)

    async def log_outcomes(self, model: str, rows: Any, *, timeout: float | None = None) -> Logged:
        """See :meth:`~featurestore.FeatureClient.log_outcomes`."""
        return await self._drive(self._conversation.log_outcomes(model, rows), timeout)

    async def advance_clock(self, now: datetime, *, timeout: float | None = None) -> int:
        """See :meth:`~featurestore.FeatureClient.advance_clock`."""
        return await self._drive(self._conversation.advance_clock(now), timeout)

    async def _drive(self, exchange: Exchange[T], timeout: float | None) -> T:
        return await drive(exchange, self._network.send, Deadline.after(self._timeout if timeout is None else timeout))
