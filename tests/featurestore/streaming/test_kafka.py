"""Streams from a real broker."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from structlog.testing import capture_logs

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.errors import ConfigError, OnlineStoreError
from featurestore.settings.streams import StreamConfig
from featurestore.streaming import Fed, feed_of, quarantine_of
from featurestore.streaming.access import access
from featurestore.streaming.asking import ask
from featurestore.streaming.kafka import KafkaStream
from featurestore.streaming.standing import Standing
from featurestore.types import Int64
from tests.contract.channel_far_sides.kafka import Broker, broker
from tests.featurestore.streaming.topics import committed, make, set_back, write

VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="seen", dtype=Int64, ge=0)],
)
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def tansu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with broker(tmp_path_factory.mktemp("tansu")) as found:
        yield found


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with FeatureStore.init(tmp_path / "shop", project="shop") as store:
        store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
    return tmp_path / "shop"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def message(user: int, seen: int) -> dict[str, Any]:
    return {"user_id": user, "seen": seen, "event_timestamp": (START + timedelta(seconds=seen)).isoformat()}


def configure(shop: Path, port: int, **settings: Any) -> None:
    values = {"view": "clicks", "servers": [f"127.0.0.1:{port}"], "topic": "clicks", "security": "none"}
    values |= {"session_seconds": 2} | settings  # the broker lets who joins wait for half of it
    with (shop / "featurestore.toml").open("a") as file:
        file.write("\n[streams.clicks]\n" + "".join(f"{name} = {json.dumps(one)}\n" for name, one in values.items()))


def wait_for(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def measured(page: str) -> dict[str, float]:
    """Return what the page of metrics says of streams, by name and labels; nothing while there is no page."""
    with suppress(OSError), urlopen(page, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (one.rpartition(" ") for one in lines if one[0] != "#")}
    return {}


def test_what_is_read_is_served_or_set_aside_and_committed_and_the_page_says_how_far_it_has_come(
    tansu: Broker, shop: Path
) -> None:
    make(tansu.port, "clicks")
    values: list[tuple[int, Any]] = [(number % 3, message(number % 50, number)) for number in range(300)]
    values += [(0, b"poison"), (1, None), (2, message(1, -1))]
    write(tansu.port, "clicks", values)
    configure(shop, tansu.port, batch_rows=70)
    port = free_port()
    with (shop / "featurestore.toml").open("a") as file:
        file.write(f"\n[streaming]\nmetrics_port = {port}\n")
    page, labels = f"http://127.0.0.1:{port}/metrics", 'stream="clicks",topic="clicks"}'
    command = [sys.executable, "-m", "featurestore", "stream", "run", "--repo", str(shop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            lag = "featurestore_stream_lag_messages"
            done = {f"featurestore_stream_messages_read_total{{{labels}": 303.0}
            done |= {f'{lag}{{partition="{one}",{labels}': 0.0 for one in range(3)}
            wait_for(lambda: done.items() <= measured(page).items())
            found = measured(page)
        finally:
            process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert found[f'featurestore_stream_messages_total{{outcome="pushed",{labels}'] == 300
    assert found[f'featurestore_stream_messages_total{{outcome="quarantined",{labels}'] == 3
    assert said.splitlines()[0] == f"Streaming clicks -> clicks. Metrics at {page}."
    assert said.splitlines()[1] == "clicks: 303 messages read, 300 pushed, 3 quarantined"
    assert committed(tansu.port, "clicks", "featurestore.shop.clicks") == [101, 101, 101]
    with FeatureStore(shop) as store:
        assert store.status()["push"]["rows"] == 0
        assert store.get_online_features("scoring", [{"user_id": 7}]).to_dict()["seen"] == [257]
        assert sum(one.rows_written for one in store.loads("clicks")) == 300
        kept = [one.poisoned for one in store.quarantined_messages("clicks")]
        section = store.config.stream("clicks")
        assert ask("clicks", section) == 3
        with pytest.raises(ConfigError, match='no topic "clickz"'):
            ask("clicks", section.model_copy(update={"topic": "clickz"}))
    assert [(one.message.partition, one.message.offset, one.reason) for one in kept] == [
        (0, 100, "This is not JSON"),
        (1, 100, "It has no value: a stream takes no rows back"),
        (2, 100, "seen is under 0"),
    ]


def test_a_broker_that_is_away_and_a_store_that_takes_nothing_are_waited_for_and_told_of_once(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    configure(shop, port, topic="late", timeout_seconds=5)
    with FeatureStore(shop) as store, capture_logs() as logs:
        standing, put = Standing("clicks", "late"), store.online.put_all
        refused: list[list[int | None]] = []

        async def play() -> None:
            config = store.config.stream("clicks")
            feed = feed_of("clicks", config, store._pusher, quarantine_of(store.config))
            stream, stop = KafkaStream(feed, config, "g", store._pusher.origins, standing), asyncio.Event()
            running = asyncio.create_task(stream.run(stop))
            while len(logs) < 1:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
            await asyncio.to_thread(begin)
            while standing.total.pushed < 3:
                await asyncio.sleep(0.01)
            stop.set()
            await running

        def begin() -> None:
            found = context.__enter__()
            make(found.port, "late", 1)
            write(found.port, "late", [(0, message(1, seen)) for seen in (1, 2, 3)])

        def refuse(rows: Any) -> None:
            if len(refused) < 3:
                refused.append(committed(port, "late", "g", 1))
                raise OnlineStoreError("The online store is away.")
            put(rows)

        monkeypatch.setattr(store.online, "put_all", refuse)
        context = broker(tmp_path, port=port)
        try:
            asyncio.run(play())
            assert committed(port, "late", "g", 1) == [3]
        finally:
            context.__exit__(None, None, None)
        assert refused == [[0]] * 3  # where it begins is committed, and nothing more
        assert store.get_online_features("scoring", [{"user_id": 1}]).to_dict()["seen"] == [3]
    told = [(one["event"], one.get("reason", "")) for one in logs if one["event"].startswith("stream")]
    assert told == [
        ("stream waits", f"no connection to 127.0.0.1:{port}"),
        ("stream waits", "The online store is away."),
        ("stream goes on", ""),
    ]


def test_what_was_pushed_and_not_committed_is_passed_over_when_it_comes_again_unless_somebody_asks_for_it(
    tansu: Broker, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tansu.port, "again", 1)
    write(tansu.port, "again", [(0, message(1, seen)) for seen in range(4)])
    configure(shop, tansu.port, topic="again", batch_rows=2)
    with FeatureStore(shop) as store:

        async def play(read: int, *, dies: bool = False) -> Fed:
            config, standing = store.config.stream("clicks"), Standing("clicks", "again")
            feed = feed_of("clicks", config, store._pusher, quarantine_of(store.config))
            stream, stop = KafkaStream(feed, config, "g2", store._pusher.origins, standing), asyncio.Event()

            async def commit(*_: Any) -> None:
                stop.set()  # as one that is killed before it commits

            with monkeypatch.context() as patched:
                if dies:
                    patched.setattr(stream, "_commit", commit)
                running = asyncio.create_task(stream.run(stop))
                while standing.total.read < read and not stop.is_set():
                    await asyncio.sleep(0.01)
                stop.set()
                await running
            return standing.total

        assert asyncio.run(play(2, dies=True)) == Fed(read=2, pushed=2)
        store.flush_pushes()  # what is known of them outlives their segment
        assert asyncio.run(play(4)) == Fed(read=4, pushed=2, repeated=2)
        assert committed(tansu.port, "again", "g2", 1) == [4]
        store.flush_pushes()
        assert sum(one.rows_written for one in store.loads("clicks")) == 4
        set_back(tansu.port, "again", "g2", 0)
        assert asyncio.run(play(4)) == Fed(read=4, pushed=4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"servers": []}, "names no broker"),
        ({"servers": ["kafka.example.com:http"]}, "is not HOST:PORT"),
        ({"topic": ""}, "names no topic"),
        ({"security": "none", "user": "u"}, "would go over the network as it is"),
        ({"key": "k.pem"}, "and not the other"),
        ({"ca_file": "/nowhere.pem"}, "cannot be used: No such file"),
    ],
)
def test_a_section_that_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    values = {"view": "clicks", "servers": ["kafka.example.com:9093"], "topic": "clicks"}
    with pytest.raises(ConfigError, match=re.escape(said)):
        access("s", StreamConfig.model_validate(values | settings))


def test_a_password_is_read_where_it_is_needed_and_shown_nowhere(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(shop, 9093, security="tls", user="u", password="${STREAM_PASSWORD}")
    with FeatureStore(shop) as store:
        with pytest.raises(ConfigError, match="STREAM_PASSWORD"):
            store.stream()
        monkeypatch.setenv("STREAM_PASSWORD", "hush-4711")
        config = store.config.stream("clicks")
        assert access("clicks", config)["sasl_plain_password"] == "hush-4711"
        assert "hush-4711" not in f"{config!r} {store.config!r}"
        with pytest.raises(ConfigError, match='no stream "click"'):
            store.stream(["click"])


def test_without_the_extra_a_stream_says_what_to_install(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(shop, 9092)
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with FeatureStore(shop) as store, pytest.raises(ConfigError, match="extra kafka"):
        store.stream()
