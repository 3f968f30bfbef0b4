"""Which server has a bucket: the one there is, the master that sentinels name, or a master of a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from featurestore.errors import OnlineStoreAwayError, OnlineStoreError
from featurestore.online.redis.breaker import Breaker
from featurestore.online.redis.connecting import Command, Refusal, Server, answer, checked, exchange
from featurestore.online.redis.faults import PASSING, away, refused
from featurestore.online.redis.layout import SLOTS, Layout
from featurestore.online.redis.scripts import BY_SHA, Script
from featurestore.settings.online import RedisConfig

#: How often a command that a cluster sends elsewhere, or cannot take just now, is sent again; and the pause between.
_TRIES = 20
_PAUSE_SECONDS = 0.05


class Call(NamedTuple):
    """A command for the server that has a bucket."""

    bucket: int
    command: Command


def call(script: Script, bucket: int, keys: Sequence[bytes], values: Sequence[bytes | int]) -> Call:
    """Return the call of a script."""
    return Call(bucket, (b"EVALSHA", script.sha, len(keys), *keys, *values))


class Found(Protocol):
    """Finds servers."""

    def masters(self) -> list[Server]:
        """Return the servers that have rows, in a lasting order."""
        ...

    def of(self, bucket: int) -> Server:
        """Return the server that has a bucket."""
        ...

    def look_again(self) -> None:
        """Forget who has what: one of them is another now."""
        ...

    def at(self, address: str) -> Server:
        """Return the server at an address, which another one named."""
        ...

    def known(self) -> list[Server]:
        """Return every server that was ever spoken to."""
        ...


class Nodes:
    """The servers of a store, for commands that are waited for; threads may share it.

    Args:
        settings: whose passwords are read already.
        layout: says which slot a bucket is in.

    Attributes:
        interruptions: how often a server did not answer, or was another one than before: writes that were acknowledged
            a moment before may be lost then.
    """

    def __init__(self, settings: RedisConfig, layout: Layout) -> None:
        self._settings = settings
        self._layout = layout
        kinds: dict[str, Callable[[RedisConfig, Layout], Found]]
        kinds = {"single": _Single, "sentinel": _Sentinel, "cluster": _Cluster}
        self._found = kinds[settings.mode](settings, layout)
        self._breaker = Breaker(time.monotonic)
        self.interruptions = 0

    @property
    def where(self) -> str:
        """The addresses that are configured."""
        return ", ".join(self._settings.addresses)

    def masters(self) -> list[Server]:
        """Return the servers that have rows.

        Raises:
            OnlineStoreError: nobody tells.
        """
        return self._found.masters()

    def addresses(self) -> list[str]:
        """Return the address of each bucket's server, looked for anew.

        Raises:
            OnlineStoreError: nobody tells.
        """
        self._found.look_again()
        return [self._found.of(bucket).address for bucket in range(len(self._layout.heads))]

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Return the answers of calls, sent together to each server.

        Raises:
            OnlineStoreError: a server does not answer, or refuses one.
        """
        self._breaker.check()
        try:
            found = self._run(calls)
        except OnlineStoreAwayError as error:
            self.interruptions += 1
            self._breaker.failed(error)
            raise
        self._breaker.worked()
        return found

    def _run(self, calls: Sequence[Call]) -> list[Any]:
        found: list[Any] = [None] * len(calls)
        left = list(range(len(calls)))
        for attempt in range(_TRIES):
            elsewhere: list[int] = []
            by_server: dict[Server, list[int]] = {}
            try:
                for place in left:
                    by_server.setdefault(self._found.of(calls[place].bucket), []).append(place)
                answers = _exchanged({one: [calls[at].command for at in mine] for one, mine in by_server.items()})
            except OnlineStoreAwayError:
                # Once more: a connection that nobody used for long is often closed by what is between.
                self._found.look_again()
                for one in by_server:
                    one.forget_idle()
                if attempt:
                    raise
                self.interruptions += 1
                continue
            for server, places in by_server.items():
                for place, said in zip(places, answers[server], strict=True):
                    found[place] = self._settled(server, calls[place].command, said)
                    if isinstance(found[place], Refusal):
                        elsewhere.append(place)
            if not elsewhere:
                return found
            if attempt == _TRIES - 1 or found[elsewhere[0]].code not in ("MOVED", *PASSING):
                raise refused(self._found.of(calls[elsewhere[0]].bucket).address, found[elsewhere[0]].said)
            left = elsewhere
            self.interruptions += 1
            self._found.look_again()
            time.sleep(_PAUSE_SECONDS * min(attempt, 4))
        raise away(self.where, "it sends commands elsewhere again and again")

    def _settled(self, server: Server, command: Command, said: Any) -> Any:
        """Return an answer, after what can be done about one that is an error."""
        if not isinstance(said, Refusal):
            return said
        if said.code == "NOSCRIPT":
            text = BY_SHA[command[1]].text  # type: ignore[index]
            return server.run([(b"SCRIPT", b"LOAD", text), command])[1]
        if said.code == "ASK":  # the slot is on its way to another server
            return self._found.at(said.said.split()[-1]).run([(b"ASKING",), command])[1]
        return said

    def replicated(self, buckets: Sequence[int], copies: int, seconds: float) -> bool:
        """Return whether so many replicas have all that was written to the servers of some buckets, within a time.

        With ``copies`` 0 it is one, of each server that has replicas.

        Raises:
            OnlineStoreError: a server does not answer.
        """
        of = {self._found.of(bucket): bucket for bucket in buckets}
        if not copies:
            roles = _exchanged({one: [(b"ROLE",)] for one in of})
            of = {one: bucket for one, bucket in of.items() if len(_role(roles[one][0])) > 2 and roles[one][0][2]}
            copies = 1
        # It waits for the writes of its own connection, so there is one; all others came before it.
        wait: Command = (b"WAIT", copies, int(seconds * 1000))
        found = _exchanged({one: [(b"SET", self._layout.heads[at] + b"w", b""), wait] for one, at in of.items()})
        return all(checked(found[one][1], one.address) >= copies for one in of)

    def close(self) -> None:
        """Close all connections."""
        for one in self._found.known():
            one.close()


def _role(said: Any) -> Sequence[Any]:
    """Return what ROLE says; nothing of a server that does not tell."""
    return () if isinstance(said, Refusal) else said


def _exchanged(commands: dict[Server, list[Command]]) -> dict[Server, list[Any]]:
    """Return the answers of servers, each asked before the first is waited for if there are few commands."""
    if not commands:
        return {}
    if len(commands) == 1:
        ((server, mine),) = commands.items()
        return {server: server.run(mine)}
    found: dict[Server, list[Any]] = {}
    waiting = list(commands.items())

    def step(at: int) -> None:
        if at == len(waiting):
            return
        server, mine = waiting[at]
        with server.connection() as connection:
            first, rest = mine[:_AHEAD], mine[_AHEAD:]
            connection.send_packed_command(connection.pack_commands(first), check_health=False)
            step(at + 1)
            found[server] = [answer(connection) for _ in first] + exchange(connection, rest)

    step(0)
    return found


#: Commands that are sent to each server before the first is waited for.
_AHEAD = 64


class _Single:
    """One server."""

    def __init__(self, settings: RedisConfig, layout: Layout) -> None:
        del layout
        self._server = Server(settings.addresses[0], settings)

    def masters(self) -> list[Server]:
        return [self._server]

    def of(self, bucket: int) -> Server:
        del bucket
        return self._server

    def look_again(self) -> None:
        """There is no other."""

    def at(self, address: str) -> Server:
        raise refused(self._server.address, f"MOVED {address}")

    def known(self) -> list[Server]:
        return [self._server]


class _Sentinel:
    """The master that the sentinels name."""

    def __init__(self, settings: RedisConfig, layout: Layout) -> None:
        del layout
        self._settings = settings
        self._sentinels = [Server(one, settings, sentinel=True) for one in settings.addresses]
        self._lock = threading.Lock()
        self._servers: dict[str, Server] = {}
        self._master: Server | None = None

    def masters(self) -> list[Server]:
        return [self.of(0)]

    def of(self, bucket: int) -> Server:
        del bucket
        with self._lock:
            if self._master is None:
                self._master = self._named()
            return self._master

    def _named(self) -> Server:
        errors: list[OnlineStoreError] = []
        unknown = f'the sentinels know no master "{self._settings.master}"'
        for one in self._sentinels:
            try:
                (said,) = one.run([(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._settings.master.encode())])
            except OnlineStoreError as error:
                errors.append(error)
                continue
            if isinstance(said, Refusal):
                errors.append(refused(one.address, said.said))
            elif said is not None:
                host, port = (part.decode() for part in said)
                address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                return self._servers.setdefault(address, Server(address, self._settings))
        if errors:
            raise errors[0]
        raise away(", ".join(self._settings.addresses), unknown)

    def look_again(self) -> None:
        with self._lock:
            self._master = None

    def at(self, address: str) -> Server:
        return self._servers.setdefault(address, Server(address, self._settings))

    def known(self) -> list[Server]:
        return [*self._sentinels, *self._servers.values()]


class _Cluster:
    """The masters of a cluster, by slot."""

    def __init__(self, settings: RedisConfig, layout: Layout) -> None:
        self._settings = settings
        self._layout = layout
        self._lock = threading.Lock()
        self._servers: dict[str, Server] = {}
        self._by_slot: list[str] | None = None

    def masters(self) -> list[Server]:
        return [self.at(one) for one in sorted(set(self._slots()))]

    def of(self, bucket: int) -> Server:
        address = self._slots()[self._layout.slots[bucket]]
        if not address:
            raise away(", ".join(self._settings.addresses), "no server has one of the slots")
        return self.at(address)

    def _slots(self) -> list[str]:
        with self._lock:
            if self._by_slot is None:
                self._by_slot = self._asked()
            return self._by_slot

    def _asked(self) -> list[str]:
        error: OnlineStoreError | None = None
        for address in dict.fromkeys([*self._servers, *self._settings.addresses]):
            server = self.at(address)
            try:
                (said,) = server.run([(b"CLUSTER", b"SLOTS")])
            except OnlineStoreError as one:
                error = one
                continue
            if isinstance(said, Refusal):
                error = refused(address, said.said)
                continue
            return slots_of(said, address)
        assert error is not None  # noqa: S101 - there is an address
        raise error

    def look_again(self) -> None:
        with self._lock:
            self._by_slot = None

    def at(self, address: str) -> Server:
        return self._servers.setdefault(address, Server(address, self._settings))

    def known(self) -> list[Server]:
        return list(self._servers.values())


def slots_of(said: Sequence[Any], asked: str) -> list[str]:
    """Return the address of the master of each slot, as CLUSTER SLOTS tells it; empty for a slot that nobody has.

    Args:
        said: the answer.
        asked: the address of who gave it, which may not know its own host.
    """
    found = [""] * SLOTS
    for first, last, master, *_ in said:
        host = (master[0] or b"").decode() or asked.rpartition(":")[0]
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        found[first : last + 1] = [f"{host}:{master[1]}"] * (last + 1 - first)
    return found
