"""Many processes at once, and processes that are killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from featurestore.definitions import MonitorPolicy
from featurestore.registry import Registry, open_registry
from featurestore.registry.migrating import open_database

WORKER = """
import json, sys, time
from datetime import timedelta
from featurestore import types
from featurestore.definitions import Entity, FeatureView, Field
from featurestore.registry import open_registry

url, number, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
schema = [Field(name="temp", dtype=types.Float64)]
done = 0
with open_registry(url, "flights") as registry:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done += 1
        ttl = timedelta(seconds=1 + number, microseconds=done)
        view = FeatureView(name="shared", entities=[Entity(name="airport")], schema=schema, ttl=ttl)
        registry.apply([view], who=str(number))
        registry.get("shared")
        registry.record_load(load_id=f"{number}-{done}", storage_id="shared-1", table_version=1,
                             rows_read=1, rows_written=1, author=str(number))
        registry.record_load(load_id=f"all-{done}", storage_id="shared-2", table_version=1,
                             rows_read=1, rows_written=1, author=str(number))
print(done)
"""


def test_eight_processes_lose_nothing(url: str) -> None:
    """They also create the registry together: none is there when they start."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, url, str(number), "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    outcomes = [worker.communicate(timeout=120) for worker in workers]
    assert [errors for _, errors in outcomes] == [""] * 8
    done = [int(output) for output, _ in outcomes]
    assert min(done) > 0
    total = sum(done)
    with open_registry(url, "flights") as registry:
        assert [one.version for one in registry.versions("shared")] == list(range(1, total + 1))
        assert [load.order for load in registry.loads("shared-1")] == list(range(1, total + 1))
        assert [load.order for load in registry.loads("shared-2")] == list(range(1, max(done) + 1))
        published = [load.published_at for load in registry.loads("shared-1")]
        assert published == sorted(set(published))
        assert registry.revision() == total
        assert registry.verify_audit() == []
        assert len(registry.audit(action="ingest")) == total + max(done)


KILLED = """
import json, os, random, signal, sys, time
from datetime import timedelta
from featurestore import types
from featurestore.definitions import Entity, FeatureView, Field
from featurestore.registry import open_registry

url, rounds = sys.argv[1], int(sys.argv[2])
schema = [Field(name="temp", dtype=types.Float64)]

def views(seconds):
    return [FeatureView(name=f"view{n}", entities=[Entity(name="airport")], schema=schema,
                        ttl=timedelta(seconds=seconds)) for n in range(40)]

def apply(seconds):
    with open_registry(url, "flights") as registry:
        registry.apply(views(seconds), who="ada")

apply(1)
started = time.monotonic()
apply(2)
takes = time.monotonic() - started
chance = random.Random(7)
for seconds in range(3, 3 + rounds):
    child = os.fork()
    if not child:
        apply(seconds)
        os._exit(0)
    time.sleep(chance.uniform(0, 1.5 * takes))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open_registry(url, "flights") as registry:
        states = {(one.version, one.definition.ttl.total_seconds()) for one in registry.list("feature_view")}
        print(json.dumps([sorted(states), registry.verify_audit()]), flush=True)
"""


def test_an_apply_that_is_killed_happened_or_did_not(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, url, "12"], capture_output=True, text=True, check=True, timeout=120
    )
    version = 2
    for line in done.stdout.splitlines():
        states, problems = json.loads(line)
        assert problems == []
        assert len(states) == 1, "forty views that were applied together have one version"
        assert states[0][0] in (version, version + 1)
        version = states[0][0]
    assert len(done.stdout.splitlines()) == 12


def test_a_reader_sees_one_state_while_a_writer_works(
    registry: Registry, url: str, policy: Callable[..., MonitorPolicy]
) -> None:
    """Readers neither wait for a writer nor see half of what it does."""
    registry.apply([policy()], who="ada")
    database = open_database(url)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE objects SET current_version = 0")
        assert registry.get("weather").version == 1
        connection.rollback()
    database.close()
