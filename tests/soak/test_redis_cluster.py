"""One of three masters of a cluster is killed while rows are pushed and looked up."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.definitions import storage_id
from featurestore.errors import FeatureStoreError, OnlineStoreError
from featurestore.online.keys import KeyLayout
from featurestore.online.rowcodec import RowCodec
from featurestore.types import Int64
from tests.backends import NAMES
from tests.redis_servers import cluster, redis_program

VIEW = FeatureView(
    name="counts",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="number", dtype=Int64)],
)
USERS = 300
#: Lookups without an error, and pushes, after which all goes well again.
IN_A_ROW = 50
PATIENCE_SECONDS = 90.0


@pytest.mark.backend("online", NAMES["online"]["cluster"])
@pytest.mark.parametrize("seconds", [0.0, pytest.param(15.0, marks=pytest.mark.soak)])
def test_a_master_that_is_killed_costs_errors_during_failover_and_no_acknowledged_row(
    tmp_path: Path, lacking: Callable[[str], NoReturn], seconds: float
) -> None:
    for servers in cluster(redis_program(lacking), replicas=1):
        folder = tmp_path / "shop"
        FeatureStore.init(folder).close()
        file = folder / "featurestore.toml"
        text = file.read_text().replace('online = "lmdb://data/online"\n', "")
        addresses = json.dumps([one.address for one in servers])
        file.write_text(f'{text}\n[online]\ntype = "redis"\nmode = "cluster"\naddresses = {addresses}\n')
        with FeatureStore(folder) as store:
            store.apply([FeatureService(name="scoring", features=[VIEW])])
            counts = _kill_under_load(store, servers[0].kill, seconds)
        sys.stdout.write(f"\n{json.dumps(counts)}\n")
        assert counts["wrong"] == 0
        assert counts["lost"] == 0
        assert counts["in a row, at the end"] >= IN_A_ROW
        assert counts["pushed after"] >= IN_A_ROW
        if seconds:
            assert counts["errors after"] == 0
            assert counts["lookups"] > 100


def _kill_under_load(store: FeatureStore, kill: Callable[[], None], seconds: float) -> dict[str, int | float]:
    """Look up and push while a master is killed, for so long after it, and until all goes well again."""
    begun = datetime.now(UTC) - timedelta(hours=1)
    acknowledged: dict[int, int] = {}
    sent: dict[int, int] = {}
    counts: dict[str, int | float] = dict.fromkeys(
        ("lookups", "errors", "errors after", "in a row, at the end", "wrong", "lost"), 0
    ) | dict.fromkeys(("pushes", "refused pushes", "pushed after"), 0)
    ended = threading.Event()
    killed_at = [0.0]
    last_error = [0.0]

    def push() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            user = number % USERS
            sent[user] = number
            row = {"user_id": user, "number": number, "event_timestamp": begun + timedelta(milliseconds=number)}
            try:
                store.push("counts", [row])
            except FeatureStoreError:
                counts["refused pushes"] += 1
                time.sleep(0.05)
            else:
                acknowledged[user] = number
                counts["pushes"] += 1
                counts["pushed after"] += killed_at[0] > 0

    layout, codec, name = KeyLayout(VIEW.keys), RowCodec(VIEW.schema), storage_id(VIEW)
    keys = [layout.encode_one(user) for user in range(USERS)]

    async def look_up() -> None:
        waiting = store.online.waiting()  # type: ignore[attr-defined]
        ends = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < ends:
            well = counts["in a row, at the end"] >= IN_A_ROW and counts["pushed after"] >= IN_A_ROW
            if well and killed_at[0] and time.monotonic() - killed_at[0] > seconds:
                break
            if not killed_at[0] and counts["pushes"] > 100:
                killed_at[0] = time.monotonic()
                counts["in a row, at the end"] = 0
                await asyncio.to_thread(kill)
            try:
                if counts["lookups"] % 2:
                    (read,) = (await waiting.read([(name, keys)], 1.0)).values
                else:
                    read = [(await waiting.read_one((name,), key, 1.0)).values[0] for key in keys]
            except OnlineStoreError:
                counts["errors"] += 1
                counts["in a row, at the end"] = 0
                last_error[0] = time.monotonic()
                await asyncio.sleep(0.01)
                continue
            counts["lookups"] += 1
            counts["in a row, at the end"] += 1
            values = codec.decode([None if one is None else one[32:] for one in read])["number"].to_pylist()
            # A number belongs to its user, and was sent.
            counts["wrong"] += sum(
                value is not None and (value % USERS != user or value > sent.get(user, 0))
                for user, value in enumerate(values)
            )
        await waiting.close()

    pusher = threading.Thread(target=push)
    pusher.start()
    asyncio.run(look_up())
    ended.set()
    pusher.join()
    counts["seconds of failover"] = round(max(0.0, last_error[0] - killed_at[0]), 2)
    counts["errors after"] = int(time.monotonic() - last_error[0] < 3)
    before = _numbers(store, keys, name, codec)
    counts["lost at failover, before the log is put again"] = sum(
        before[user] is None or before[user] < number for user, number in acknowledged.items()
    )
    store._pusher.flusher.serve_again()
    after = _numbers(store, keys, name, codec)
    counts["lost"] = sum(after[user] is None or after[user] < number for user, number in acknowledged.items())
    return counts


def _numbers(store: FeatureStore, keys: list[bytes], name: str, codec: RowCodec) -> list[int | None]:
    (values,) = store.online.read([(name, keys)]).values
    found: list[int | None] = codec.decode([None if one is None else one[32:] for one in values])["number"].to_pylist()
    return found
