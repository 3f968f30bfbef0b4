"""``python killed_servers.py FOLDER TIMES``: a loaded server's worker, its writers, or all of it are killed with -9.

All goes on meanwhile as in ``mixed_load.py``. A worker that is killed costs no caller an error, as the client asks
again; what answers after a kill has all that was acknowledged before it, and no torn row; the online store's file
opens. In the end each acknowledged row is in the offline store, once. It ends with an error if something is wrong; else
it prints what it did, and after how many seconds the server answered again, as JSON.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

from served_shop import KEYS, Asked, Truth, begin
from serving_load import TIMEOUT, Load, Server, Writer

from featurestore import FeatureStore
from featurestore.client import FeatureClient

ROLES = ("load", "switch")
#: Of which an equal number is killed.
KINDS = ("a worker", "who loads", "all of the server", "who switches")


def look(server: Server, truth: Truth) -> None:
    """Look every key up: nothing that was acknowledged may be missing."""
    with FeatureClient(server.address, timeout=TIMEOUT) as client:
        for first in range(0, len(KEYS), 500):
            keys = KEYS[first : first + 500]
            asked = Asked(truth, [{"user_id": key, "friend_id": key} for key in keys])
            answer = client.get_online_features("scoring", asked.rows)
            truth.check(asked, answer, client.get_schema(answer.service).views[0].version)


def open_file(folder: Path) -> None:
    """Open the online store, and read every row of it."""
    with FeatureStore(folder) as store:
        assert all(one.rows for one in store.online.status().values())


def until_answered(server: Server) -> float:
    """Return after how many seconds a new client has an answer."""
    began = time.monotonic()
    with FeatureClient(server.address, timeout=TIMEOUT) as client:
        client.get_online_features("scoring", [{"user_id": 1, "friend_id": 2}])
    return time.monotonic() - began


def main(folder: Path, times: int) -> None:
    """Kill, look, and count."""
    begin(folder)
    truth, server, chance = Truth(), Server(folder), random.Random(5)
    server.start()
    writers = {role: Writer(folder, role, truth) for role in ROLES}
    written: Counter[str] = Counter()
    seconds: dict[str, list[float]] = {"first answer": [], "worker back": [], "server back": []}
    try:
        with Load(server.address, truth, killed=True) as load:
            for turn in range(times):
                time.sleep(chance.uniform(0.2, 1.2))
                load.check()
                kind = KINDS[turn % len(KINDS)]
                began = time.monotonic()
                if kind == "a worker":
                    chance.choice(server.workers()).kill()
                    seconds["first answer"].append(until_answered(server))
                    server.await_workers()
                    seconds["worker back"].append(time.monotonic() - began)
                elif kind == "all of the server":
                    load.server_goes()
                    server.kill()
                    open_file(folder)
                    began = time.monotonic()
                    server.start()
                    until_answered(server)
                    seconds["server back"].append(time.monotonic() - began)
                    load.server_is_back()
                else:
                    role = ROLES[kind == "who switches"]
                    writers[role].check()
                    writers[role].kill()
                    written += writers[role].done
                    open_file(folder)
                    writers[role] = Writer(folder, role, truth)
                look(server, truth)
            load.check()
    finally:
        for one in writers.values():
            one.kill()
            written += one.done
        server.stop()
    assert server.troubles() == []
    open_file(folder)
    told = {"kills": times} | dict(sorted((load.done + written).items())) | truth.compare(folder)
    for name, taken in seconds.items():
        told[f"seconds until {name}"] = [round(statistics.median(taken), 3), round(max(taken), 3)]
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
