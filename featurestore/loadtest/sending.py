"""One sender: a process that sends requests at their instants, and never waits with one for the response to another."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
import selectors
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from featurestore.client.target import Metadata, Target
from featurestore.loadtest.schedule import Schedule
from featurestore.loadtest.tally import Tally
from featurestore.v1 import serving_pb2 as pb

_LOOKUP = "/featurestore.v1.ServingService/GetOnlineFeatures"
_PROGRESS_SECONDS = 0.25
#: Seconds that a server may take to let a connection in, and to answer the first request.
_PATIENCE = 5.0
#: One response in so many is looked into: taking each apart would cost the sender more than sending.
_LOOKED_INTO = 10
#: A sender that is behind lets responses in after so many requests.
_BURST = 16
#: Statuses whose time counts: others come as soon as the server pleases.
_WAITED = frozenset({"OK", "DEADLINE_EXCEEDED", "UNANSWERED"})


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A server, and how it is reached; it is given to other processes, so it names files rather than what is in them.

    Attributes:
        address: ``host:port``.
        tls: whether calls are encrypted; None means: if ``ca`` or ``certificate`` is given.
        ca: who may have signed the server's certificate.
        certificate: the sender's own.
        key: its private key.
        token: the file of the token that goes with each call.
    """

    address: str
    tls: bool | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: Path | None = None

    def target(self, connections: int) -> Target:
        """Return it as a client reaches it.

        Raises:
            ConfigError: a file cannot be read, or the token would cross the network unencrypted.
        """
        return Target(
            self.address,
            connections=connections,
            tls=self.tls,
            ca=self.ca,
            certificate=self.certificate,
            key=self.key,
            token=self.token,
        )


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one sender does.

    Attributes:
        endpoint: where requests go.
        bodies: the requests, which come again and again.
        schedule: of all senders.
        part: which of them this one is.
        parts: how many there are.
        seed: of arrivals and of the order of requests.
        timeout: seconds until a request is given up.
        outstanding: requests that may be without a response at once.
        connections: over which requests go in turn.
    """

    endpoint: Endpoint
    bodies: Sequence[bytes]
    schedule: Schedule
    part: int = 0
    parts: int = 1
    seed: int = 0
    timeout: float = 1.0
    outstanding: int = 1_000
    connections: int = 2


class Progress(NamedTuple):
    """How far a sender is: requests sent, and ended with a response or without."""

    sent: int
    answered: int
    failed: int


class Failure(NamedTuple):
    """Why a sender cannot begin: a gRPC status and its message."""

    code: str
    message: str


def work(job: Job, line: Connection) -> None:
    """Be a sender: say Progress when ready, send from the instant that is told, and give the Tally.

    Args:
        job: what to do.
        line: to the process that asks; anything that comes after the start, also its end, means to stop.
    """
    # epoll rounds waits up to a millisecond, which is as long as some servers take to answer.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    asyncio.set_event_loop(loop)
    with contextlib.suppress(BrokenPipeError, EOFError):  # whoever asked is gone
        loop.run_until_complete(_run(job, line))


async def _run(job: Job, line: Connection) -> None:
    target = job.endpoint.target(job.connections)
    channels, metadata = [channel for _, channel in target.open(grpc.aio)], target.metadata()
    try:
        failure = await _first(job, channels, metadata)
        line.send(failure or Progress(0, 0, 0))
        if failure is None:
            sender = Sender(job, channels, metadata)
            begin = float(await asyncio.to_thread(line.recv))
            asyncio.get_running_loop().add_reader(line.fileno(), sender.stop)
            telling = asyncio.create_task(_tell(sender, line))
            tally = await sender.run(begin)
            asyncio.get_running_loop().remove_reader(line.fileno())
            telling.cancel()
            line.send(tally)
    finally:
        await asyncio.gather(*(one.close() for one in channels), return_exceptions=True)


async def _first(job: Job, channels: Sequence[Any], metadata: Metadata | None) -> Failure | None:
    """Connect, and have one request answered, so that what is wrong with all of them is said once."""
    try:
        async with asyncio.timeout(_PATIENCE):
            connected = await asyncio.gather(*map(_connected, channels))
    except TimeoutError:
        connected = [False]
    if not all(connected):
        return Failure("UNAVAILABLE", "")
    try:
        ask = channels[0].unary_unary(_LOOKUP)
        await ask(job.bodies[0], timeout=_PATIENCE, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return Failure(error.code().name, error.details() or "")
    return None


async def _connected(channel: Any) -> bool:
    """Return whether a server lets the channel in; gRPC itself would try again for ever."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            return False
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
    return True


async def _tell(sender: Sender, line: Connection) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        line.send(sender.progress)


class Sender:
    """Sends the requests of a job.

    Args:
        job: what to do.
        channels: to the server, ready.
        metadata: of each call.
    """

    def __init__(self, job: Job, channels: Sequence[Any], metadata: Metadata | None) -> None:
        self.tally = Tally(seconds=job.schedule.seconds)
        self._job = job
        self._metadata = metadata
        self._asks = itertools.cycle([one.unary_unary(_LOOKUP) for one in channels])
        self._under_way: set[asyncio.Task[None]] = set()
        self._begin = 0.0
        self._sent = self._ended = 0
        self._stopped = False
        self._freed = asyncio.Event()
        self._freed_at = 0.0

    @property
    def progress(self) -> Progress:
        """How far it is."""
        answered = self.tally.codes["OK"]
        return Progress(self._sent, answered, self._ended - answered)

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped = True
        self._freed.set()

    async def run(self, begin: float) -> Tally:
        """Send until the schedule is over, and wait for the responses.

        Args:
            begin: the instant 0 of the schedule, by the monotonic clock, which processes share.
        """
        self._begin = begin
        job = self._job
        instants = job.schedule.instants(job.part, job.parts, seed=job.seed)
        # A collection stops the sender for longer than some servers take to answer.
        gc.collect()
        gc.disable()
        try:
            await self._send(instants)
        finally:
            gc.enable()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=1.0 if self._stopped else job.timeout + 1.0)
            for one in late:
                one.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return self.tally

    async def _send(self, instants: Iterator[float]) -> None:
        job = self._job
        bodies = list(job.bodies)
        random.Random(job.seed * job.parts + job.part).shuffle(bodies)  # noqa: S311 - an order is no secret
        patience = job.schedule.seconds + job.timeout
        burst = 0
        for due, body in zip(instants, itertools.cycle(bodies), strict=False):
            possible = due
            while (wait := due - self._now()) > 0 and not self._stopped:
                burst = 0
                await asyncio.sleep(min(wait, _PROGRESS_SECONDS))
            if len(self._under_way) >= job.outstanding and not self._stopped:
                self.tally.held += 1
                possible = await self._room(due, patience)
            if self._stopped:
                return
            now = self._now()
            if now > patience or len(self._under_way) >= job.outstanding:
                self.tally.give_up(due)
                continue
            self.tally.send(due, max(0.0, now - possible))
            self._sent += 1
            task = asyncio.create_task(self._ask(due, body))
            self._under_way.add(task)
            task.add_done_callback(self._done)
            burst += 1
            if burst % _BURST == 0:
                await asyncio.sleep(0)

    def _now(self) -> float:
        return time.monotonic() - self._begin

    async def _room(self, due: float, patience: float) -> float:
        """Wait until a request may be sent, and return since when it might."""
        while len(self._under_way) >= self._job.outstanding and not self._stopped:
            self._freed.clear()
            try:
                async with asyncio.timeout(max(0.0, patience - self._now())):
                    await self._freed.wait()
            except TimeoutError:
                break
        return max(due, self._freed_at)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._freed_at = self._now()
        self._freed.set()

    async def _ask(self, due: float, body: bytes) -> None:
        try:
            answer = await next(self._asks)(body, timeout=self._job.timeout, metadata=self._metadata)
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        except asyncio.CancelledError:
            code = "UNANSWERED"
        self._ended += 1
        self.tally.end(due, self._now(), code, waited=code in _WAITED)
        if code == "OK" and self._ended % _LOOKED_INTO == 0:
            self._look_into(answer)

    def _look_into(self, answer: bytes) -> None:
        response = pb.GetOnlineFeaturesResponse.FromString(answer)
        self.tally.services[response.service] += 1
        for row in response.rows:
            self.tally.row_statuses[pb.RowStatus.Name(row.status).removeprefix("ROW_STATUS_")] += 1
