"""``featurestore.v1.RetrainingService``: bytes to a method and back; what it says and does is given to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from featurestore.errors import InvalidRequestError, LimitExceededError
from featurestore.serving.rpc.faults import STOPPING, Fault, fault_of
from featurestore.serving.tokens import Caller, caller
from featurestore.v1 import signals_pb2 as pb
from monitor.signalling.feed import Feed

NAME = "featurestore.v1.RetrainingService"
WATCH = "WatchSignals"
ACKNOWLEDGE = "AcknowledgeSignal"

#: How often a watcher without news is looked after: its token may have been revoked.
_QUIET_SECONDS = 1.0
#: How long a watcher may take for one event, before its place is given to others.
_STALLED_SECONDS = 60.0
#: Services that a watcher may name.
_MOST_SERVICES = 1_000

#: Takes an acknowledgement and who sends it, None where nobody is asked; runs in a thread.
Answer = Callable[[pb.AcknowledgeSignalRequest, Caller | None], pb.AcknowledgeSignalResponse]


class SignalService:
    """The two methods.

    Args:
        feed: the events.
        answer: takes acknowledgements.
        nudge: called after one, so that its event is looked for at once.
        most_watchers: how many may watch at once.

    Attributes:
        watching: how many do.
    """

    def __init__(self, feed: Feed, answer: Answer, nudge: Callable[[], None], *, most_watchers: int) -> None:
        self._feed = feed
        self._answer = answer
        self._nudge = nudge
        self._most = most_watchers
        self._ending = False
        self.watching = 0

    def end(self) -> None:
        """End the streams; their clients come back with their cursors."""
        self._ending = True
        self._feed.wake()

    async def watch(self, _: Any, context: Any) -> None:
        """Send every event after a cursor, and then each new one, until either side ends it."""
        stalled: asyncio.Future[None] | None = None
        self.watching += 1
        try:
            fault = await self._watched(context)
        except _GoneError:
            return
        except _StalledError as error:
            stalled, fault = error.write, _stalled()
        finally:
            self.watching -= 1
        if stalled is not None:
            # gRPC sends no status while an event is on its way: the place is free already, and the call ends when the
            # client takes the event, or goes.
            try:
                await stalled
            except grpc.aio.InternalError:
                return
            finally:
                stalled.cancel()
        await context.abort(fault.code, fault.text, fault.trailing)

    async def acknowledge(self, request: bytes, context: Any) -> bytes:
        """Take what a receiver says became of a signal."""
        try:
            said = _parsed(pb.AcknowledgeSignalRequest, request)
            answer = await asyncio.to_thread(self._answer, said, caller.get())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            fault = fault_of(error, ACKNOWLEDGE)
            await context.abort(fault.code, fault.text, fault.trailing)
            raise AssertionError("abort raises") from None
        self._nudge()
        return answer.SerializeToString()

    async def _watched(self, context: Any) -> Fault:
        """Send events; return what the stream ends with if its client does not end it."""
        try:
            if self.watching > self._most:
                raise LimitExceededError(
                    f"{self._most:,} watch already, and no more may.",
                    hint="Let one of them tell the others; the limit is max_watchers under [signals].",
                    limit="max_watchers",
                )
            data = await context.read()
            asked = _parsed(pb.WatchSignalsRequest, b"" if data is grpc.aio.EOF else data)
            await self._send(asked, caller.get(), context)
        except (_GoneError, _StalledError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return fault_of(error, WATCH)
        return STOPPING

    async def _send(self, asked: pb.WatchSignalsRequest, who: Caller | None, context: Any) -> None:
        wanted = _wanted(asked, who)
        await self._feed.check(asked.after)
        cursor = asked.after
        # A client that waits for its first event knows by the metadata that it is being served.
        await context.send_initial_metadata(())
        while not self._ending:
            if who is not None:
                who.check_standing()
            page = await self._feed.after(cursor)
            for event in page:
                if not wanted or event.service in wanted or event.service.partition("@")[0] in wanted:
                    await _written(context, event.data)
                cursor = event.cursor
            if not page:
                await self._feed.come(cursor, _QUIET_SECONDS)


class _GoneError(Exception):
    """A watcher has gone."""


class _StalledError(Exception):
    """A watcher has not taken an event in a long time; ``write`` still waits for it."""

    def __init__(self, write: asyncio.Future[None]) -> None:
        super().__init__()
        self.write = write


def _stalled() -> Fault:
    """Return what ends the stream of a slow watcher: without a hint, so that clients come back by themselves."""
    return Fault(grpc.StatusCode.UNAVAILABLE, f"An event was not taken in {_STALLED_SECONDS:.0f} seconds.", "", ())


async def _written(context: Any, data: bytes) -> None:
    """Send one event, and return when the connection has taken it.

    Raises:
        _StalledError: it has not in a long time.
    """
    write = asyncio.ensure_future(context.write(data))
    try:
        done, _ = await asyncio.wait((write,), timeout=_STALLED_SECONDS)
    except asyncio.CancelledError:
        write.cancel()
        raise
    if not done:
        raise _StalledError(write)
    try:
        await write
    except grpc.aio.InternalError:
        # All that gRPC says of a client that has gone; soon it cancels the call.
        raise _GoneError from None


def _wanted(asked: pb.WatchSignalsRequest, who: Caller | None) -> frozenset[str]:
    """Return the services whose signals are sent, as they are named; none for all.

    Raises:
        InvalidRequestError: there are too many names.
        PermissionDeniedError: the token is not for one of them.
    """
    if len(asked.services) > _MOST_SERVICES:
        raise InvalidRequestError(
            f"{len(asked.services):,} services are named, and {_MOST_SERVICES:,} may be.",
            hint="Name none, and choose among what comes.",
            field="services",
        )
    if who is None:
        return frozenset(asked.services)
    for name in asked.services:
        who.check_signals(name)
    return frozenset(asked.services or who.token.services)


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidRequestError(
            f"The request is not a {kind.DESCRIPTOR.name}.", hint="Generate the client from signals.proto."
        ) from None
