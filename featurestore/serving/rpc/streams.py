"""Lookups over one call: each request of the stream is answered, or refused, by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from featurestore.errors import FeatureStoreError, InvalidRequestError, LimitExceededError, ObjectNotFoundError
from featurestore.online.base import Waiting
from featurestore.online.rowcodec import varint
from featurestore.serving import one_row
from featurestore.serving.log import ServingLog
from featurestore.serving.lookup import LogEntry, Lookups
from featurestore.serving.rpc.deadlines import check_deadline
from featurestore.serving.rpc.faults import STOPPING, Fault, fault_of, field_of
from featurestore.serving.rpc.outbox import Outbox
from featurestore.serving.rpc.turns import Turns
from featurestore.serving.tokens import Caller, caller
from featurestore.v1 import serving_pb2 as pb

if TYPE_CHECKING:
    from featurestore.serving.rpc.server import Watcher

_METHOD = "StreamOnlineFeatures"


@dataclass(eq=False, slots=True)
class _Stream:
    """A stream that is answered: by which task, and whether that waits for the client's next request."""

    task: asyncio.Task[None]
    reading: bool = False


class _Asked(NamedTuple):
    """A request of a stream: by whom, over which call, where its answer goes, and when it came."""

    data: bytes
    who: Caller | None
    context: Any
    outbox: Outbox
    at: float


class StreamedLookups:
    """Answers streams of requests.

    Args:
        lookups: what answers.
        log: where lookups are logged.
        watcher: is told of every request.
        refresh: takes in what is registered by now, before a service is said not to be; None if nothing can be.
        waiting: reads a store that is another process; None where a lookup reads it by itself.
    """

    def __init__(
        self,
        lookups: Lookups,
        log: ServingLog,
        watcher: Watcher,
        refresh: Callable[[], Awaitable[None]] | None = None,
        waiting: Waiting | None = None,
    ) -> None:
        self._waiting = waiting
        self._refresh = refresh
        self._lookups = lookups
        self._log = log
        self._watcher = watcher
        self._ending = False
        self._streams: set[_Stream] = set()
        self._turns = Turns(self._answer_one)
        #: Those that wait: for a service that there may be by then, or for the store.
        self._later: set[asyncio.Task[None]] = set()

    def end(self) -> None:
        """End streams once what they were asked is answered; their clients go on elsewhere."""
        self._ending = True
        for stream in self._streams:
            if stream.reading:
                stream.task.cancel()

    async def answer(self, _: Any, context: Any) -> None:
        """Answer a stream until its client ends it; a slow reader is waited for, and holds up nobody else."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - gRPC answers each call in one
        stream, outbox = _Stream(task), Outbox(context.write)
        self._streams.add(stream)
        try:
            ended = await self._answer_all(stream, context, outbox)
            await outbox.flush()
        finally:
            self._streams.discard(stream)
            await outbox.discard()
        if ended is not None:
            await context.abort(ended.code, ended.text, ended.trailing)

    async def _answer_all(self, stream: _Stream, context: Any, outbox: Outbox) -> Fault | None:
        """Answer the requests of a stream; return what it is to end with if its client does not end it."""
        read, who = context.read, caller.get()
        ends = context.time_remaining() is not None
        while not self._ending:
            stream.reading = True
            try:
                data = await read()
            except asyncio.CancelledError:
                if self._ending:
                    break
                raise
            finally:
                stream.reading = False
            if data is grpc.aio.EOF:
                return None
            if ends or who is not None:
                try:
                    check_deadline(context)
                    if who is not None:
                        who.check_standing()
                except FeatureStoreError as error:
                    fault = fault_of(error, _METHOD)
                    self._watcher.refused(_METHOD, fault.code.name, 0.0, context)
                    return fault
            asked = (data, who, context, outbox, time.perf_counter())
            self._turns.add(tuple.__new__(_Asked, asked))  # without the function that names its parts
            if outbox.owe():
                await outbox.room()
        return STOPPING

    def _answer_one(self, asked: _Asked, *, again: bool = False) -> None:
        if self._waiting is not None:
            self._start(self._answer_waiting(asked, self._waiting, again=again))
            return
        data, who, *_ = asked
        if who is None and self._answered_one_row(data, asked):
            return
        number = 0
        try:
            message = _parse(data)
            number, request = message.correlation_id, message.request
            if who is not None:
                who.check_service(request.service)
            response, entry = self._lookups.answer(request)
            self._log.offer(entry)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            self._not_answered(error, number, asked, again=again)
            return
        self._answered(response, entry, _field(number), asked)

    def _answered_one_row(self, data: bytes, asked: _Asked) -> bool:
        """Answer by the shortest way, if there is one for this request; what is wrong is said by the long way."""
        found = one_row.within(data)
        if found is None:
            return False
        number, request = found
        try:
            answer = self._lookups.answer_one_row(request)
            if answer is None:
                return False
            self._log.offer(answer.entry)
        except Exception:  # noqa: BLE001 - it comes again, and is then told
            return False
        self._answered(answer.response, answer.entry, number, asked)
        return True

    async def _answer_waiting(self, asked: _Asked, waiting: Waiting, *, again: bool) -> None:
        data, who, context, *_ = asked
        number = b""
        try:
            left = context.time_remaining()
            short = one_row.within(data) if who is None else None
            if short is not None:
                number, request = short
                response, entry = await self._lookups.get_online_features_waiting(request, waiting, left)
            else:
                message = _parse(data)
                number = _field(message.correlation_id)
                if who is not None:
                    who.check_service(message.request.service)
                response, entry = await self._lookups.answer_waiting(message.request, waiting, left)
            self._log.offer(entry)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            self._not_answered(error, _parse(number).correlation_id, asked, again=again)
            return
        self._answered(response, entry, number, asked)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def _not_answered(self, error: Exception, number: int, asked: _Asked, *, again: bool) -> None:
        if isinstance(error, ObjectNotFoundError) and self._refresh is not None and not again:
            self._start(self._answer_later(asked, self._refresh))
            return
        asked.outbox.put(self._refused(error, number, asked))

    def _answered(self, response: bytes, entry: LogEntry, number: bytes, asked: _Asked) -> None:
        _, _, context, outbox, at = asked
        self._watcher.answered(_METHOD, entry, time.perf_counter() - at, context)
        outbox.put(b"".join((number, b"\x12", varint(len(response)), response)))

    async def _answer_later(self, asked: _Asked, refresh: Callable[[], Awaitable[None]]) -> None:
        try:
            await refresh()
        finally:
            self._answer_one(asked, again=True)

    def _refused(self, error: Exception, number: int, asked: _Asked) -> bytes:
        fault = fault_of(error, _METHOD)
        self._watcher.refused(_METHOD, fault.code.name, time.perf_counter() - asked.at, asked.context)
        said = pb.Error(code=fault.code.value[0], message=fault.message, hint=fault.hint)
        if isinstance(error, InvalidRequestError):
            said.field = field_of(error)
        elif isinstance(error, LimitExceededError):
            said.limit = error.limit
        return pb.StreamOnlineFeaturesResponse(correlation_id=number, error=said).SerializeToString()


def _field(number: int) -> bytes:
    """Return a correlation id as field 1 of an answer."""
    return b"\x08" + varint(number) if number else b""


def _parse(data: bytes) -> pb.StreamOnlineFeaturesRequest:
    try:
        return pb.StreamOnlineFeaturesRequest.FromString(data)
    except DecodeError:
        raise InvalidRequestError(
            "The request is not a StreamOnlineFeaturesRequest.", hint="Generate the client from serving.proto."
        ) from None
