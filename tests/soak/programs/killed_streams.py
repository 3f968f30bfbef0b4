"""``python killed_streams.py FOLDER TIMES``: consumers of a topic are killed at random points, and others go on.

Two of them share a group and a store; now and then one is killed, or asked to end, and a new one begins. Messages are
written all the while, one of ten poisoned. In the end each good message must be in the offline store exactly once, the
newest of each key online, each poisoned one in quarantine once, and everything committed. It ends with an error if
something is wrong; else it prints what it did, as JSON.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Int64
from tests.contract.channel_far_sides.kafka import broker
from tests.featurestore.streaming.topics import committed, make, write

VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="seen", dtype=Int64, ge=0)],
)
START = datetime(2024, 1, 1, tzinfo=UTC)
PARTITIONS, USERS, MESSAGES = 4, 20, 400
GROUP = "featurestore.shop.clicks"
SETTINGS = """
[push]
flush_seconds = 0.5

[streams.clicks]
view = "clicks"
servers = ["127.0.0.1:{port}"]
topic = "clicks"
security = "none"
session_seconds = 2
batch_rows = 20
"""


def consumer(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "featurestore", "stream", "run", "--repo", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("Streaming"), said + process.communicate()[1]
    return process


def produced(port: int, number: int) -> list[tuple[int, Any]]:
    """Write some messages, and return the good ones."""
    values: list[tuple[int, Any]] = []
    for seen in range(number, number + MESSAGES):
        at = (START + timedelta(seconds=seen)).isoformat()
        good = {"user_id": seen % USERS, "seen": seen, "event_timestamp": at}
        values.append((seen % USERS % PARTITIONS, b"poison" if seen % 10 == 0 else good))
    write(port, "clicks", values)
    return [one for _, one in values if one != b"poison"]


def main(folder: Path, times: int) -> None:
    """Kill, go on, and count."""
    folder.mkdir(parents=True)
    with broker(folder) as tansu:
        shop, chance = folder / "shop", random.Random(17)
        with FeatureStore.init(shop, project="shop") as store:
            store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
        settings = shop / "featurestore.toml"
        settings.write_text(settings.read_text() + SETTINGS.format(port=tansu.port))
        make(tansu.port, "clicks", PARTITIONS)
        good: list[Any] = []
        consumers = [consumer(shop), consumer(shop)]
        kills = drains = 0
        for turn in range(times):
            good += produced(tansu.port, turn * MESSAGES)
            time.sleep(chance.uniform(0.0, 3.0))
            gone = consumers.pop(chance.randrange(len(consumers)))
            drained = turn % 3 == 2
            gone.send_signal(signal.SIGTERM if drained else signal.SIGKILL)
            _, errors = gone.communicate(timeout=60)
            assert (gone.returncode, errors) == (0 if drained else -signal.SIGKILL, ""), errors
            kills, drains = kills + (not drained), drains + drained
            consumers.append(consumer(shop))
        ends = [times * MESSAGES // PARTITIONS] * PARTITIONS
        deadline = time.monotonic() + 120
        while committed(tansu.port, "clicks", GROUP, PARTITIONS) != ends:
            assert time.monotonic() < deadline, committed(tansu.port, "clicks", GROUP, PARTITIONS)
            time.sleep(0.2)
        repeated = 0
        for one in consumers:
            one.send_signal(signal.SIGTERM)
            said, errors = one.communicate(timeout=60)
            assert (one.returncode, errors) == (0, ""), errors
            repeated += "pushed before" in said
    with FeatureStore(shop) as store:
        store.flush_pushes()
        newest = {one["user_id"]: one["seen"] for one in good}
        served = store.get_online_features("scoring", [{"user_id": user} for user in newest]).to_dict()["seen"]
        assert served == list(newest.values())
        files = store.offline.table(VIEW).files()
        poisoned = store.quarantined_messages("clicks")
    stored: Counter[int] = Counter(seen for file in files for seen in pq.read_table(file)["seen"].to_pylist())
    lost = {one["seen"] for one in good} - set(stored)
    assert not lost, f"lost: {sorted(lost)[:5]}"
    twice = [seen for seen, count in stored.items() if count > 1]
    assert not twice, f"twice in the offline store: {twice[:5]}"
    assert len(stored) == len(good)
    assert len(poisoned) == times * MESSAGES // 10
    told = {"kills": kills, "drains": drains, "messages": times * MESSAGES, "rows": len(good)}
    sys.stdout.write(json.dumps(told | {"quarantined": len(poisoned)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
