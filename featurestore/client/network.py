"""Calls over gRPC, waited for and awaited: the same attempts in either case."""

from __future__ import annotations

import asyncio
import contextlib
import time

import grpc

from featurestore.client.attempts import Attempts, Deadline
from featurestore.client.conversation import Call
from featurestore.client.faults import Fault, closed
from featurestore.client.pool import Pool
from featurestore.client.target import Target

PATHS = {
    "GetOnlineFeatures": "/featurestore.v1.ServingService/GetOnlineFeatures",
    "StreamOnlineFeatures": "/featurestore.v1.ServingService/StreamOnlineFeatures",
    "GetServiceSchema": "/featurestore.v1.ServingService/GetServiceSchema",
    "PushFeatures": "/featurestore.v1.ServingService/PushFeatures",
    "LogPredictions": "/featurestore.v1.ServingService/LogPredictions",
    "LogOutcomes": "/featurestore.v1.ServingService/LogOutcomes",
    "AdvanceClock": "/featurestore.v1.ReplayService/AdvanceClock",
}
_HEALTH = "/grpc.health.v1.Health/Check"
#: An empty HealthCheckRequest asks for the whole server; field 1 of the answer is 1 for SERVING.
_SERVING = b"\x08\x01"
_HEALTH_SECONDS = 1.0


class Network:
    """Connections to the servers of a target, for any number of threads.

    Args:
        target: the servers.
        retries: attempts after the first.
    """

    def __init__(self, target: Target, retries: int) -> None:
        self._target = target
        self._retries = retries
        self._pool = Pool(target.open(grpc))
        self._closed = False

    def close(self) -> None:
        """Close the connections; calls under way end with an error."""
        self._closed = True
        for member in self._pool.members:
            member.channel.close()

    def send(self, call: Call, deadline: Deadline) -> bytes:
        """Call a method and return its answer.

        Raises:
            FeatureStoreError: the last attempt failed, or the connections are closed.
        """
        attempts = Attempts(self._pool, self._target, call.method, deadline, self._retries)
        while True:
            metadata = self._target.metadata()
            member = attempts.take()
            try:
                method = member.unary(PATHS[call.method])
                answer: bytes = method(call.request, timeout=deadline.left(), metadata=metadata)
                return answer
            except grpc.RpcError as error:
                if self._closed:
                    raise closed(str(self._target)) from None
                pause = attempts.failed(member, Fault.of(error))
            except ValueError:  # all that gRPC says of a channel that was closed
                raise closed(str(self._target)) from None
            finally:
                self._pool.give_back(member)
            time.sleep(pause)

    def is_serving(self) -> bool:
        """Return whether a server answers, now, that it serves."""
        for member in self._pool.one_each():
            try:
                answer: bytes = member.unary(_HEALTH)(b"", timeout=_HEALTH_SECONDS)
            except (grpc.RpcError, ValueError):  # the second is that of a closed channel
                continue
            if answer == _SERVING:
                return True
        return False


class AsyncNetwork:
    """Connections to the servers of a target, for the coroutines of one event loop, in which they are made.

    Args:
        target: the servers.
        retries: attempts after the first.

    Attributes:
        target: the same.
    """

    def __init__(self, target: Target, retries: int) -> None:
        self.target = target
        self._retries = retries
        self._pool: Pool | None = None
        self._closed = False

    @property
    def pool(self) -> Pool:
        """The connections.

        Raises:
            ServingError: they are closed.
        """
        if self._closed:
            raise closed(str(self.target))
        if self._pool is None:
            self._pool = Pool(self.target.open(grpc.aio))
        return self._pool

    async def close(self) -> None:
        """Close the connections; calls under way end with an error."""
        self._closed = True
        if self._pool is not None:
            await asyncio.gather(*(member.channel.close() for member in self._pool.members))

    async def send(self, call: Call, deadline: Deadline) -> bytes:
        """Call a method and return its answer.

        Raises:
            FeatureStoreError: the last attempt failed, or the connections are closed.
        """
        pool = self.pool
        attempts = self.attempts(call.method, deadline)
        while True:
            metadata = self.target.metadata()
            member = attempts.take()
            try:
                method = member.unary(PATHS[call.method])
                answer: bytes = await method(call.request, timeout=deadline.left(), metadata=metadata)
                return answer
            except grpc.RpcError as error:
                pause = attempts.failed(member, Fault.of(error))
            except asyncio.CancelledError:
                # A call of a channel that is closed ends as if its task had been cancelled.
                task = asyncio.current_task()
                if not self._closed or task is None or task.cancelling():
                    raise
                raise closed(str(self.target)) from None
            except grpc.aio.UsageError:
                raise closed(str(self.target)) from None
            finally:
                pool.give_back(member)
            await asyncio.sleep(pause)

    def attempts(self, method: str, deadline: Deadline) -> Attempts:
        """Return the attempts of a call.

        Raises:
            ServingError: the connections are closed.
        """
        return Attempts(self.pool, self.target, method, deadline, self._retries)

    async def is_serving(self) -> bool:
        """Return whether a server answers, now, that it serves."""
        if self._closed:
            return False
        for member in self.pool.one_each():
            with contextlib.suppress(grpc.RpcError):
                answer: bytes = await member.unary(_HEALTH)(b"", timeout=_HEALTH_SECONDS)
                if answer == _SERVING:
                    return True
        return False
