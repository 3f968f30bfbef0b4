"""``python -m tests.soak.programs.killed_pushes FOLDER TIMES``: who pushes and flushes is killed at random points.

Each pushes rows of its own keys, one or some at a time, from two threads, and says so once a push is acknowledged; its
background flushes all the time. After each kill, every acknowledged row must be online; in the end, after a flush, each
must be in the offline store, exactly once, and no row that nobody pushed. It ends with an error if something is
wrong; else it prints what it did, as JSON.
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

import pyarrow.parquet as pq

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Int64
from tests.forking import Forked

VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="seen", dtype=Int64)],
)
START = datetime(2024, 1, 1, tzinfo=UTC)
#: Keys of one process: user ids are turn * USERS + number.
USERS = 10

PUSH = """
import sys, threading
from datetime import UTC, datetime, timedelta
from featurestore import FeatureStore
from featurestore.logs import configure_logging
configure_logging()
folder, turn, users = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = FeatureStore(folder)
said = threading.Lock()

def work(mine):
    for seen in range(100_000):
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seen)
        some = mine[: 1 + seen % len(mine)]
        store.push("clicks", [{"user_id": one, "seen": seen, "event_timestamp": at} for one in some])
        with said:
            sys.stdout.write(f"{seen} {' '.join(map(str, some))}\\n")
            sys.stdout.flush()

store.registry, store.online
print("ready", flush=True)
first = turn * users
threads = [threading.Thread(target=work, args=(list(range(start, first + users, 2)),)) for start in (first, first + 1)]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""

FLUSH = """
import sys
from featurestore import FeatureStore
from featurestore.logs import configure_logging
configure_logging()
with FeatureStore(sys.argv[1]) as store:
    print("ready", flush=True)
    while True:
        store.flush_pushes()
        store.materialize("clicks")
"""


def killed_pushes(folder: Path, turn: int, chance: random.Random) -> Counter[tuple[int, int]]:
    """Kill a process that pushes, and now and then one that flushes, and return the acknowledged rows."""
    started = []
    programs = [(PUSH, [str(turn), str(USERS)])] + ([(FLUSH, [])] if turn % 3 == 0 else [])
    for program, arguments in programs:
        command = [sys.executable, "-c", program, str(folder), *arguments]
        process = Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        started.append(process)
    time.sleep(chance.uniform(0.0, 1.5))
    chance.shuffle(order := list(started))
    for process in order:
        process.send_signal(signal.SIGKILL)
    told = [process.communicate() for process in started]
    for process, (_, errors) in zip(started, told, strict=True):
        assert (process.returncode, errors) == (-signal.SIGKILL, ""), errors
    acknowledged: Counter[tuple[int, int]] = Counter()
    for line in told[0][0].splitlines(keepends=True):
        if line.endswith("\n"):  # else it was cut off
            seen, *users = map(int, line.split())
            acknowledged.update((user, seen) for user in users)
    return acknowledged


def newest(rows: Counter[tuple[int, int]]) -> dict[int, int]:
    """Return the last value of each user."""
    found: dict[int, int] = {}
    for user, seen in rows:
        found[user] = max(seen, found.get(user, seen))
    return found


def main(folder: Path, times: int) -> None:
    """Kill, look, and count."""
    with FeatureStore.init(folder, project="shop") as store:
        store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
    settings = folder / "featurestore.toml"
    settings.write_text(settings.read_text() + "\n[push]\nflush_seconds = 0.1\n")
    chance = random.Random(11)
    acknowledged: Counter[tuple[int, int]] = Counter()
    waited = 0
    for turn in range(times):
        acknowledged += killed_pushes(folder, turn, chance)
        with FeatureStore(folder) as store:
            waited += store.status()["push"]["rows"] > 0
            wanted = newest(acknowledged)
            users = sorted(wanted)
            if not users:
                continue
            served = store.get_online_features("scoring", [{"user_id": user} for user in users]).to_dict()["seen"]
            behind = [user for user, seen in zip(users, served, strict=True) if seen is None or seen < wanted[user]]
            assert behind == [], f"turn {turn}: acknowledged and not online: {behind}"
    with FeatureStore(folder) as store:
        store.flush_pushes()
        assert store.status()["push"]["rows"] == 0
        users = list(range(times * USERS))
        asked = [{"user_id": user, "event_timestamp": START + timedelta(days=30)} for user in users]
        joined = store.get_historical_features(asked, "scoring").to_polars()["seen"].to_list()
        served = store.get_online_features("scoring", [{"user_id": user} for user in users]).to_dict()["seen"]
        assert served == joined
        files = store.offline.table(VIEW).files()
    stored: Counter[tuple[int, int]] = Counter()
    for file in files:
        table = pq.read_table(file, columns=["user_id", "seen"])
        stored.update(zip(table["user_id"].to_pylist(), table["seen"].to_pylist(), strict=True))
    lost = acknowledged - stored
    assert not lost, f"acknowledged and not in the offline store: {list(lost)[:5]}"
    assert set(stored.values()) == {1}, "a row is twice in the offline store"
    told = {"kills": times, "rows acknowledged": acknowledged.total(), "stored": stored.total()}
    sys.stdout.write(json.dumps(told | {"kills with rows left to flush": waited}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
