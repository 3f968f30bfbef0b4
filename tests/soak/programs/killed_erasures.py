"""Erasures killed at random points: after the next one no file has the key, and everybody else is still there.

Arguments: a folder, and how often. Prints figures as JSON; ends with an error at the first thing that is not so.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.types import Float64, String

ERASE = """
import sys
from featurestore import FeatureStore
from featurestore.erasure.running import places_of
with FeatureStore(sys.argv[1]) as store:
    print("ready", flush=True)
    store.erase("user", {"user_id": sys.argv[2]}, request=sys.argv[3])
"""
OTHERS = 50


def main(folder: Path, times: int) -> None:
    """Erase one user after the other, each of them after a killed attempt."""
    store = FeatureStore.init(folder, project="shop")
    user = Entity(name="user", join_keys=["user_id"], dtypes=[String])
    spending = FeatureView(name="spending", entities=[user], schema=[Field(name="total", dtype=Float64)])
    store.apply(FeatureService(name="scoring", features=[spending]))
    erased = [f"erased-{number:05d}-user" for number in range(times)]
    users = [*erased, *(f"other-{number:05d}-user" for number in range(OTHERS))]
    now = datetime.now(UTC)
    for hours in (3, 2, 1):
        at = now - timedelta(hours=hours)
        store.ingest("spending", [{"user_id": one, "total": 1.0, "event_timestamp": at} for one in users])
    entities = [{"user_id": one, "event_timestamp": now} for one in users]
    store.create_training_dataset("sales", entity_df=entities, features="scoring")
    store.compact("spending")
    store.materialize("spending")
    store.close()
    finished_by_itself = 0
    for number, one in enumerate(erased):
        program = [sys.executable, "-c", ERASE, str(folder), one, f"R{number}"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0, 0.9))
            finished_by_itself += process.poll() is not None
            process.send_signal(signal.SIGKILL)
        with FeatureStore(folder) as store:
            report = store.erase("user", {"user_id": one}, request=f"R{number}")
            proof = store.reproduce_dataset("sales")
        # While no store is open here: SQLite loses its locks when its file is opened and closed beside it.
        held = [str(file) for file in folder.rglob("*") if file.is_file() and has(file, one)]
        assert report.finished, report
        assert held == [], held
        assert proof.proved, proof
        assert proof.rows == len(users) - number - 1
        assert sum(proof.erased.values()) == number + 1, proof.erased
    with FeatureStore(folder) as store:
        (status,) = store.online.status().values()
    assert status.rows == OTHERS
    sys.stdout.write(json.dumps({"erasures": times, "ended before the kill": finished_by_itself}) + "\n")


def has(file: Path, key: str) -> bool:
    """Return whether a file has a key, in its bytes or in its rows."""
    content = file.read_bytes()
    return key.encode() in content or (content[:4] == b"PAR1" and key in str(pq.read_table(file).to_pydict()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
