"""``python killed_tables.py FOLDER TIMES [OFFLINE]``: who loads, compacts or writes datasets is killed at any point.

After each, no half load may be visible, and none may be lost that was reported; a reader reads all the while, and none
of its reads may fail. It ends with an error if something is wrong; else it prints what it did, as JSON. OFFLINE is the
text of the sections of ``featurestore.toml`` that put the tables elsewhere than on the disk.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

import featurestore.store  # noqa: F401 - imported once, not in each process
from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.definitions.names import LOAD_ID
from featurestore.offline.places import offline_folder, spill_folder, stored_at
from featurestore.settings.retention import RetentionConfig
from featurestore.storage.parquet import read_metadata, read_table
from featurestore.storage.places import listed
from featurestore.types import Float64, Int64

ROWS = 3_000
START = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = FeatureView(
    name="readings",
    entities=[Entity(name="sensor", join_keys=["sensor_id"], dtypes=[Int64])],
    schema=[Field(name="value", dtype=Float64)],
)
SERVICE = FeatureService(name="watching", features=[VIEW])
ASKED = [{"sensor_id": number, "event_timestamp": START + timedelta(days=900)} for number in range(50)]


def rows(number: int) -> pa.RecordBatchReader:
    """Return the rows of a load, in batches."""
    first = START + timedelta(minutes=number)
    table = pa.table(
        {
            "sensor_id": [row % 50 for row in range(ROWS)],
            "value": [float(number)] * ROWS,
            "event_timestamp": pa.array(
                [first + timedelta(milliseconds=row) for row in range(ROWS)], pa.timestamp("us", "UTC")
            ),
        }
    )
    return table.to_reader(max_chunksize=500)


def work(root: Path, turn: int) -> None:
    """Load, compact or write datasets until somebody ends it; note what was reported."""
    report = os.open(root / "reported", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with FeatureStore(root) as store:
        for step in range(1_000):
            if step == 1:  # what a process does for the first time takes longest, and is killed seldom enough
                (root / f"ready-{turn}").touch()
            if turn % 3 == 2:
                later = timedelta(seconds=turn * 1_000 + step)
                asked = [one | {"event_timestamp": START + timedelta(days=900) + later} for one in ASKED]
                made = store.create_training_dataset(f"set{turn}", entity_df=asked, features="watching")
                os.write(report, f"dataset {made.id}\n".encode())
                continue
            number = turn * 1_000 + step
            store.ingest("readings", rows(number), load_id=f"load-{number}")
            os.write(report, f"load load-{number}\n".encode())
            if turn % 3 == 1:
                store.compact("readings")


def read(root: Path) -> None:
    """Read until the file ``stop`` is there; every load has to be whole."""
    reads = 0
    with FeatureStore(root) as store:
        while not (root / "stop").exists():
            counted: Counter[str] = Counter()
            for file in store.offline.table(VIEW).snapshot().files:
                counted.update(read_table(file.place, columns=[LOAD_ID]).column(0).to_pylist())
            assert set(counted.values()) <= {ROWS}, counted
            found = store.get_historical_features(ASKED, "watching").to_arrow()
            assert found.num_rows == len(ASKED)
            assert found.column("value").null_count == 0
            reads += 1
            time.sleep(0.02)
    (root / "reads").write_text(str(reads))


def look(root: Path) -> None:
    """Check that everything that was reported is there, whole, and that the ledgers say the same."""
    reported = [line.split() for line in (root / "reported").read_text().splitlines()]
    with FeatureStore(root) as store:
        table = store.offline.table(VIEW)
        counted: Counter[str] = Counter()
        for file in table.snapshot().files:
            counted.update(read_table(file.place, columns=[LOAD_ID]).column(0).to_pylist())
        assert set(counted.values()) == {ROWS}
        assert {name for kind, name in reported if kind == "load"} <= counted.keys()
        assert {one.load_id for one in store.loads("readings")} == counted.keys()
        datasets = {one.id: one for one in store.registry.datasets()}
        assert {name for kind, name in reported if kind == "dataset"} <= datasets.keys()
        for one in datasets.values():
            data = stored_at(one.manifest["path"], store.config)
            assert read_metadata(data).num_rows == len(ASKED), one.id
        assert store.registry.verify_audit() == []


def tidy(root: Path) -> None:
    """Remove the leftovers of the dead, while the reader reads."""
    with FeatureStore(root) as store:
        store.gc(now=datetime.now(UTC) + timedelta(hours=2))


def clean(root: Path) -> None:
    """Remove all that nobody needs, and check that nothing else is there."""
    with FeatureStore(root) as store:
        store.config = store.config.model_copy(update={"retention": RetentionConfig(history=timedelta(0))})
        removed = store.gc(now=datetime.now(UTC) + timedelta(hours=2))
        folder, scratch = offline_folder(store.config), spill_folder(store.config)
        table = store.offline.table(VIEW)
        held = {one.name for one in table.snapshot().files}
        for dataset in store.registry.datasets():
            held.update(dataset.manifest["views"]["readings"]["files"])
        assert {one.name for one in listed(table.path, "*.parquet")} == held
        assert not [one for place in ("*/.*", "*/*/.*") for one in listed(folder, place)]
        assert not listed(scratch, "*")
        (root / "removed").write_text(str(sum(len(one.paths) for one in removed.removed)))


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


def begin(root: Path, offline: str) -> None:
    """Make the store, with one load and one dataset."""
    FeatureStore.init(root, project="soak").close()
    if offline:
        file = root / "featurestore.toml"
        file.write_text(file.read_text().replace('[offline]\npath = "data/offline"\n', offline))
    with FeatureStore(root) as store:
        store.apply([VIEW, SERVICE])
        store.ingest("readings", rows(0), load_id="load-0")
    (root / "reported").write_text("load load-0\n")


def main(root: Path, times: int, offline: str) -> None:
    """Kill, look, and count."""
    done(child(lambda: begin(root, offline)))
    reader = child(lambda: read(root))
    chance = random.Random(7)
    try:
        for turn in range(1, times + 1):
            at_work = child(lambda turn=turn: work(root, turn))  # type: ignore[misc]
            while not (root / f"ready-{turn}").exists():
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.8))
            assert os.waitpid(at_work, os.WNOHANG) == (0, 0), f"turn {turn}: the work ended by itself"
            os.kill(at_work, signal.SIGKILL)
            os.waitpid(at_work, 0)
            done(child(lambda: look(root)))
            if turn % 10 == 0:
                done(child(lambda: tidy(root)))
            assert os.waitpid(reader, os.WNOHANG) == (0, 0), f"turn {turn}: the reader failed"
    finally:
        (root / "stop").touch()
    done(reader)
    done(child(lambda: clean(root)))
    done(child(lambda: look(root)))
    kinds = Counter(line.split()[0] for line in (root / "reported").read_text().splitlines())
    counts = {f"{kind}s reported": count for kind, count in kinds.items()}
    counts |= {"kills": times, "reads": int((root / "reads").read_text())}
    sys.stdout.write(json.dumps(counts | {"files removed": int((root / "removed").read_text())}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), "".join(sys.argv[3:]))
