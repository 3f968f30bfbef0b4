"""Writers that die, writers side by side, and a disk that is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from featurestore.config import Config
from featurestore.definitions import FeatureView
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from tests import forking

ROWS = 2_000
FAR = datetime(2100, 1, 1, tzinfo=UTC)

#: Loads rows of the view until it is killed or has made its loads; prints a load's id once it was reported.
WRITER = """
import resource, signal, sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
import pyarrow as pa
from featurestore.config import Config
from featurestore.settings.sections import OfflineConfig
from featurestore.definitions import Entity, FeatureView, Field
from featurestore.errors import OfflineStoreError
from featurestore.offline.store import OfflineStore
from featurestore.registry import open_registry
from featurestore.types import Float64, Int64

root, name, loads, file_bytes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if file_bytes:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
config = Config(root=root, project="tests", offline=OfflineConfig(threads=1, memory_limit="500MB"))
store = OfflineStore(config, open_registry(config.database_url("sqlite:///registry.db"), "tests"))
view = FeatureView(
    name="weather", entities=[Entity(name="airport", join_keys=["origin"])], ttl=timedelta(hours=3),
    schema=[Field(name="temp", dtype=Float64, ge=-80, le=140), Field(name="wind", dtype=Int64)],
)
start = datetime(2013, 1, 1, tzinfo=UTC)
table = pa.table({
    "origin": ["JFK"] * ROWS,
    "temp": [999.0] + [one * 0.6180339887 % 1 for one in range(1, ROWS)],  # which nothing makes smaller
    "wind": list(range(ROWS)),
    "event_timestamp": pa.array([start] * ROWS, pa.timestamp("us", tz="UTC")),
})
print("ready", flush=True)
for number in range(loads):
    load_id = f"{name}-{number}"
    try:
        report = store.ingest(view, table.to_reader(max_chunksize=100), who=name, load_id=load_id)
    except OfflineStoreError as error:
        print("refused", str(error).splitlines()[0], flush=True)
    else:
        print("reported", load_id, report.written, flush=True)
"""


def start_writer(config: Config, name: str, loads: int, file_bytes: int = 0) -> subprocess.Popen[str]:
    script = textwrap.dedent(WRITER).replace("ROWS", str(ROWS))
    arguments = [str(config.root), name, str(loads), str(file_bytes)]
    writer = forking.Forked([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def rows_per_load(store: OfflineStore, view: FeatureView) -> dict[int, int]:
    orders = store.newest_rows(view, until=FAR).read_all()
    assert orders.num_rows <= 1
    everything = store.rows_by_event_time(view, after=None).read_all()["load_order"].to_pylist()
    return {order: everything.count(order) for order in set(everything)}


def test_a_killed_writer_leaves_whole_loads_and_every_reported_one(
    config: Config, store: OfflineStore, view: FeatureView
) -> None:
    """Killed at ten instants of its first loads: between them lie staging, commit, ledger and report."""
    first = start_writer(config, "first", 2)
    began = time.monotonic()
    assert first.communicate()[0].count("reported") == 2
    pace = (time.monotonic() - began) / 2  # a busy machine takes longer
    reported: list[str] = []
    for attempt in range(10):
        writer = start_writer(config, f"writer{attempt}", 10_000)
        time.sleep(0.02 + 0.3 * attempt * pace)
        os.kill(writer.pid, signal.SIGKILL)
        out, _ = writer.communicate()
        reported += [
            line.split()[1] for line in out.splitlines() if line.startswith("reported ") and line.count(" ") == 2
        ]
        counts = rows_per_load(store, view) if store.table(view).exists() else {}
        assert all(count == ROWS - 1 for count in counts.values())
    loads = store.loads(view)
    assert set(reported) <= {load.load_id for load in loads}
    assert len(reported) > 5
    # The ledger knows each load of the table once, in commit order, whoever was killed before entering it.
    assert [load.order for load in loads] == list(range(1, len(loads) + 1))
    assert [load.table_version for load in loads] == sorted(load.table_version for load in loads)
    assert {load.order for load in loads} == set(rows_per_load(store, view))
    assert all((load.rows_read, load.rows_quarantined) == (ROWS, 1) for load in loads)
    aside = store.quarantine(view)
    assert aside is not None
    assert aside.num_rows == len(loads)


def test_a_load_that_was_committed_but_not_entered_is_entered_by_the_next_reader(
    store: OfflineStore, view: FeatureView, weather_rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.ingest(view, weather_rows([0]), who="ada", load_id="first")
    with monkeypatch.context() as crash:
        crash.setattr(Registry, "record_load", lambda *_, **__: pytest.fail("killed here"))
        with pytest.raises(pytest.fail.Exception):
            store.ingest(view, weather_rows([0], temp=99.0), who="bob", load_id="second")
    assert store.newest_rows(view, until=FAR).read_all()["temp"].to_pylist() == [99.0]
    assert [(load.load_id, load.order, load.author) for load in store.loads(view)] == [
        ("first", 1, "ada"),
        ("second", 2, "bob"),
    ]
    assert store.ingest(view, weather_rows([0]), who="bob", load_id="second").skipped == 1


def test_writers_side_by_side_all_land(config: Config, store: OfflineStore, view: FeatureView) -> None:
    writers = [start_writer(config, name, 6) for name in ("left", "right", "right")]
    outputs = [writer.communicate(timeout=120)[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    written = sum(int(line.split()[2]) for out in outputs for line in out.splitlines())
    loads = store.loads(view)
    # Two writers used the same ids: each id is one load, reported as written by one of them.
    assert sorted(load.load_id for load in loads) == sorted(
        f"{name}-{n}" for name in ("left", "right") for n in range(6)
    )
    assert written == 12 * (ROWS - 1)
    assert rows_per_load(store, view) == dict.fromkeys(range(1, 13), ROWS - 1)


def test_a_disk_that_is_full_refuses_the_load_and_leaves_nothing(
    config: Config, store: OfflineStore, view: FeatureView
) -> None:
    """A limit on the size of files stands for the disk: writing beyond it fails just so."""
    # SQLite and the Delta log stay under the limit, the rows do not.
    writer = start_writer(config, "big", 1, file_bytes=4_500)
    out, _ = writer.communicate(timeout=60)
    assert out.startswith("refused Rows for the table weather-"), out
    assert store.table_version(view) is None
    assert not list(Path(config.root).rglob("*.parquet"))
