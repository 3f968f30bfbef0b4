"""What does a row take, a lookup in the log, a process, a window of the monitor? The figures of docs/sizing.md.

Rows are Float64 of full precision, which nothing shrinks: the floor is their eight bytes a feature. Sizes do not depend
on what else the machine does, and times here are those of the processor.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from redis import Redis

from benchmarks import scale_redis
from benchmarks.harness import Row
from benchmarks.serving import _view
from benchmarks.serving_load import ours
from featurestore import FeatureService, FeatureStore, FeatureView, Field
from featurestore.errors import MonitorError
from featurestore.offline.sources.intervals import Interval
from featurestore.online import open_online_store
from featurestore.profiles import fit_baseline, profile
from featurestore.serving.log import ServingLog
from featurestore.serving.log_files import Writes, counted, log_files, name_of
from featurestore.serving.log_merging import GRACE_SECONDS, SETTLED_SECONDS, LogMerger
from featurestore.serving.lookup import Lookups
from featurestore.serving.runtime import Runtime, compile_plans
from featurestore.types import Float64
from featurestore.v1 import serving_pb2 as pb
from monitor.decisions import decide
from monitor.detector import DetectorState, fit_limits, step
from monitor.history.values import to_bytes
from monitor.windows.parquet_rows import ParquetRows, _read_footer

_WIDTHS = (10, 50, 200)
_BYTES = 8
_START = datetime(2026, 1, 1, tzinfo=UTC)
_DAYS = 30


def run(*, quick: bool) -> list[Row]:
    """Measure rows in the three stores, the serving log, processes, and the monitor's windows."""
    rows = 20_000 if quick else 200_000
    table = []
    with tempfile.TemporaryDirectory() as name:
        for width in _WIDTHS:
            folder = Path(name) / f"lmdb{width}"
            table += _stored(folder, width, rows)
            table += [_logged(folder, width, rows, together) for together in (50, 2_000)]
        table += _merged(Path(name) / "lmdb50" / "log50", Path(name), files=240 if quick else 3_600)
        table += _processes(Path(name) / "lmdb50")
        if shutil.which("redis-server") is None:
            print("sizing: redis-server is not installed (apt-get install redis-server); Redis was not measured")
        else:
            with scale_redis.redis(Path(name)) as address:
                for width in _WIDTHS:
                    table += _in_redis(Path(name) / f"redis{width}", address, width, rows)
                for asked in (1, 100):
                    table += _looked_up(Path(name), address, asked, seconds=1.0 if quick else 8.0)
    for width in _WIDTHS:
        table += _watched(width, 1_000, windows=3 if quick else 20)
    return [*table, *_watched(50, 100_000, windows=3)]


def _size(work: str, found: float, width: int) -> Row:
    return Row(work=work, ours=found, floor=_BYTES * width, unit="bytes")


def _filled(folder: Path, view: FeatureView, rows: int, address: str = "") -> float:
    """Materialize rows, and return the processor's seconds that this took of our process."""
    with scale_redis._store(folder, address) as store:
        store.apply([FeatureService(name="all", features=[view])])
        store.ingest(view.name, scale_redis._rows(view, rows))
        began = time.process_time()
        store.materialize(view.name)
        return time.process_time() - began


def _stored(folder: Path, width: int, rows: int) -> list[Row]:
    _filled(folder, _view("whole", width), rows)
    data = folder / "data"
    file = next((data / "online").rglob("data.mdb")).stat()
    # LMDB's file has holes; what counts is what it takes of the disk.
    parquet = sum(one.stat().st_size for one in (data / "offline").rglob("*.parquet"))
    return [
        _size(f"a row of {width} features in LMDB; its values", file.st_blocks * 512 / rows, width),
        _size(f"a row of {width} features in Parquet; its values", parquet / rows, width),
    ]


def _in_redis(folder: Path, address: str, width: int, rows: int) -> list[Row]:
    host, _, port = address.rpartition(":")
    with closing(Redis(host=host, port=int(port))) as client:
        before, processor = _memory(client), _processor(client)
        ours = _filled(folder, _view("whole", width), rows, address)
        taken, theirs = _memory(client) - before, _processor(client) - processor
    micro = 1e6 / rows
    return [
        _size(f"a row of {width} features in Redis; its values", taken / rows, width),
        Row(
            work=f"a row of {width} features into Redis, ours; Redis",
            ours=ours * micro,
            floor=theirs * micro,
            unit="us",
        ),
    ]


def _memory(client: Redis) -> int:
    said: Any = client.info("memory")
    return int(said["used_memory"])


def _looked_up(here: Path, address: str, rows: int, *, seconds: float) -> list[Row]:
    """Return what a lookup of 50 features takes of the server's processor and of Redis', and of the network."""
    views = [_view("first", 17), _view("second", 17), _view("third", 16)] if rows == 1 else [_view("whole", 50)]
    cases = [
        scale_redis._case(here / f"{kind}{rows}", views, where, rows=rows)
        for kind, where in (("file", ""), ("server", address))
    ]
    host, _, port = address.rpartition(":")
    found = []
    with closing(Redis(host=host, port=int(port))) as client:
        for case in cases:
            with ours(case.folder) as server:
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.serving_load",
                    "keys",
                    server.address,
                    str(rows),
                    str(seconds),
                ]
                before, redis_before = server.cpu(), _processor(client)
                asked = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                found.append([(server.cpu() - before) / asked * 1e6, (_processor(client) - redis_before) / asked * 1e6])
    (on_lmdb, _), (on_redis, of_redis) = found
    work = f"a call of {rows} row{'s' * (rows > 1)} x 50, {len(views)} view{'s' * (len(views) > 1)}"
    return [
        Row(work=f"{work}, the server on Redis; on LMDB", ours=on_redis, floor=on_lmdb, unit="us"),
        Row(work=f"{work}, Redis; the server", ours=of_redis, floor=on_redis, unit="us"),
        _size(f"{work}, its answer; the values", len(cases[0].answer), 50 * rows),
    ]


def _processor(client: Redis) -> float:
    said: Any = client.info("cpu")
    return float(said["used_cpu_user"] + said["used_cpu_sys"])


def _logged(folder: Path, width: int, rows: int, together: int) -> Row:
    """Return the log's bytes of a lookup of one row, where so many come within one write, one second."""
    random, target = np.random.default_rng(5), folder / f"log{together}"
    made = 2_000
    with FeatureStore(folder) as store:
        config = store.config
    with closing(Runtime(config)) as runtime:
        online = open_online_store(config.online_store(), config.root, durable=True)
        lookups = Lookups(online, compile_plans(runtime.services()), max_rows=1000, row_cache=1 << 20)
        log = ServingLog(target, now=lookups.now())
        for number in range(made):
            # Ids as callers make them: nothing shrinks them.
            asked = pb.GetOnlineFeaturesRequest(service="all", request_id=random.bytes(16).hex())
            asked.columns.add(name="user_id").int64s.values.append(int(random.integers(0, rows)))
            entry = lookups.get_online_features(asked.SerializeToString()).entry
            assert entry is not None
            log.offer(entry)
            if (number + 1) % together == 0:
                log.tick(lookups.now())
                while log.waiting or log.rows_written < number + 1:
                    time.sleep(0.001)
        log.close(lookups.now())
        online.close()
    taken = sum(one.stat().st_size for one in target.rglob("*.parquet"))
    return _size(f"a logged lookup of {width} features, {together:,} in a file; its values", taken / made, width)


def _merged(sample: Path, here: Path, *, files: int) -> list[Row]:
    """Return what it takes to merge the log of an hour, a file a second, and to see which of its files a window needs.

    Args:
        sample: a log, of which the files here have the columns and the number of rows.
        here: a folder for them.
        files: how many.
    """
    random, log = np.random.default_rng(9), here / "merged"
    service = log / "all"
    service.mkdir(parents=True)
    table = pq.read_table(log_files(sample / "all")[0])
    began, rows = time.time() - files - 2 * SETTLED_SECONDS, table.num_rows
    for number in range(1, files + 1):
        columns = {one.name: table.column(one.name) for one in table.schema}
        for one in table.schema:
            if pa.types.is_float64(one.type):  # of full precision, and in no other file
                columns[one.name] = pa.array(random.standard_normal(rows))
        columns["request_id"] = pa.array([random.bytes(16).hex() for _ in range(rows)])
        at = int((began + number) * 1e6) - np.arange(rows)[::-1]
        columns["served_at"] = pa.array(at).cast(pa.timestamp("us", "UTC"))
        file = service / name_of(Writes("abc", "1", number, number))
        pq.write_table(pa.table(columns), file, compression="zstd", use_dictionary=["service"])
        os.utime(file, (began + number,) * 2)
    whole = time.process_time()
    together = pa.concat_tables([pq.read_table(one) for one in log_files(service)])
    pq.write_table(together, here / "whole.parquet", compression="zstd", use_dictionary=["service"])
    whole = time.process_time() - whole
    before = _listed(service)
    merger, taken = LogMerger(log), time.process_time()
    for second in range(0, files + 1, 60):
        merger.turn(now=began + second + SETTLED_SECONDS)
    taken = time.process_time() - taken
    left = len(log_files(service))
    merger.turn(now=time.time() + GRACE_SECONDS + 1)
    work = f"{files:,} files of {rows} lookups of 50 features"
    return [
        Row(work=f"{work}, files they are merged into", ours=left, floor=files, unit="files"),
        Row(work=f"{work}, merged; read and written at once", ours=taken, floor=whole, unit="s"),
        Row(work=f"{work}, listed after; before", ours=_listed(service), floor=before, unit="ms"),
    ]


def _listed(service: Path) -> float:
    """Return the processor's milliseconds until a monitor knows which files have rows of a window."""
    _read_footer.cache_clear()
    began = time.process_time()
    rows = ParquetRows(
        f"{service}/*.parquet",
        "served_at",
        damaged=lambda file: MonitorError(str(file)),
        kind="service",
        counted=counted,
    )
    rows.files(Interval(None, None))
    return (time.process_time() - began) * 1e3


def _processes(folder: Path) -> list[Row]:
    """Return what processes take of memory that they share with nobody, beside a bare interpreter."""
    bare = _own([sys.executable, "-c", "import time; time.sleep(60)"], 1.0)
    with ours(folder) as server:
        time.sleep(2.0)
        worker = _uss(server.process)
    with ours(folder, workers=2) as server:
        time.sleep(3.0)
        both = sum(map(_uss, (server.process, *server.process.children())))
    return [
        Row(work="a server of one worker, started; a bare Python", ours=worker, floor=bare, unit="MB"),
        Row(work="a server of two workers and their parent; a bare Python", ours=both, floor=bare, unit="MB"),
    ]


def _own(command: list[str], seconds: float) -> float:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(seconds)
        return _uss(psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait()


def _uss(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / 1e6


def _watched(width: int, rows: int, *, windows: int) -> list[Row]:
    """Return, of one window, the processor's seconds and what of it is kept."""
    random = np.random.default_rng(7)
    fields = [Field(name=f"f{number}", dtype=Float64) for number in range(width)]

    def drawn(count: int, day: int) -> pa.Table:
        at = _START + timedelta(days=day)
        columns = {one.name: random.standard_normal(count) for one in fields}
        instant = pa.repeat(pa.scalar(at, pa.timestamp("us", "UTC")), count)
        return pa.table({**columns, "event_timestamp": instant})

    baseline = fit_baseline(pa.concat_tables([drawn(500, day) for day in range(_DAYS)]), fields)
    limits = fit_limits(baseline, smallest_change=0.02)
    state = DetectorState.start(limits)
    batches = [drawn(rows, _DAYS + number) for number in range(windows)]
    kept = 0
    began = time.process_time()
    for number, batch in enumerate(batches):
        window = profile(batch, baseline.bins)
        state, evidence = step(
            limits,
            state,
            window,
            window_start=_START + timedelta(days=_DAYS + number),
            rows_per_block=rows,
            average_run_length=2_160,
        )
        decide(baseline, window, evidence, limits, effect_threshold=0.1, rows_per_block=rows)
        kept += len(to_bytes(window.to_arrow()))
    each = (time.process_time() - began) / windows
    began = time.process_time()
    for batch in batches:
        for one in fields:
            np.sort(batch.column(one.name).to_numpy())
    sorting = (time.process_time() - began) / windows
    what = f"a window of {rows:,} rows x {width} features"
    return [
        Row(work=f"{what}, of the processor; to sort them", ours=each * 1e3, floor=sorting * 1e3, unit="ms"),
        Row(
            work=f"{what}, as kept; its values", ours=kept / windows / 1e3, floor=rows * width * _BYTES / 1e3, unit="kB"
        ),
    ]
