"""The online store over TLS, behind sentinels and in a cluster: real servers, each killed where it matters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from redis import Redis

from featurestore.errors import OnlineStoreAwayError, OnlineStoreError
from featurestore.online.base import oldest_order
from featurestore.online.redis.store import RedisStore
from featurestore.settings.online import RedisConfig
from tests.featurestore.serving.conftest import Authority
from tests.redis_servers import RedisServer, emptied, redis_program, until

Lacking = Callable[[str], NoReturn]


def at(event: int, content: bytes = b"") -> bytes:
    return oldest_order(event) + bytes(24) + content


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Store CA")


# TLS


@pytest.fixture(scope="module")
def tls_server(lacking: Lacking, authority: Authority) -> Iterator[tuple[RedisServer, Path]]:
    program = redis_program(lacking)
    server = RedisServer(program, "--save", "", tls=True)
    folder = server.folder
    (folder / "ca.pem").write_bytes(authority.pem)
    for name in ("server", "client"):
        certificate, key = authority.issue()
        (folder / f"{name}.pem").write_bytes(certificate)
        (folder / f"{name}.key").write_bytes(key)
    server.add("--tls-ca-cert-file", str(folder / "ca.pem"))
    server.add("--tls-cert-file", str(folder / "server.pem"), "--tls-key-file", str(folder / "server.key"))
    server.start()
    yield server, folder
    server.remove()


def tls_settings(server: RedisServer, **tls: object) -> RedisConfig:
    values = {"type": "redis", "addresses": [server.address], "tls": {"enabled": True, **tls}}
    return RedisConfig.model_validate(values)


def test_rows_go_over_tls_with_a_certificate_of_ours(tls_server: tuple[RedisServer, Path]) -> None:
    server, folder = tls_server
    files = {"ca_file": "ca.pem", "certificate": "client.pem", "key": "client.key"}
    store = RedisStore(tls_settings(server, **{key: str(folder / name) for key, name in files.items()}))
    assert store.put_newest("a-1", [(b"k", at(1))]) == (1, 0)

    async def read() -> list[list[bytes | None]]:
        waiting = store.waiting()
        found = await waiting.read([("a-1", [b"k"])])
        await waiting.close()
        return found.values

    assert asyncio.run(read()) == [[at(1)]] == store.read([("a-1", [b"k"])]).values
    store.close()


def test_a_server_that_nobody_vouches_for_is_refused_with_what_to_check(
    tls_server: tuple[RedisServer, Path], tmp_path: Path
) -> None:
    server, _ = tls_server
    (tmp_path / "other.pem").write_bytes(Authority("Somebody").pem)
    store = RedisStore(tls_settings(server, ca_file=str(tmp_path / "other.pem")))
    with pytest.raises(OnlineStoreAwayError, match="by TLS") as caught:
        store.read([])
    assert "[online.tls]" in caught.value.hint

    async def read() -> None:
        waiting = store.waiting()
        try:
            await waiting.read([])
        finally:
            await waiting.close()

    with pytest.raises(OnlineStoreAwayError, match="by TLS"):
        asyncio.run(read())
    store.close()


# Sentinel


@pytest.fixture
def watched(lacking: Lacking) -> Iterator[tuple[RedisConfig, list[RedisServer]]]:
    """Yield settings that name a sentinel, and the master and the replica that it watches."""
    program = redis_program(lacking)
    master = RedisServer(program, "--save", "", "--repl-diskless-sync-delay", "0")
    replica = RedisServer(program, "--save", "", "--replicaof", "127.0.0.1", str(master.port))
    sentinel = RedisServer(program)
    servers = [master, replica, sentinel]
    try:
        master.start()
        replica.start()
        (sentinel.folder / "sentinel.conf").write_text(
            f"sentinel monitor shop 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds shop 300\nsentinel failover-timeout shop 2000\n"
        )
        sentinel.add_first(str(sentinel.folder / "sentinel.conf"), "--sentinel")
        with replica.client() as client:
            until(lambda: client.info("replication")["master_link_status"] == "up")
        sentinel.start()
        with Redis(host="127.0.0.1", port=sentinel.port, decode_responses=True) as client:
            until(lambda: client.sentinel_master("shop")["num-slaves"] == 1)
        settings = RedisConfig(type="redis", mode="sentinel", master="shop", addresses=(sentinel.address,))
        yield settings, [master, replica]
    finally:
        for one in servers:
            one.remove()


def test_the_replica_that_sentinels_promote_is_gone_on_with(watched: tuple[RedisConfig, list[RedisServer]]) -> None:
    settings, (master, _) = watched
    unknown = RedisStore(settings.model_copy(update={"master": "other"}))
    with pytest.raises(OnlineStoreAwayError, match='know no master "other"'):
        unknown.read([])
    unknown.close()
    store = RedisStore(settings.model_copy(update={"replicas": 1}))
    rows = [(b"%d" % number, at(7, b"%d" % number)) for number in range(100)]
    assert store.put_step("a-1", rows, expected=None, progress=lambda _: b"done") == (100, 0)
    right = [value for _, value in rows]

    async def run() -> None:
        waiting = store.waiting()
        asked = [("a-1", [key for key, _ in rows])]
        assert (await waiting.read(asked)).values == [right]
        await asyncio.to_thread(master.kill)
        ends = time.monotonic() + 25
        errors = 0
        while time.monotonic() < ends:
            try:
                found = await waiting.read(asked, 0.5)
            except OnlineStoreAwayError:
                errors += 1
                await asyncio.sleep(0.05)
            else:
                break
        assert found.values == [right]
        assert errors
        await waiting.close()

    asyncio.run(run())
    with pytest.raises(OnlineStoreError, match="Fewer than 1 replicas"):  # the one there was is the master now
        store.put_newest("a-1", [(b"new", at(8))])
    assert store.read([("a-1", [b"new"])]).values == [[at(8)]]
    store.close()


# Cluster


def test_the_rows_of_an_entity_are_in_one_slot_and_a_lookup_asks_each_server_once(
    redis_cluster: list[RedisServer],
) -> None:
    store = RedisStore(emptied(*redis_cluster))
    keys = [b"%d" % number for number in range(60)]
    store.put_all({name: [(key, at(1, name.encode() + key)) for key in keys] for name in ("a-1", "b-1", "c-1")})
    slots: dict[bytes, set[int]] = {}
    with redis_cluster[0].client() as client:
        for name, number in (("a-1", 1), ("b-1", 2), ("c-1", 3)):
            assert name
            for key in keys:
                head = store.layout.heads[store.layout.bucket(key)]
                slot = client.execute_command("CLUSTER", "KEYSLOT", head + b"%d.1:" % number + key)
                slots.setdefault(key, set()).add(slot)
    assert all(len(found) == 1 for found in slots.values())
    asked = [(name, keys) for name in ("a-1", "b-1", "c-1")]
    right = [[at(1, name.encode() + key) for key in keys] for name, _ in asked]

    async def read() -> list[list[bytes | None]]:
        waiting = store.waiting()
        found = (await waiting.read(asked, 5.0)).values
        assert (await waiting.read([(name, keys[:1]) for name, _ in asked])).values == [one[:1] for one in right]
        for place, key in enumerate(keys):
            one = await waiting.read_one(("a-1", "b-1", "c-1"), key, 5.0)
            assert one.values == [values[place] for values in right]
        await waiting.close()
        return found

    assert store.read(asked).values == right == asyncio.run(read())
    store.close()


def test_a_slot_that_has_moved_is_followed(redis_cluster: list[RedisServer]) -> None:
    store = RedisStore(emptied(*redis_cluster))
    store.put_newest("a-1", [(b"k", at(1))])
    bucket = store.layout.bucket(b"k")
    absent = next(key for key in map(b"%d".__mod__, range(10**6)) if store.layout.bucket(key) == bucket)
    slot, owner = store.layout.slots[bucket], store._nodes._found.of(bucket).address
    source = next(one for one in redis_cluster if one.address == owner)
    target = next(one for one in redis_cluster if one.address != owner)
    clients = {one: one.client() for one in redis_cluster}
    names = {one: client.execute_command("CLUSTER", "MYID").decode() for one, client in clients.items()}

    async def run() -> None:
        waiting = store.waiting()
        assert (await waiting.read_one(("a-1",), b"k")).values == [at(1)]
        assert (await waiting.read([("a-1", [b"k"])])).values == [[at(1)]]
        clients[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source])
        clients[source].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        moving = clients[source].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100)
        for key in moving:
            clients[source].execute_command("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
        assert (await waiting.read_one(("a-1",), b"k")).values == [at(1)]  # by ASK
        # Where some of what is asked for is not there, a cluster says so only once the slot has moved.
        for read in (waiting.read_one(("a-1",), absent), waiting.read([("a-1", [absent])])):
            with pytest.raises(OnlineStoreAwayError, match="TRYAGAIN"):
                await read
        assert (await waiting.read([("a-1", [b"k"])])).values == [[at(1)]]
        assert store.read([("a-1", [b"k"])]).values == [[at(1)]]
        for client in clients.values():
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", names[target])
        assert (await waiting.read_one(("a-1",), b"k")).values == [at(1)]  # by MOVED
        assert (await waiting.read_one(("a-1",), absent)).values == [None]
        assert (await waiting.read([("a-1", [b"k"])])).values == [[at(1)]]
        await waiting.close()

    try:
        asyncio.run(run())
        assert store.read([("a-1", [b"k"])]).values == [[at(1)]]
        assert store.put_newest("a-1", [(b"k", at(3))]) == (1, 0)
    finally:
        for client in clients.values():
            client.close()
        store.close()


def test_a_server_that_is_no_cluster_or_is_one_is_told_from_the_other(
    redis_cluster: list[RedisServer], redis_server: RedisServer
) -> None:
    single = RedisStore(RedisConfig(type="redis", mode="cluster", addresses=(redis_server.address,)))
    with pytest.raises(OnlineStoreError, match="refuses") as caught:
        single.read([])
    assert 'mode = "single"' in caught.value.hint
    single.close()
    errors = []
    for server in redis_cluster:
        store = RedisStore(RedisConfig(type="redis", addresses=(server.address,)))
        try:
            store.read([("a-1", [b"k"])])
        except OnlineStoreError as error:
            errors.append(error)
        store.close()
    assert errors
    assert all('mode = "cluster"' in error.hint for error in errors)
