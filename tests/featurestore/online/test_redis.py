"""The online store on Redis: what the contract suite does not ask, as it is no matter of every store."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from featurestore.errors import OnlineStoreAwayError, OnlineStoreError
from featurestore.online.base import oldest_order
from featurestore.online.redis.breaker import Breaker
from featurestore.online.redis.faults import away
from featurestore.online.redis.gets import Gets, Known
from featurestore.online.redis.layout import BUCKETS, Layout, slot_of, tags
from featurestore.online.redis.state import State
from featurestore.online.redis.store import RedisStore
from featurestore.online.redis.wire import packed
from featurestore.online.upkeep import expire, retain
from featurestore.settings.online import RedisConfig
from tests.redis_servers import RedisServer, redis_program, until

HOUR = 3_600_000_000
#: Seconds by which a busy machine may be late.
SLACK = 2.0
#: A name has its length before it; one of the keys has bytes that separate names.
KEYS = st.sampled_from((b"", b"k", b"\r\n$1\r\n", b"k" * 9, b"k" * 480)) | st.binary(max_size=12)


def at(event: int, content: bytes = b"") -> bytes:
    return oldest_order(event) + bytes(24) + content


@pytest.fixture
def store(redis_settings: RedisConfig) -> Iterator[RedisStore]:
    opened = RedisStore(redis_settings, patience=5)
    yield opened
    opened.close()


@pytest.fixture
def own_server(lacking: Callable[[str], NoReturn]) -> Iterator[RedisServer]:
    """Yield a server that a test may kill; it has its rows on the disk."""
    server = RedisServer(redis_program(lacking), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.remove()


def settings_of(server: RedisServer, **more: object) -> RedisConfig:
    return RedisConfig.model_validate({"type": "redis", "addresses": [server.address], **more})


# Names


def test_every_bucket_has_a_slot_of_its_own_evenly_over_all() -> None:
    assert [slot_of(tag) for tag in tags()] == [bucket * 16_384 // BUCKETS for bucket in range(BUCKETS)]
    layout = Layout("shop", cluster=True)
    assert layout.heads[0] == b"shop{%b}:" % tags()[0]
    spread = [len(places) for places in layout.by_bucket(b"%d" % number for number in range(20_000)).values()]
    assert len(spread) == BUCKETS
    assert max(spread) < 60


def test_the_slot_of_a_tag_is_that_of_the_specifications_example() -> None:
    assert slot_of(b"123456789") == 12739


# Commands

ASKED = st.lists(
    st.tuples(st.sampled_from(("a-1", "b-1", "never")), st.lists(st.none() | KEYS, max_size=6)), max_size=4
)


@given(ASKED | st.lists(st.tuples(st.just("a-1"), st.lists(st.binary(min_size=9, max_size=9), max_size=9)), max_size=3))
def test_a_read_is_sent_as_the_library_would_send_it(requests: list[tuple[str, list[bytes | None]]]) -> None:
    known = Known(many=False)
    known.state = State.read(None).with_tables(["a-1", "b-1"])
    gets = Gets(Layout("shop", cluster=False), known, requests)
    assert gets.packed() == packed(gets.command(0))


# State


def test_a_table_that_is_gone_never_gives_its_number_to_another() -> None:
    state = State.read(None).with_tables(["a", "b"])
    assert [table.number for table in state.tables.values()] == [1, 2]
    again = State.read(state.empty().record).with_tables(["c"])
    assert again.tables["c"].number == 3
    assert again.version > state.version


def test_a_store_of_a_later_release_is_refused_with_what_to_do(store: RedisStore, redis_server: RedisServer) -> None:
    store.put_newest("a-1", [(b"k", at(1))])
    with redis_server.client() as client:
        client.set("featurestore:s", b"%016x" % (1 << 50) + b'{"format":2,"clock":null,"last":0,"tables":{}}')
    for use in (lambda: store.read([("a-1", [b"k"])]), lambda: store.put_newest("a-1", [(b"k", at(2))])):
        with pytest.raises(OnlineStoreError, match="format 2, of a newer release; this one, ") as caught:
            use()
        assert "Or materialize into a new store" in caught.value.hint


# One round trip


def test_a_lookup_is_one_command_whatever_the_number_of_tables(store: RedisStore, redis_server: RedisServer) -> None:
    tables = [f"view-{number}" for number in range(5)]
    store.put_all({name: [(b"k", at(1))] for name in tables})
    with redis_server.client() as client:
        client.config_resetstat()
        found = store.read([(name, [b"k", b"other"]) for name in tables])
        calls = {name: one["calls"] for name, one in client.info("commandstats").items()}
    assert found.values == [[at(1), None]] * 5
    assert {name: count for name, count in calls.items() if "mget" in name} == {"cmdstat_mget": 1}
    assert not [name for name in calls if "get" in name and "mget" not in name]


# Scripts


def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(
    store: RedisStore, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.script_flush()
    assert store.put_newest("a-1", [(b"k", at(1))]) == (1, 0)


def test_of_writers_at_once_the_newest_row_is_left(redis_settings: RedisConfig) -> None:
    events = list(range(200))

    def write(mine: list[int]) -> None:
        one = RedisStore(redis_settings)
        for event in mine:
            one.put_newest("a-1", [(b"%d" % key, at(event, b"%d" % event)) for key in range(5)])
        one.close()

    threads = [threading.Thread(target=write, args=(events[first::4][::-1],)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = RedisStore(redis_settings)
    assert store.read([("a-1", [b"%d" % key for key in range(5)])]).values == [[at(199, b"199")] * 5]
    store.close()


def test_many_rows_are_written_in_pieces_and_counted(store: RedisStore) -> None:
    rows = [(b"%d" % number, at(number)) for number in range(3_000)]
    assert store.put_newest("a-1", rows) == (3_000, 0)
    assert store.put_newest("a-1", rows) == (0, 3_000)
    assert store.status()["a-1"].rows == 3_000


def test_a_holder_that_was_killed_is_waited_for_and_a_late_one_does_no_harm(
    store: RedisStore, redis_settings: RedisConfig, redis_server: RedisServer
) -> None:
    store.put_newest("a-1", [(b"k", at(1))])
    impatient = RedisStore(redis_settings, patience=0.05)
    with store._holding.held("a-1", 1) as token:
        with pytest.raises(OnlineStoreError, match="Somebody else has written"):
            impatient.put_newest("a-1", [(b"k", at(2))])
        with redis_server.client() as client:
            client.delete("featurestore:l1")  # as when its lease has ended
        assert impatient.put_newest("a-1", [(b"k", at(3))]) == (1, 0)
        with pytest.raises(OnlineStoreError, match="not heard of for too long"):
            store._note(1, token, b"progress")
    assert store.standing("a-1").progress is None
    impatient.close()


def test_whoever_waits_for_a_table_that_another_holds_says_so_once_after_a_second(
    store: RedisStore, redis_settings: RedisConfig
) -> None:
    store.put_newest("a-1", [(b"k", at(1))])
    waiting = RedisStore(redis_settings, patience=1.5)
    uses: tuple[Callable[[], object], ...] = (
        lambda: waiting.replace("a-1", []),
        lambda: waiting.put_newest("a-1", [(b"k", at(2))]),
    )
    with store._holding.held("a-1", 1):
        for use in uses:
            with capture_logs() as logs, pytest.raises(OnlineStoreError, match=r"for 1\.5 s: a-1"):
                use()
            assert [(one["table"], one["seconds_at_most"], one["hint"]) for one in logs] == [
                ("a-1", 1.5, "One that was killed lets go within 30 s.")
            ]
    with capture_logs() as logs:
        waiting.replace("a-1", [])
    assert logs == [], "nobody waited"
    waiting.close()


def test_a_replacement_that_was_killed_leaves_rows_that_nobody_sees_and_the_next_removes(
    store: RedisStore, redis_server: RedisServer
) -> None:
    store.put_newest("a-1", [(b"k", at(1))])
    with redis_server.client() as client:
        client.set("featurestore:g1", 2)
        client.set("featurestore:1.2:left", at(9))
        assert store.replace("a-1", [(b"k", at(2))]) == 3
        until(lambda: client.keys("featurestore:1.*") == [b"featurestore:1.3:k"])
    assert list(store.keys("a-1")) == [b"k"]


# Expiry


def test_the_server_removes_rows_by_itself_and_that_is_known(store: RedisStore, redis_server: RedisServer) -> None:
    now = datetime.now(UTC)
    micros = int(now.timestamp() * 1e6)
    assert retain(store, "a-1", timedelta(hours=3))  # a new table: all its rows are told as they come
    store.put_newest("a-1", [(b"young", at(micros - HOUR)), (b"old", at(micros - 5 * HOUR))])
    assert store.read([("a-1", [b"young", b"old"])]).values == [[at(micros - HOUR), None]]
    with redis_server.client() as client:
        left = client.pttl("featurestore:1.1:young")
    assert timedelta(hours=2, minutes=59) < timedelta(milliseconds=left) <= timedelta(hours=3)  # and one of grace
    standing = store.standing("a-1")
    assert standing.expired >= 1
    assert standing.expired_before is not None
    assert abs(standing.expired_before - (micros - 4 * HOUR)) < 60_000_000


def test_rows_from_before_are_told_when_a_ttl_changes(store: RedisStore, redis_server: RedisServer) -> None:
    now = datetime.now(UTC)
    micros = int(now.timestamp() * 1e6)
    store.put_newest("a-1", [(b"young", at(micros - HOUR)), (b"old", at(micros - 5 * HOUR))])
    assert expire(store, {"a-1": timedelta(hours=3)}, now) == 1
    assert retain(store, "a-1", timedelta(hours=3))
    with redis_server.client() as client:
        assert client.pttl("featurestore:1.1:young") > 0
        assert expire(store, {"a-1": None}, now) == 0
        assert client.pttl("featurestore:1.1:young") == -1
        calls = client.info("commandstats")["cmdstat_scan"]["calls"]
        expire(store, {"a-1": None}, now)
        assert client.info("commandstats")["cmdstat_scan"]["calls"] == calls, "told once, it is not looked at again"


# A server that is away


def test_a_breaker_tries_again_ever_less_often() -> None:
    now = 0.0
    breaker = Breaker(lambda: now)
    breaker.check()
    pauses = [breaker.failed(OnlineStoreError("away")) for _ in range(10)]
    assert all(0.075 <= pause <= 2 for pause in pauses)
    assert pauses[0] < pauses[3] < pauses[-1]
    with pytest.raises(OnlineStoreError, match="away"):
        breaker.check()
    now = 2.1
    breaker.check()
    breaker.worked()
    assert breaker.failures == 0


def test_a_server_that_is_killed_under_load_costs_errors_while_it_is_away_and_no_wrong_answer(
    own_server: RedisServer,
) -> None:
    store = RedisStore(settings_of(own_server))
    keys = [b"%d" % number for number in range(50)]
    store.put_newest("a-1", [(key, at(7, key)) for key in keys])
    right = [at(7, key) for key in keys]
    errors: list[OnlineStoreError] = []
    slowest = 0.0
    wrong: list[object] = []
    answered_after = 0

    async def ask(ended: asyncio.Event, seconds: float | None, *, one: bool) -> None:
        nonlocal slowest, answered_after
        while not ended.is_set():
            began = time.monotonic()
            try:
                if one:
                    found = [(await waiting.read_one(("a-1",), key, seconds)).values[0] for key in keys]
                else:
                    found = (await waiting.read([("a-1", keys)], seconds)).values[0]
            except OnlineStoreError as error:
                errors.append(error)
                await asyncio.sleep(0.005)
            else:
                if found != right:
                    wrong.append(found)
                answered_after += bool(errors)
            slowest = max(slowest, time.monotonic() - began)

    async def run() -> None:
        ended = asyncio.Event()
        ways = [(seconds, one) for seconds in (0.5, None) for one in (False, True)] * 2
        asking = [asyncio.create_task(ask(ended, seconds, one=one)) for seconds, one in ways]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(own_server.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(own_server.start)
        until_then = time.monotonic() + 20
        while not answered_after and time.monotonic() < until_then:
            await asyncio.sleep(0.02)
        ended.set()
        await asyncio.gather(*asking)
        await waiting.close()

    waiting = store.waiting()
    asyncio.run(run())
    assert wrong == []
    assert errors
    assert answered_after
    # While it starts it says that it loads, which is no answer either.
    assert all(isinstance(error, OnlineStoreAwayError) for error in errors)
    assert "featurestore.toml" in errors[0].hint
    assert slowest < 5, "nobody waits for a server that is known to be away"
    assert store.interruptions() > 0
    store.close()


def test_a_server_that_is_silent_is_away_within_the_callers_deadline(own_server: RedisServer) -> None:
    store = RedisStore(settings_of(own_server, timeout_seconds=0.4))
    store.put_newest("a-1", [(b"k", at(7))])

    async def run() -> None:
        waiting = store.waiting()
        assert (await waiting.read([("a-1", [b"k"])])).values == [[at(7)]]
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(OnlineStoreAwayError, match="no answer within 150 ms"):
                await waiting.read([("a-1", [b"k"])], 0.15)
            with pytest.raises(OnlineStoreAwayError, match="no answer within 150 ms"):
                await waiting.read_one(("a-1",), b"k", 0.15)
            assert time.monotonic() - began < 2
            with pytest.raises(OnlineStoreAwayError, match="no answer within"):
                await waiting.read([("a-1", [b"k"])])
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        for _ in range(200):
            try:
                found = await waiting.read([("a-1", [b"k"])])
            except OnlineStoreAwayError:
                await asyncio.sleep(0.05)
            else:
                break
        assert found.values == [[at(7)]]
        await waiting.close()

    asyncio.run(run())
    store.close()


def test_a_caller_without_time_is_told_so_while_the_others_wait_on(own_server: RedisServer) -> None:
    store = RedisStore(settings_of(own_server, timeout_seconds=20.0))
    store.put_newest("a-1", [(b"k", at(7))])

    async def late(seconds: float) -> float:
        began = time.monotonic()
        with pytest.raises(OnlineStoreAwayError, match=f"no answer within {seconds * 1000:.0f} ms"):
            await waiting.read_one(("a-1",), b"k", seconds)
        return time.monotonic() - began

    async def run() -> None:
        assert (await waiting.read_one(("a-1",), b"k")).values == [at(7)]
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            patient = [asyncio.create_task(waiting.read_one(("a-1",), b"k", left)) for left in (None, 19.0)]
            told = await asyncio.gather(late(0.2), late(0.1), late(0.3))
            assert not any(task.done() for task in patient)
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        assert told[0] < 0.2 + SLACK
        assert told[1] < 0.1 + SLACK
        assert [(await task).values for task in patient] == [[at(7)], [at(7)]]
        # The answers to those that have gone were theirs alone.
        assert (await waiting.read_one(("a-1", "a-1"), b"k")).values == [at(7), at(7)]
        await waiting.close()

    waiting = store.waiting()
    asyncio.run(run())
    assert store.interruptions() == 0
    store.close()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("a-1", "b-1", "c-1")), KEYS, st.booleans()), max_size=12))
def test_one_key_is_read_as_many_are(redis_settings: RedisConfig, writes: list[tuple[str, bytes, bool]]) -> None:
    """Keys of all lengths, of tables that were never written, and of some that another process has replaced."""
    store, other = RedisStore(redis_settings), RedisStore(redis_settings)
    store.clear()

    async def run() -> None:
        waiting = store.waiting()
        for number, (table, key, whole) in enumerate(writes):
            row = (key, at(number + 1, key))
            if whole:
                other.replace(table, [row])
            else:
                other.put_newest(table, [row])
            for tables in (("a-1", "b-1"), ("b-1", "a-1", "b-1"), ("never",), ("a-1", "never")):
                found = await waiting.read_one(tables, key)
                right = await waiting.read([(name, [key]) for name in tables])
                assert found == (right.clock, right.snapshot, [one for (one,) in right.values])
                assert found.values == [one for (one,) in other.read([(name, [key]) for name in tables]).values]
        await waiting.close()

    asyncio.run(run())
    store.close()
    other.close()


def test_a_caller_with_just_the_time_of_the_connection_is_told_before_it_is_given_up(own_server: RedisServer) -> None:
    store = RedisStore(settings_of(own_server, timeout_seconds=0.4))
    store.put_newest("a-1", [(b"k", at(7))])

    async def run() -> None:
        waiting = store.waiting()
        await waiting.read_one(("a-1",), b"k")
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(OnlineStoreAwayError, match="no answer within 410 ms"):
                await waiting.read_one(("a-1",), b"k", 0.41)
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        await waiting.close()

    asyncio.run(run())
    store.close()


def test_nobody_is_there() -> None:
    store = RedisStore(RedisConfig(type="redis", addresses=("127.0.0.1:1",)))
    for use in (lambda: store.read([]), lambda: store.put_newest("a-1", [(b"k", at(1))])):
        with pytest.raises(OnlineStoreAwayError, match=r"127\.0\.0\.1:1 is away") as caught:
            use()
        assert "Start it, or check" in caught.value.hint
    store.close()


def test_whatever_the_way_to_a_server_what_the_system_says_of_it_is_said_in_its_own_words() -> None:
    settings = RedisConfig(type="redis", addresses=("127.0.0.1:1",))
    store = RedisStore(settings)

    async def ask() -> None:
        waiting = store.waiting()
        try:
            await waiting.read([("a-1", [b"k"])])
        finally:
            await waiting.close()

    uses: list[Callable[[], object]] = [lambda: store.read([]), lambda: asyncio.run(ask())]
    if sys.platform != "win32":
        uses.append(lambda: asyncio.Runner(loop_factory=importlib.import_module("uvloop").new_event_loop).run(ask()))
    said = set()
    for use in uses:
        with pytest.raises(OnlineStoreAwayError) as caught:
            use()
        said.add(caught.value.message)
    assert said == {"The online store at 127.0.0.1:1 is away: Connection refused."}
    store.close()
    several = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] Connect ...")
    assert away("redis:1", several).message == "The online store at redis:1 is away: Connection refused."
    unknown = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert away("redis:1", unknown).message == "The online store at redis:1 is away: Name or service not known."
    assert (
        away("redis:1", "no answer within 2 s").message == "The online store at redis:1 is away: no answer within 2 s."
    )
