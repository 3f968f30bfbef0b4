"""Lookups of many coroutines over one call: an answer finds its request by a number, and a broken call is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from types import TracebackType
from typing import Any

import grpc

from featurestore.client.answer import OnlineFeatures
from featurestore.client.attempts import Attempts, Deadline
from featurestore.client.conversation import Call, Conversation, drive
from featurestore.client.faults import Fault, closed
from featurestore.client.framing import places, varint
from featurestore.client.network import PATHS, AsyncNetwork
from featurestore.client.pool import Member, Pool
from featurestore.v1 import serving_pb2 as pb

_METHOD = "StreamOnlineFeatures"
#: How long the end of a stream that was ended on purpose is waited for.
_END_SECONDS = 1.0


class FeatureStream:
    """One call for many lookups, made by :meth:`AsyncFeatureClient.stream`, for any number of coroutines at once.

    A message on a stream costs less than a call does, on either side. All lookups of one stream go to one worker.
    """

    def __init__(self, network: AsyncNetwork, conversation: Conversation, timeout: float) -> None:
        self._network = network
        self._conversation = conversation
        self._timeout = timeout
        self._line: _Line | None = None
        self._numbers = itertools.count(1)
        self._closed = False

    async def __aenter__(self) -> FeatureStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the call; lookups under way end with an error."""
        self._closed = True
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def get_online_features(
        self,
        features: str,
        entity_rows: Any,
        *,
        request_id: str = "",
        routing_key: str = "",
        timeout: float | None = None,
    ) -> OnlineFeatures:
        """Look features up, as :meth:`~featurestore.FeatureClient.get_online_features` does.

        A lookup that is under way while the server goes away is sent again, to another one or to the same when it is
        back, within its timeout.

        Raises:
            FeatureStoreError: as there.
        """
        exchange = self._conversation.look_up(features, entity_rows, request_id=request_id, routing_key=routing_key)
        return await drive(exchange, self._send, Deadline.after(self._timeout if timeout is None else timeout))

    async def _send(self, call: Call, deadline: Deadline) -> bytes:
        if call.method != "GetOnlineFeatures":
            return await self._network.send(call, deadline)
        attempts = self._network.attempts(_METHOD, deadline)
        while True:
            if self._closed:
                raise closed(str(self._network.target))
            line = self._line
            if line is None or line.ended:
                line = self._line = self._open(attempts)
            try:
                return await line.ask(next(self._numbers), call.request, deadline)
            except _RefusedError as error:
                if self._closed:  # on purpose: its server is well
                    raise closed(str(self._network.target)) from None
                pause = attempts.failed(line.member, error.fault)
            await asyncio.sleep(pause)

    def _open(self, attempts: Attempts) -> _Line:
        metadata = self._network.target.metadata()  # before a connection is taken: a file of a token may be gone
        return _Line(self._network, attempts.take(), metadata)


class _RefusedError(Exception):
    """A request has no answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class _Line:
    """One call of the method, and the requests that wait for its answers.

    Args:
        network: whose it is.
        member: the connection, which is given back to its pool when the call has ended.
        metadata: of the call.

    Attributes:
        member: the same.
        ended: whether there will be no more answers.
    """

    def __init__(self, network: AsyncNetwork, member: Member, metadata: Any) -> None:
        self.member = member
        self.ended = False
        self._pool: Pool = network.pool
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._call = member.channel.stream_stream(PATHS[_METHOD])(metadata=metadata)
        self._tasks = (asyncio.create_task(self._write()), asyncio.create_task(self._read()))

    async def ask(self, number: int, request: bytes, deadline: Deadline) -> bytes:
        """Send a request and return the response.

        Raises:
            _RefusedError: there is none.
        """
        message = pb.StreamOnlineFeaturesRequest(correlation_id=number)
        message.request.MergeFromString(request)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        # Not written here: a coroutine that is cancelled while it writes would take the whole call along.
        self._outgoing.put_nowait(message.SerializeToString())
        try:
            async with asyncio.timeout(deadline.left()):
                return await answer
        except TimeoutError:
            raise _RefusedError(Fault(grpc.StatusCode.DEADLINE_EXCEEDED, "", "")) from None
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End the call."""
        self._outgoing.put_nowait(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await asyncio.wait(self._tasks)
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        # When the call has ended, the reader knows why.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            while (message := await self._outgoing.get()) is not None:
                await self._call.write(message)
            await self._call.done_writing()

    async def _read(self) -> None:
        fault = Fault(grpc.StatusCode.UNAVAILABLE, "", "")  # also if the server has just ended it
        try:
            while (data := await self._call.read()) is not grpc.aio.EOF:
                self._answered(data)
        except grpc.RpcError as error:
            fault = Fault.of(error)
        except ValueError:
            fault = Fault(grpc.StatusCode.INTERNAL, "The server's answer is not a StreamOnlineFeaturesResponse.", "")
        finally:
            self.ended = True
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(_RefusedError(fault))
            self._call.cancel()
            self._tasks[0].cancel()
            self._pool.give_back(self.member)

    def _answered(self, data: bytes) -> None:
        number, answer = 0, b""
        refused: Fault | None = None
        for place in places(data):
            content = data[place.content : place.end]
            if place.number == _NUMBER:
                number, _ = varint(data, place.content)
            elif place.number == _RESPONSE:
                answer = content
            elif place.number == _ERROR:
                error = pb.Error.FromString(content)
                refused = Fault.numbered(error.code, error.message, error.hint)
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():  # it waited for too long
            return
        if refused is None:
            waiting.set_result(answer)
        else:
            waiting.set_exception(_RefusedError(refused))


_FIELDS: Any = pb.StreamOnlineFeaturesResponse.DESCRIPTOR.fields_by_name
_NUMBER, _RESPONSE, _ERROR = (_FIELDS[name].number for name in ("correlation_id", "response", "error"))
