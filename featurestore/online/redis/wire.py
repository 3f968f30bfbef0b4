"""One connection that an event loop shares among all lookups: commands go out together, answers come back in order."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any

import hiredis

from featurestore.online.redis.connecting import Command, split
from featurestore.online.redis.faults import away, before, late, refused
from featurestore.settings.online import RedisConfig

_NONE = object()


class Wire(asyncio.Protocol):
    """A connection; what is asked in one turn of the loop is sent at its end, as one piece.

    Args:
        address: of the server.
        loop: runs it.
        seconds: that an answer may take. A server that is silent for longer is away, for all that wait.
    """

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._address = address
        self._loop = loop
        self._seconds = seconds
        self._reader = hiredis.Reader(notEnoughData=_NONE)
        self._transport: Any = None
        #: Who waits, since when, and what tells him that it is too late.
        self._waiting: deque[tuple[asyncio.Future[Any], float, asyncio.TimerHandle | None]] = deque()
        self._out: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._why: Exception | None = None
        self.open = False
        self.lost = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        self._transport = transport
        self.open = True

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        try:
            while (said := reader.gets()) is not _NONE:
                future, _, timer = waiting.popleft()
                if timer is not None:
                    timer.cancel()
                if not future.done():
                    future.set_result(said)
        except (hiredis.ProtocolError, IndexError) as error:
            self._give_up(error)

    def connection_lost(self, why: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self.open = False
        if self._watch is not None:
            self._watch.cancel()
        error = away(self._address, self._why or why or "it closed the connection")
        while self._waiting:
            future, _, timer = self._waiting.popleft()
            if timer is not None:
                timer.cancel()
            if not future.done():
                future.set_exception(error)
        if not self.lost.done():
            self.lost.set_result(error)

    def ask(self, command: bytes, seconds: float | None = None) -> asyncio.Future[Any]:
        """Return the answer of a command, packed as it is sent; an error of the server's is an answer.

        Args:
            command: what is sent.
            seconds: within which the caller needs an answer. If there is none, he is told so in time, and the others go
                on waiting for theirs.
        """
        future = self._loop.create_future()
        if not self.open:
            future.set_exception(away(self._address, self._why or "it closed the connection"))
            return future
        timer = None
        if seconds is not None and before(seconds) < self._seconds:
            timer = self._loop.call_later(before(seconds), self._expire, future, seconds)
        self._waiting.append((future, self._loop.time(), timer))
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(command)
        if self._watch is None:
            self._watch = self._loop.call_later(self._seconds, self._look)
        return future

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self.open:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _expire(self, future: asyncio.Future[Any], seconds: float) -> None:
        if not future.done():
            future.set_exception(late(self._address, seconds))

    def _look(self) -> None:
        """Give the connection up if somebody has waited for too long."""
        self._watch = None
        if not self._waiting:
            return
        left = self._waiting[0][1] + self._seconds - self._loop.time()
        if left <= 0:
            self._give_up(TimeoutError(f"no answer within {self._seconds:g} s"))
        else:
            self._watch = self._loop.call_later(left, self._look)

    def _give_up(self, why: Exception) -> None:
        self._why = why
        self.open = False
        self._transport.abort()

    async def close(self) -> None:
        """Close it; who waits is told that the server is away."""
        if self._transport is not None:
            self.open = False
            self._transport.abort()
            await asyncio.shield(self.lost)


async def connected(address: str, settings: RedisConfig, context: ssl.SSLContext | None) -> Wire:
    """Return a connection that may be used: authenticated, and in its database.

    Raises:
        OnlineStoreError: the server does not answer, or refuses.
    """
    loop = asyncio.get_running_loop()
    host, port = split(address)
    wire: Wire | None = None
    try:
        async with asyncio.timeout(settings.connect_seconds):
            _, wire = await loop.create_connection(
                lambda: Wire(address, loop, settings.timeout_seconds), host, port, ssl=context
            )
            hello: list[Command] = []
            password = settings.password.get_secret_value()
            if password:
                user = (settings.user.encode(),) if settings.user else ()
                hello.append((b"AUTH", *user, password.encode()))
            if settings.database:
                hello.append((b"SELECT", settings.database))
            hello.append((b"PING",))
            for command in hello:
                said = await wire.ask(packed(command))
                if isinstance(said, hiredis.ReplyError):
                    raise refused(address, str(said))
    except (OSError, TimeoutError, ssl.SSLError) as error:
        if wire is not None:
            await wire.close()
        text = f"no answer within {settings.connect_seconds:g} s" if isinstance(error, TimeoutError) else error
        raise away(address, text) from error
    except BaseException:
        if wire is not None:
            await wire.close()
        raise
    return wire


def packed(command: Command) -> bytes:
    """Return a command as it is sent."""
    return hiredis.pack_command(command)  # type: ignore[arg-type,no-any-return]  # its stub says that there is one part


def tls_context(settings: RedisConfig) -> ssl.SSLContext | None:
    """Return what TLS goes by; None where there is none.

    Raises:
        OnlineStoreError: a file cannot be read.
    """
    if not settings.tls.enabled:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls.ca_file or None)
        if settings.tls.certificate:
            context.load_cert_chain(settings.tls.certificate, settings.tls.key)
    except (OSError, ssl.SSLError) as error:
        raise away(", ".join(settings.addresses), error) from error
    return context


def moved_to(said: str) -> str:
    """Return the address in a redirection: ``MOVED 3999 127.0.0.1:6381``."""
    return said.split()[-1]
