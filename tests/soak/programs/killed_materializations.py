"""``python killed_materializations.py FOLDER TIMES``: who materializes is killed at random points, while loads come.

A run that goes on has to begin where the record in the online store says, and the record has to be true of the rows. In
the end the online store is compared, row for row, with one that was filled by a single run. It ends with an error if
something is wrong; else it prints what it did, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

import featurestore.store  # noqa: F401 - imported once, not in each process
from featurestore import Entity, FeatureStore, FeatureView, Field
from featurestore.definitions import storage_id
from featurestore.materialize import materialize
from featurestore.materialize.standing import filled
from featurestore.offline.tables import newest
from featurestore.online import LmdbStore, OnlineStore
from featurestore.types import Float64, Int64, String

KEYS = 12_000
START = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = FeatureView(
    name="readings",
    entities=[Entity(name="sensor", join_keys=["sensor_id"], dtypes=[Int64])],
    schema=[Field(name="value", dtype=Float64), Field(name="unit", dtype=String)],
)
NAME = storage_id(VIEW)
newest.CHUNK_ROWS = 2_048  # so that there are many


def rows(number: int) -> pa.Table:
    """Return the rows of a load: of two thirds of the keys, each at another instant, some of them late."""
    chance = np.random.default_rng(number)
    keys = chance.permutation(KEYS)[: KEYS * 2 // 3]
    instants = int(START.timestamp() * 1e6) + number * 1_000_000 + chance.integers(-3_000_000, 3_000_000, len(keys))
    return pa.table(
        {
            "sensor_id": keys,
            "value": chance.standard_normal(len(keys)),
            "unit": [f"unit {key}" for key in keys.tolist()],
            "event_timestamp": pa.array(instants, pa.timestamp("us", "UTC")),
        }
    )


def done_of(online: OnlineStore) -> int:
    """Return how many rows of a run are done that was interrupted; -1 if none was."""
    found = filled(online.standing(NAME), VIEW)
    return -1 if found is None or found.run is None else found.run.done


def work(root: Path, turn: int) -> None:
    """Materialize and load until somebody ends it; note what was reported."""
    report = os.open(root / "reported", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    steps = os.open(root / f"steps-{turn}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with FeatureStore(root) as store:
        while True:
            os.write(steps, b".")
            begun = done_of(store.online)
            seen: list[int] = []

            def step(count: int, _: int, seen: list[int] = seen) -> None:
                seen.append(count)
                os.write(steps, b".")

            made = store.materialize("readings", progress=step)
            assert made.read == made.written + made.older + made.expired + made.rejected
            assert made.resumed == (begun >= 0)
            assert begun <= 0 or seen[0] == begun, "a run goes on where the record says"
            kind = "resumed" if made.resumed else "whole"
            os.write(report, f"{kind}\n".encode())
            number = len(store.loads("readings"))
            store.ingest("readings", rows(number), load_id=f"load-{number}")


def look(root: Path) -> None:
    """Check that what is noted is true of the rows: during the first run, there are as many as are done."""
    with FeatureStore(root) as store:
        found = filled(store.online.standing(NAME), VIEW)
        count = sum(1 for _ in store.online.keys(NAME))
        if found is not None and found.version is None and found.run is not None:
            assert count == found.run.done, (count, found)


def compare(root: Path) -> None:
    """Check that the store holds what a single run gives."""
    with FeatureStore(root) as store:
        store.materialize("readings")
        single = LmdbStore(root / "single")
        now = datetime.now(UTC) + timedelta(seconds=1)
        made = materialize(VIEW, store.offline, single, now=now)
        keys = sorted(single.keys(NAME))
        assert keys == sorted(store.online.keys(NAME))
        assert len(keys) == made.written
        assert single.read([(NAME, keys)]).values == store.online.read([(NAME, keys)]).values
        single.close()
        counts = {"rows": made.read, "keys": len(keys), "loads": len(store.loads("readings"))}
        (root / "counts").write_text(json.dumps(counts))


def child(run: Callable[[], None]) -> int:
    """Run something in a process of its own; this one stays free of threads, so that it can be forked again."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            run()
            code = 0
        except BaseException:  # noqa: BLE001 - nothing above would say it
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def done(pid: int) -> None:
    """Wait for a process that has to end well."""
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def begin(root: Path) -> None:
    """Make the store, with one load of all keys."""
    with FeatureStore.init(root, project="soak") as store:
        store.apply([VIEW])
        store.ingest("readings", rows(0), load_id="load-0")
    (root / "reported").touch()


def main(root: Path, times: int) -> None:
    """Kill, look, and count."""
    done(child(lambda: begin(root)))
    chance = random.Random(7)
    for turn in range(1, times + 1):
        at_work = child(lambda turn=turn: work(root, turn))  # type: ignore[misc]
        # Anywhere in a run or between two, however busy the machine is.
        steps, until = root / f"steps-{turn}", chance.randint(1, 14)
        while not steps.exists() or steps.stat().st_size < until:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        assert os.waitpid(at_work, os.WNOHANG) == (0, 0), f"turn {turn}: the work ended by itself"
        os.kill(at_work, signal.SIGKILL)
        os.waitpid(at_work, 0)
        done(child(lambda: look(root)))
    done(child(lambda: compare(root)))
    reported = (root / "reported").read_text().split()
    counts = {"kills": times, "runs": len(reported), "resumed": reported.count("resumed")}
    sys.stdout.write(json.dumps(counts | json.loads((root / "counts").read_text())) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
