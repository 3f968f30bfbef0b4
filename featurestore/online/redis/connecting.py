"""Connections that wait for their answers: for all that writes, and for lookups outside of a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from featurestore.errors import ConfigError
from featurestore.online.redis.faults import away, refused
from featurestore.settings.online import RedisConfig

try:
    import hiredis  # noqa: F401 - without it redis-py parses in Python, ten times as slowly
    from redis.connection import Connection, SSLConnection
    from redis.exceptions import RedisError, ResponseError
except ImportError as missing:
    raise ConfigError(
        f"An online store on Redis needs a package that is not installed: {missing.name}.",
        hint="pip install 'featurestore[redis]'",
    ) from missing

#: A command: its name and its arguments.
Command = tuple[bytes | int, ...]
#: Seconds that one answer to a write may take: a script of a thousand rows, behind others.
_WRITE_SECONDS = 10.0
#: Bytes of commands that are sent before answers are read.
_SENT_BYTES = 1 << 22


class Refusal:
    """An answer that is an error.

    Attributes:
        said: the server's words.
    """

    __slots__ = ("said",)

    def __init__(self, said: str) -> None:
        self.said = said

    @property
    def code(self) -> str:
        """Its first word."""
        return self.said.partition(" ")[0]


def split(address: str) -> tuple[str, int]:
    """Return host and port of an address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


class Server:
    """One server, and the connections to it that nobody uses now; threads may share it.

    Args:
        address: ``host:port``.
        settings: whose passwords are read already.
        sentinel: whether it is a sentinel, which has a user and a password of its own.
    """

    def __init__(self, address: str, settings: RedisConfig, *, sentinel: bool = False) -> None:
        self.address = address
        self._settings = settings
        self._sentinel = sentinel
        self._idle: list[Any] = []
        self._lock = threading.Lock()

    def _new(self) -> Any:
        given = self._settings
        host, port = split(self.address)
        password = given.sentinel_password if self._sentinel else given.password
        arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "db": 0 if self._sentinel else given.database,
            "username": (given.sentinel_user if self._sentinel else given.user) or None,
            "password": password.get_secret_value() or None,
            "socket_timeout": max(_WRITE_SECONDS, given.timeout_seconds),
            "socket_connect_timeout": given.connect_seconds,
            "socket_keepalive": True,
            "protocol": 2,
            "driver_info": None,
        }
        if not given.tls.enabled:
            return Connection(**arguments)  # type: ignore[no-untyped-call]
        return SSLConnection(
            **arguments,
            ssl_ca_certs=given.tls.ca_file or None,
            ssl_certfile=given.tls.certificate or None,
            ssl_keyfile=given.tls.key or None,
            ssl_check_hostname=True,
        )

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Give a connection for the block; one that fails is not used again.

        Raises:
            OnlineStoreError: there is none, or it breaks.
        """
        with self._lock:
            taken = self._idle.pop() if self._idle else None
        connection = self._new() if taken is None else taken
        try:
            yield connection
        except (RedisError, OSError) as error:
            connection.disconnect()
            if getattr(error, "status_code", None):  # while it connected: no password, or a wrong one
                raise refused(self.address, _worded(error)) from None
            raise away(self.address, error) from error
        except BaseException:
            connection.disconnect()  # answers may be left in it
            raise
        with self._lock:
            self._idle.append(connection)

    def run(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together, and return their answers; a :class:`Refusal` where one is an error.

        Raises:
            OnlineStoreError: the server does not answer.
        """
        with self.connection() as connection:
            return exchange(connection, commands)

    def forget_idle(self) -> None:
        """Close the connections that nobody uses: the server went, and they with it."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.disconnect()

    close = forget_idle


def exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Send commands over a connection, and return their answers."""
    found: list[Any] = []
    at = 0
    while at < len(commands):
        packed: list[bytes] = []
        size, first = 0, at
        while at < len(commands) and size < _SENT_BYTES:
            parts = connection.pack_command(*commands[at])
            packed += parts
            size += sum(map(len, parts))
            at += 1
        connection.send_packed_command([b"".join(packed)], check_health=False)
        found += [answer(connection) for _ in range(at - first)]
    return found


def answer(connection: Any) -> Any:
    """Read one answer."""
    try:
        return connection.read_response(disconnect_on_error=False)
    except RedisError as error:
        if isinstance(error, ResponseError) or getattr(error, "status_code", None):
            return Refusal(_worded(error))
        raise


def _worded(error: Exception) -> str:
    """Return what a server said; redis-py takes the code off the errors that it has classes for."""
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)


def checked(found: Any, where: str) -> Any:
    """Return an answer.

    Raises:
        OnlineStoreError: it is an error.
    """
    if isinstance(found, Refusal):
        raise refused(where, found.said)
    return found
