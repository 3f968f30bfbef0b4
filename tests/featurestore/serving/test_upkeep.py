"""Expired rows leave the online store while it is served, by one worker at a time, and never that of a rehearsal."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.definitions import storage_id
from featurestore.online import MemoryStore, OnlineStore, upkeep
from featurestore.online.base import Row, order_prefix
from featurestore.online.upkeep import compact, expire, longest_ttls
from featurestore.serving.log_files import Writes, log_files, name_of
from featurestore.serving.log_merging import FAN
from featurestore.serving.runtime import Runtime
from featurestore.serving.upkeep import Upkeep
from featurestore.types import Int64, microseconds
from tests import forking

HOUR = timedelta(hours=1)
VIEW = FeatureView(
    name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)], ttl=3 * HOUR
)
NAME = storage_id(VIEW)


def row(key: bytes, age: timedelta) -> Row:
    event = np.array([microseconds(datetime.now(UTC) - age)])
    zero = np.array([0])
    return key, order_prefix(event, zero, np.array([True]), zero, zero).tobytes() + b"record"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "repo") as store:
        settings = tmp_path / "repo" / "featurestore.toml"
        settings.write_text(settings.read_text().replace("[serving]", "[serving]\nupkeep_seconds = 0.2"))
        store.apply([FeatureService(name="svc", features=[VIEW])])
        yield store


def until_only(store: OnlineStore, *keys: bytes) -> None:
    deadline = time.monotonic() + 20
    while sorted(store.keys(NAME)) != sorted(keys):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_removes_what_no_live_version_may_serve(store: FeatureStore, workers: int) -> None:
    store.online.put_newest(NAME, [row(b"old", 4 * HOUR), row(b"young", 2 * HOUR)])
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--workers", str(workers)]
    server = forking.Forked([*command, "--repo", str(store.config.root)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert "Serving svc@1" in server.stdout.readline()
        until_only(store.online, b"young")
        # A longer TTL that is applied meanwhile holds from then on.
        store.apply([FeatureService(name="svc", features=[replace(VIEW, ttl=30 * HOUR)])])
        store.online.put_newest(NAME, [row(b"older", 20 * HOUR), row(b"too old", 31 * HOUR)])
        until_only(store.online, b"young", b"older")
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        server.stdout.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_merges_what_workers_before_it_have_logged(store: FeatureStore, workers: int) -> None:
    log = store.config.path(store.config.serving.log_path)
    folder = log / "svc"
    folder.mkdir(parents=True)
    for number in range(1, FAN + 1):
        file = folder / name_of(Writes("abc", "1", number, number))
        pq.write_table(pa.table({"request_id": [f"r{number}"]}), file)
        os.utime(file, (1e9, 1e9))
    command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--workers", str(workers)]
    server = forking.Forked([*command, "--repo", str(store.config.root)], stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while len(log_files(folder)) > 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert server.stdout is not None
        server.stdout.close()
    (merged,) = log_files(folder)
    assert pq.read_table(merged)["request_id"].to_pylist() == [f"r{number}" for number in range(1, FAN + 1)]
    assert not list(folder.glob(".*"))


def test_one_worker_does_it_at_a_time_and_another_follows(store: FeatureStore) -> None:
    runtime = Runtime(store.config)
    one, other = Upkeep(runtime, store.online), Upkeep(runtime, store.online)
    asyncio.run(one.turn())
    store.online.put_newest(NAME, [row(b"old", 4 * HOUR)])
    asyncio.run(other.turn())
    assert list(store.online.keys(NAME)) == [b"old"]
    one.close()
    asyncio.run(other.turn())
    assert list(store.online.keys(NAME)) == []
    other.close()
    runtime.close()


def test_the_longest_ttl_of_those_that_share_rows_counts_and_none_is_for_ever() -> None:
    others = [replace(VIEW, ttl=5 * HOUR), replace(VIEW, ttl=HOUR)]
    assert longest_ttls([VIEW, *others]) == {NAME: 5 * HOUR}
    assert longest_ttls([VIEW, replace(VIEW, ttl=None), *others]) == {NAME: None}
    online = MemoryStore()
    online.put_newest(NAME, [row(b"old", 1000 * HOUR)])
    assert expire(online, longest_ttls([replace(VIEW, ttl=None), VIEW]), datetime.now(UTC)) == 0
    assert expire(online, {}, datetime.now(UTC)) == 0
    assert expire(online, longest_ttls(others), datetime.now(UTC)) == 1


def test_the_store_of_a_rehearsal_keeps_all_rows() -> None:
    online = MemoryStore()
    online.advance(None, 0, {NAME: [row(b"old", 1000 * HOUR)]})
    assert expire(online, {NAME: HOUR}, datetime.now(UTC)) == 0
    assert list(online.keys(NAME)) == [b"old"]


def test_expiry_ends_between_two_steps_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_STEP_ROWS", 10)
    online = MemoryStore()
    online.put_newest(NAME, [row(b"%03d" % number, 9 * HOUR) for number in range(100)])
    rests = iter([False, False, True])
    assert expire(online, {NAME: HOUR}, datetime.now(UTC), rest=lambda: next(rests)) == 30


def test_a_file_is_written_anew_when_most_of_it_is_free(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_FREE_BYTES", 100_000)
    online = store.online
    assert not compact(online)
    online.put_newest(
        NAME, [(key, value + bytes(400)) for key, value in (row(b"%04d" % n, HOUR) for n in range(3_000))]
    )
    assert not compact(online)
    full = online.space().total
    online.delete(NAME, list(online.keys(NAME))[10:])
    assert compact(online)
    assert online.space().total < full / 5
    assert len(list(online.keys(NAME))) == 10
    assert not compact(online)
