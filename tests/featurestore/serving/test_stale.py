"""Lookups while the online store is away: from its local copy, and never without saying so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as pq
import pytest

from featurestore.client import FeatureClient
from featurestore.definitions import FeatureView, storage_id
from featurestore.errors import OnlineStoreAwayError
from featurestore.online.local_copy import LocalCopy
from featurestore.online.redis.store import RedisStore
from featurestore.serving.log import COMPLETE_TO, SNAPSHOT, ServingLog
from featurestore.serving.lookup import Lookups
from featurestore.serving.metrics.calls import STALE
from featurestore.serving.metrics.worker import copy_samples
from featurestore.serving.observer import Observer
from featurestore.settings.online import RedisConfig
from featurestore.v1 import serving_pb2 as pb
from tests.redis_servers import RedisServer, redis_program

Put = Callable[..., None]


def micros(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Scene:
    """A store on a server of its own, and its copy."""

    def __init__(self, server: RedisServer, folder: Path, lookups: Lookups, views: dict[str, FeatureView]) -> None:
        self.server = server
        self.store = RedisStore(RedisConfig(type="redis", addresses=(server.address,), connect_seconds=0.5))
        self.copy = LocalCopy(folder, max_age=timedelta(hours=1))
        self.lookups = Lookups(self.store, lookups.plans, max_rows=5, local_copy=self.copy)
        self.names = {storage_id(view) for view in views.values()}
        self.client = FeatureClient(transport=self.lookups.transport)

    def fill(self) -> None:
        self.copy.fill(self.store, self.names, rest=lambda: False)

    def restart(self) -> None:
        self.server.start()
        deadline = time.monotonic() + 20
        while True:
            try:
                self.store.read(())
            except OnlineStoreAwayError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def ask(self, origin: str = "JFK") -> Any:
        return self.client.get_online_features("whole", [{"origin": origin, "tailnum": "N1"}])


@pytest.fixture
def scene(
    tmp_path: Path, lookups: Lookups, views: dict[str, FeatureView], lacking: Callable[[str], NoReturn]
) -> Iterator[Scene]:
    server = RedisServer(redis_program(lacking), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    made = Scene(server, tmp_path / "copy", lookups, views)
    yield made
    made.store.close()
    made.copy.close()
    server.remove()


def test_a_store_that_is_away_is_answered_for_by_its_copy_which_says_so(
    scene: Scene, fill: Put, views: dict[str, FeatureView], tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    rows = [
        {"origin": "JFK", "temp": 10.0, "wind": 4.0, "sky": "clear", "event_timestamp": now - timedelta(hours=1)},
        {"origin": "OLD", "temp": 10.0, "wind": 4.0, "sky": "clear", "event_timestamp": now - timedelta(hours=4)},
    ]
    fill(scene.store, views["weather"], *rows)
    fill(scene.store, views["plane"], {"tailnum": "N1", "seats": 180, "event_timestamp": now})
    before = datetime.now(UTC)
    scene.fill()
    filled = datetime.now(UTC)
    fresh = scene.ask()
    assert (fresh.stale, fresh.complete_to) == (False, None)
    fill(scene.store, views["weather"], rows[0] | {"temp": 11.0, "event_timestamp": now})
    assert scene.ask().to_dict()["temp"] == [11.0]
    scene.server.kill()

    stale = scene.ask()
    assert stale.stale
    assert before <= stale.complete_to <= filled
    assert f"STALE: complete to {stale.complete_to.isoformat()}" in repr(stale)
    assert stale.to_dict() == fresh.to_dict()
    assert stale.statuses == fresh.statuses
    assert scene.ask("OLD").statuses["weather"] == ["OUTSIDE_MAX_AGE"], "the TTL holds as ever"

    # The server's own way, with what it tells of it.
    request = pb.GetOnlineFeaturesRequest(service="whole", request_id="r")
    request.columns.add(name="origin").strings.values.append("JFK")
    request.columns.add(name="tailnum").strings.values.append("N1")

    async def waited() -> Any:
        waiting = scene.store.waiting()
        try:
            return await scene.lookups.answer_waiting(request, waiting, 0.5)
        finally:
            await waiting.close()

    answer = asyncio.run(waited())
    told = pb.GetOnlineFeaturesResponse.FromString(answer.response)
    assert (told.stale, told.complete_to) == (True, micros(stale.complete_to))
    observer = Observer()
    observer.answered("GetOnlineFeatures", answer.entry, 0.001, None)
    assert (STALE, ("whole@1",), (1,)) in list(observer.samples())
    assert [one.values for one in copy_samples(scene.lookups)] == [(micros(stale.complete_to) / 1e6,)]
    log = ServingLog(tmp_path / "log", now=micros(now))
    log.offer(answer.entry)
    log.close(answer.entry.served_at + 1)
    (row,) = pq.read_table(next((tmp_path / "log" / "whole").glob("*.parquet"))).to_pylist()
    assert (row[COMPLETE_TO], row[SNAPSHOT]) == (stale.complete_to, None)

    scene.restart()
    back = scene.ask()
    assert (back.stale, back.to_dict()["temp"]) == (False, [11.0])


def test_a_copy_that_is_not_there_or_too_old_or_lacks_a_view_is_not_served(
    scene: Scene, views: dict[str, FeatureView]
) -> None:
    scene.server.kill()
    with pytest.raises(OnlineStoreAwayError, match=r"is away: .* no local copy of these views yet"):
        scene.ask()
    scene.restart()
    scene.copy.fill(scene.store, {storage_id(views["plane"])}, rest=lambda: False)
    scene.server.kill()
    with pytest.raises(OnlineStoreAwayError, match="no local copy of these views yet"):
        scene.ask()
    assert next(iter(copy_samples(scene.lookups))).values == (0,)
    scene.restart()
    scene.fill()
    scene.server.kill()
    assert scene.ask().stale
    scene.copy.max_age = timedelta(0)
    with pytest.raises(OnlineStoreAwayError, match="longer ago than fallback_max_age"):
        scene.ask()


def test_a_server_that_refuses_is_no_reason_to_be_stale(scene: Scene) -> None:
    scene.fill()
    with scene.server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-mget")
    with pytest.raises(Exception, match="refuses: NOPERM") as caught:
        scene.ask()
    assert not isinstance(caught.value, OnlineStoreAwayError)
