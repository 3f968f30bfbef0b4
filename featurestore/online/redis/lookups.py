"""Lookups of a server: they wait for the store without holding up one another.

One connection to each server of the store carries them all. While a server is away nobody waits for it: calls are
refused at once, with what to do, and a task tries it again ever less often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis
import structlog

from featurestore.errors import OnlineStoreAwayError, OnlineStoreError
from featurestore.online.base import Read, ReadOne
from featurestore.online.redis.breaker import Breaker
from featurestore.online.redis.connecting import Command
from featurestore.online.redis.faults import PASSING, LateError, away, before, late, refused
from featurestore.online.redis.gets import Gets, Known, Requests
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.nodes import Nodes
from featurestore.online.redis.one_key import OneKeyGets
from featurestore.online.redis.state import State
from featurestore.online.redis.wire import Wire, connected, moved_to, packed, tls_context
from featurestore.settings.online import RedisConfig

_TRIES = 5
_PAUSE_SECONDS = 0.02

_logger = structlog.get_logger(__name__)


class Line:
    """A server of the store, for the lookups of one event loop.

    Args:
        name: what it is called in the log.
        address: gives where it is now.
        connect: gives a connection to an address.
    """

    def __init__(
        self, name: str, address: Callable[[], Awaitable[str]], connect: Callable[[str], Awaitable[Wire]]
    ) -> None:
        self._name = name
        self._address = address
        self._connect = connect
        self._wire: Wire | None = None
        self._breaker = Breaker(time.monotonic)
        self._task: asyncio.Task[None] | None = None
        self._connecting: asyncio.Future[Wire] | None = None
        self.losses = 0

    @property
    def connected(self) -> Wire | None:
        """The connection, if it is open."""
        wire = self._wire
        return wire if wire is not None and wire.open else None

    async def wire(self) -> Wire:
        """Return an open connection.

        Raises:
            OnlineStoreError: the server is away.
        """
        wire = self._wire
        while wire is None or not wire.open:
            if self._task is None:
                self._connecting = asyncio.get_running_loop().create_future()
                self._task = asyncio.create_task(self._keep())
            if self._breaker.error is not None:  # it is tried in the background: nobody waits
                raise self._breaker.error.with_traceback(None)  # else it would grow with each
            assert self._connecting is not None  # noqa: S101 - it is set with the task
            wire = await asyncio.shield(self._connecting)
            if not wire.open:  # it was lost a moment ago, and the task has not been told yet
                await asyncio.sleep(0)
        return wire

    async def _keep(self) -> None:
        """Connect, and again whenever the connection is lost."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                wire = await self._connect(await self._address())
            except OnlineStoreError as error:
                if not self._breaker.failures:
                    _logger.error("online store is away", server=self._name, error=error.message, hint=error.hint)
                pause = self._breaker.failed(error)
                if self._connecting is not None and not self._connecting.done():
                    self._connecting.set_exception(error)
                    self._connecting.exception()  # somebody may wait for it, or nobody
                await asyncio.sleep(pause)
                continue
            if self._breaker.failures:
                _logger.info("online store is back", server=self._name)
            self._breaker.worked()
            self._wire = wire
            if self._connecting is None or self._connecting.done():
                self._connecting = loop.create_future()
            self._connecting.set_result(wire)
            await asyncio.shield(wire.lost)  # which others wait for too, when this task is ended
            self._connecting = loop.create_future()
            self.losses += 1

    async def close(self) -> None:
        """Close the connection, and try no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._wire is not None:
            await self._wire.close()


class Waiting:
    """Reads rows for the lookups of one event loop.

    Args:
        settings: whose passwords are read already.
        nodes: knows, in threads, which server has what.
        layout: names keys.
        known: the state that names go by.
    """

    def __init__(self, settings: RedisConfig, nodes: Nodes, layout: Layout, known: Known) -> None:
        self._settings = settings
        self._nodes = nodes
        self._layout = layout
        self._known = known
        self._one_keys: dict[tuple[str, ...], OneKeyGets] = {}
        self._context = tls_context(settings)
        self._lines: dict[str, Line] = {}
        self._addresses: list[str] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._one = settings.mode != "cluster"
        self._lost = 0

    async def read(self, requests: Requests, seconds: float | None = None) -> Read:
        """Return what one read finds, as :meth:`OnlineStore.read <featurestore.online.base.OnlineStore.read>`.

        Args:
            requests: tables, and of each keys.
            seconds: within which the caller needs an answer; None leaves that to the settings.

        Raises:
            OnlineStoreError: the store is away, or does not answer in time.
        """
        ends = None if seconds is None else time.monotonic() + seconds
        wire = self._wire_of(0) if self._one else None
        if wire is not None:
            gets = Gets(self._layout, self._known, requests)
            said = await self._said(wire, gets.packed(), seconds)
            if said.__class__ is list and gets.take(0, said) is None:
                return gets.result()
        return await self._read_anyhow(requests, seconds, ends)

    async def read_one(self, tables: tuple[str, ...], key: bytes, seconds: float | None = None) -> ReadOne:
        """Return what one read finds; see :meth:`Waiting.read_one <featurestore.online.base.Waiting.read_one>`.

        Raises:
            OnlineStoreError: the store is away, or does not answer in time.
        """
        # This runs once a lookup, between work of gRPC's that leaves nothing of it in the processor's caches.
        ends = None if seconds is None else time.monotonic() + seconds
        gets = self._one_keys.get(tables)
        if gets is None:
            gets = self._one_keys[tables] = OneKeyGets(self._layout, self._known, tables)
        get = gets.get(key)
        wire = None if get is None else self._wire_of(get.bucket)
        if wire is not None and get is not None:
            said = await self._said(wire, get.command, seconds)
            found = get.take(said)
            if found is not None:
                return found
            if said.__class__ is list:
                self._known.take(said[0])
        read = await self._read_anyhow([(name, (key,)) for name in tables], seconds, ends)
        return ReadOne(read.clock, read.snapshot, [values[0] for values in read.values])

    async def _read_anyhow(self, requests: Requests, seconds: float | None, ends: float | None) -> Read:
        """Return what one read finds, also if servers refuse, have another state, or have to be found or connected to.

        Args:
            requests: as :meth:`read` takes them.
            seconds: that the caller gave.
            ends: when they end, by :func:`time.monotonic`.
        """
        gets = Gets(self._layout, self._known, requests)
        if seconds is None or ends is None:
            return await self._read(gets)
        try:
            async with asyncio.timeout(before(max(ends - time.monotonic(), 0.0))):
                return await self._read(gets)
        except TimeoutError:
            raise late(", ".join(self._settings.addresses), seconds) from None

    def _wire_of(self, bucket: int) -> Wire | None:
        """Return the connection to the server of a bucket; None if that has to be found, or connected to."""
        if self._one:
            line = self._lines.get("")
        else:
            line = None if self._addresses is None else self._lines.get(self._addresses[bucket])
        return None if line is None else line.connected

    async def _said(self, wire: Wire, command: bytes, seconds: float | None) -> Any:
        """Return the answer of a server; None if the connection to it is lost.

        Raises:
            LateError: there is none in time.
        """
        try:
            return await wire.ask(command, seconds)
        except LateError:
            raise
        except OnlineStoreAwayError:
            return None

    async def _read(self, gets: Gets) -> Read:
        if self._one:
            state: State | None = None
            while True:
                said = await self._asked(0, gets.command(0, state))
                state = gets.take(0, said, state)
                if state is None:
                    return gets.result()
        await asyncio.gather(*(self._bucket(gets, bucket) for bucket in gets.open))
        return gets.result()

    async def _bucket(self, gets: Gets, bucket: int) -> None:
        state: State | None = None
        while True:
            state = gets.take(bucket, await self._asked(bucket, gets.command(bucket, state)), state)
            if state is None:
                return

    async def _asked(self, bucket: int, command: Command) -> Any:
        """Return a bucket's answer; a connection that breaks is tried once more, as it may be another server's now."""
        data = packed(command)
        for attempt in range(_TRIES):
            line: Line | None = None
            try:
                line = await self._line(bucket)
                said = await (await line.wire()).ask(data)
            except OnlineStoreAwayError:
                self._look()
                if attempt or line is None:
                    raise
                continue
            if isinstance(said, hiredis.ReplyError) and str(said).startswith("ASK "):
                wire = await self._at(moved_to(str(said))).wire()
                _, said = await asyncio.gather(wire.ask(packed((b"ASKING",))), wire.ask(data))
            if not isinstance(said, hiredis.ReplyError):
                return said
            words = str(said)
            code = words.split(" ", 1)[0]
            if code not in ("MOVED", *PASSING) or self._one or attempt == _TRIES - 1:
                raise refused(", ".join(self._settings.addresses), words)
            self._look()
            if self._looking is not None:
                await asyncio.shield(self._looking)
            await asyncio.sleep(_PAUSE_SECONDS * attempt)
        raise away(", ".join(self._settings.addresses), "its servers send commands elsewhere again and again")

    async def _line(self, bucket: int) -> Line:
        if self._one:
            line = self._lines.get("")
            if line is None:
                where = self._settings.master or self._settings.addresses[0]
                line = self._lines[""] = Line(where, self._address, self._connect)
            return line
        if self._addresses is None:
            self._look()
            assert self._looking is not None  # noqa: S101 - it was begun
            await asyncio.shield(self._looking)
            if self._addresses is None:
                self._nodes.addresses()  # raises what went wrong
                raise away(", ".join(self._settings.addresses), "nobody tells which server has what")
        return self._at(self._addresses[bucket])

    def _at(self, address: str) -> Line:
        line = self._lines.get(address)
        if line is None:

            async def there() -> str:
                return address

            line = self._lines[address] = Line(address, there, self._connect)
        return line

    def _look(self) -> None:
        """Have it found out again which server has what, unless that goes on."""
        if self._one or (self._looking is not None and not self._looking.done()):
            return
        self._looking = asyncio.create_task(self._looked())

    async def _looked(self) -> None:
        try:
            addresses = await asyncio.to_thread(self._nodes.addresses)
        except OnlineStoreError as error:
            _logger.warning("servers of the online store are not known", error=error.message, hint=error.hint)
            return
        self._addresses = addresses
        for address in set(self._lines) - set(addresses):
            line = self._lines.pop(address)
            self._lost += line.losses
            await line.close()

    async def _address(self) -> str:
        if self._settings.mode == "single":
            return self._settings.addresses[0]
        return (await asyncio.to_thread(self._nodes.addresses))[0]

    def _connect(self, address: str) -> Awaitable[Wire]:
        return connected(address, self._settings, self._context)

    @property
    def losses(self) -> int:
        """How often a connection was lost."""
        return self._lost + sum(line.losses for line in self._lines.values())

    async def close(self) -> None:
        """Close all connections."""
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)
        self._lost = self.losses
        lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            await line.close()
