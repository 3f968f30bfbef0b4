"""``python many_writers.py URL PROCESSES SECONDS``: many processes on one registry that none of them has made yet.

Each applies, records loads and reads as fast as it can. Then everything is counted: it ends with an error if anything
was lost, doubled or seen half done, or if one process was told of an error; else it prints figures as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from datetime import timedelta

from featurestore import types
from featurestore.definitions import Definition, Entity, FeatureView, Field
from featurestore.registry import open_registry

AIRPORT = Entity(name="airport")
SCHEMA = [Field(name="temp", dtype=types.Float64)]


def pair(number: int, turn: int) -> list[Definition]:
    """Return two views that are always applied together, with a TTL that no other process or turn has."""
    ttl = timedelta(seconds=1 + number, microseconds=turn)
    return [FeatureView(name=name, entities=[AIRPORT], schema=SCHEMA, ttl=ttl) for name in ("left", "right")]


def work(url: str, number: int, until: float) -> dict[str, float]:
    """Write and read until the time is up, and return what was done."""
    applies = reads = 0
    slowest = 0.0
    newest = 0
    with open_registry(url, "soak") as registry:
        while not applies or time.monotonic() < until:
            started = time.monotonic()
            applies += 1
            mine = registry.apply(pair(number, applies), who=str(number)).changes[-1].to_version
            registry.record_load(
                load_id=f"{number}-{applies}",
                storage_id="own",
                table_version=1,
                rows_read=1,
                rows_written=1,
                author="a",
            )
            registry.record_load(
                load_id=str(applies), storage_id="shared", table_version=1, rows_read=1, rows_written=1, author="a"
            )
            slowest = max(slowest, time.monotonic() - started)
            for _ in range(3):
                reads += 1
                _, left, right = registry.list()
                assert (left.version, left.definition.ttl) == (right.version, right.definition.ttl), "seen half done"
                assert left.version >= max(newest, mine or 0), "a version was taken back"
                newest = left.version
    return {"applies": applies, "reads": reads, "slowest": slowest}


def start(url: str, number: int, until: float) -> tuple[int, int]:
    """Start a process that works, and return its id and where it writes what it did."""
    theirs, ours = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.write(ours, json.dumps(work(url, number, until)).encode())
        except BaseException:  # noqa: BLE001 - the parent counts it
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(ours)
    return process, theirs


def main(url: str, processes: int, seconds: float) -> None:
    """Start the processes, wait for them, and count."""
    started = [start(url, number, time.monotonic() + seconds) for number in range(processes)]
    codes = [os.waitpid(process, 0)[1] for process, _ in started]
    assert codes == [0] * processes, codes
    done = []
    for _, pipe in started:
        with os.fdopen(pipe, "rb") as written:
            done.append(json.loads(written.read()))
    applies = [one["applies"] for one in done]
    total = sum(applies)
    with open_registry(url, "soak") as registry:
        numbers = list(range(1, total + 1))
        assert [one.version for one in registry.versions("left")] == numbers
        assert [one.version for one in registry.versions("right")] == numbers
        assert {one.applied_by for one in registry.versions("left")} == {str(number) for number in range(processes)}
        loads = registry.loads("own")
        assert [load.order for load in loads] == numbers
        published = [load.published_at for load in loads]
        assert published == sorted(set(published))
        assert [load.order for load in registry.loads("shared")] == list(range(1, max(applies) + 1))
        assert registry.revision() == total
        assert registry.verify_audit() == []
        assert len(registry.audit(action="ingest")) == total + max(applies)
        assert len(registry.audit(action="apply")) == 2 * total + 1
    figures = {
        "processes": processes,
        "seconds": seconds,
        "applies": total,
        "fewest applies of a process": min(applies),
        "reads": sum(one["reads"] for one in done),
        "slowest turn of three writes, seconds": round(max(one["slowest"] for one in done), 2),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
