"""What the servers of a store tell of themselves, for whoever looks whether they are set as a store needs them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from featurestore.errors import OnlineStoreAwayError, OnlineStoreError
from featurestore.online.redis.connecting import Command, Refusal, Server
from featurestore.online.redis.layout import Layout
from featurestore.online.redis.nodes import Nodes, slots_of
from featurestore.settings.online import RedisConfig

_NO_SCRIPT = b"0" * 40


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """One server that has rows.

    Attributes:
        address: where it is.
        product: ``Redis`` or ``Valkey``; "" where it does not tell of itself.
        version: of its protocol and commands, as Redis counts; empty where it does not tell.
        role: ``master``, or what else it is.
        policy: what it does when its memory is full: ``noeviction``.
        limit: bytes that it may take; 0 is no limit.
        used: bytes that it takes.
        keeps_files: whether it keeps a log or snapshots of its rows; None where it does not tell.
        write_errors: what it could not write to its disk last: ``a snapshot``.
        replicas: that follow it now.
        forbidden: commands of a store that the user may not run.
        keys_forbidden: whether the user may not use keys of the store's prefix.
    """

    address: str
    product: str = ""
    version: tuple[int, ...] = ()
    role: str = ""
    policy: str = ""
    limit: int = 0
    used: int = 0
    keeps_files: bool | None = None
    write_errors: tuple[str, ...] = ()
    replicas: int = 0
    forbidden: tuple[str, ...] = ()
    keys_forbidden: bool = False


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """The servers of a store.

    Attributes:
        servers: those that answer, as far as they tell.
        away: by address, why one does not.
        uncovered: slots of a cluster that no server has.
    """

    servers: tuple[ServerFacts, ...]
    away: tuple[tuple[str, OnlineStoreError], ...] = ()
    uncovered: int = 0


def store_facts(settings: RedisConfig) -> StoreFacts:
    """Ask every server that has rows; nothing of the store is changed.

    Raises:
        OnlineStoreError: nobody tells which servers there are.
    """
    layout = Layout(settings.prefix, cluster=settings.mode == "cluster")
    nodes = Nodes(settings, layout)
    try:
        servers = [one for one in nodes.masters() if one.address]
        told: list[ServerFacts] = []
        away: list[tuple[str, OnlineStoreError]] = []
        uncovered = 0
        for server in servers:
            try:
                told.append(_facts(server, settings.prefix, cluster=layout.many))
                if layout.many:
                    (said,) = server.run([(b"CLUSTER", b"SLOTS")])
                    if not isinstance(said, Refusal):
                        uncovered = max(uncovered, slots_of(said, server.address).count(""))
            except OnlineStoreAwayError as error:
                away.append((server.address, error))
        return StoreFacts(servers=tuple(told), away=tuple(away), uncovered=uncovered)
    finally:
        nodes.close()


def _facts(server: Server, prefix: str, *, cluster: bool) -> ServerFacts:
    forbidden, keys = _rights(server, prefix, cluster=cluster)
    said = server.run([(b"INFO",), (b"CONFIG", b"GET", b"save")])
    if isinstance(said[0], Refusal):
        return ServerFacts(address=server.address, forbidden=forbidden, keys_forbidden=keys)
    info = dict(line.split(":", 1) for line in said[0].decode().splitlines() if ":" in line)
    logs = info.get("aof_enabled") == "1"
    saves = None if isinstance(said[1], Refusal) else len(said[1]) > 1 and bool(said[1][1])
    failed = {
        "a snapshot": info.get("rdb_last_bgsave_status"),
        "its log anew": info.get("aof_last_bgrewrite_status"),
        "its log": info.get("aof_last_write_status"),
    }
    return ServerFacts(
        address=server.address,
        product="Valkey" if "valkey_version" in info else "Redis",
        version=tuple(int(part) for part in info.get("redis_version", "").split(".") if part.isdigit()),
        role=info.get("role", ""),
        policy=info.get("maxmemory_policy", ""),
        limit=int(info.get("maxmemory", 0)),
        used=int(info.get("used_memory", 0)),
        keeps_files=True if logs else saves,
        write_errors=tuple(what for what, state in failed.items() if state not in (None, "ok")),
        replicas=sum(
            name.startswith("slave") and "state=online" in value
            for name, value in info.items()
            if name.removeprefix("slave").isdigit()
        ),
        forbidden=forbidden,
        keys_forbidden=keys,
    )


def _rights(server: Server, prefix: str, *, cluster: bool) -> tuple[tuple[str, ...], bool]:
    """Return which commands the user may not run, and whether it may not use the keys; found out by trying.

    Each is tried on a key of its own, which is gone afterwards, or so that it does nothing. What is refused for
    another reason, as a slot that is another server's, is not forbidden.
    """
    key = b"%b{doctor}:%b" % (prefix.encode(), uuid.uuid4().bytes)
    tried: dict[str, Command] = {
        "ping": (b"PING",),
        "time": (b"TIME",),
        "info": (b"INFO", b"server"),
        "role": (b"ROLE",),
        "set": (b"SET", key, b"probe", b"PX", 10_000),
        "get": (b"GET", key),
        "mget": (b"MGET", key),
        "strlen": (b"STRLEN", key),
        "getrange": (b"GETRANGE", key, 0, 0),
        "setrange": (b"SETRANGE", key, 0, b"P"),
        "pexpire": (b"PEXPIRE", key, 10_000),
        "pexpireat": (b"PEXPIREAT", key, 1),
        "persist": (b"PERSIST", key),
        "scan": (b"SCAN", 0, b"COUNT", 1),
        "evalsha": (b"EVALSHA", _NO_SCRIPT, 0),
        "script|load": (b"SCRIPT", b"LOAD", b"return 1"),
        "wait": (b"WAIT", 0, 1),
        "config|get": (b"CONFIG", b"GET", b"save"),
        "bgsave": (b"BGSAVE", b"NOTHING"),  # which is no option of it
        "unlink": (b"UNLINK", key),
        "del": (b"DEL", key),
    }
    if cluster:
        tried["cluster|slots"] = (b"CLUSTER", b"SLOTS")
        tried["asking"] = (b"ASKING",)
    answers = dict(zip(tried, server.run(list(tried.values())), strict=True))
    denied = {name: one.said for name, one in answers.items() if _denied(one)}
    keys = {name for name, said in denied.items() if " key" in said}
    return tuple(name for name in denied if name not in keys), bool(keys)


def _denied(said: Any) -> bool:
    return isinstance(said, Refusal) and said.code == "NOPERM"
