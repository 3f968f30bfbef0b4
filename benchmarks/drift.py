"""What does a check for drift cost beside Evidently's, how much memory does it take, and does a wide stream fit?

Evidently has an environment of its own. ``EVIDENTLY_PYTHON`` names a Python that has evidently==0.7.*, a pandas before
3, and pyarrow; without, one is made in a temporary folder with pip. Where that fails it is said, and the rows beside it
are left out.

Ours reads the stored baseline and the window from Parquet, profiles, gathers evidence and decides, and all of that is
timed; Evidently has both frames in memory before its clock starts. Every run is a process of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Row, peak_memory
from featurestore import Field
from featurestore.profiles import (
    Baseline,
    Profile,
    fit_baseline,
    merge,
    profile,
    profile_stream,
)
from featurestore.types import Bool, DType, Float64, Int64, String
from monitor.decisions import decide
from monitor.detector import DetectorState, Limits, fit_limits, step

_START = datetime(2026, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000
_DAYS = 30
_BATCH = 1 << 16
#: It asks for any pandas and works with those before 3; its files are read by pyarrow.
_EVIDENTLY = ("evidently==0.7.*", "pandas<3", "pyarrow")
#: Longest time that Evidently may take before the comparison is given up.
_PATIENCE = 3600
_TYPES: dict[str, DType] = {"normal": Float64, "skewed": Float64, "count": Int64, "code": String, "flag": Bool}
#: Of twenty columns; a wider table repeats them.
_MIX = ["normal"] * 8 + ["skewed"] * 4 + ["count"] * 3 + ["code"] * 4 + ["flag"]
_MINUTES = 1_440


def run(*, quick: bool) -> list[Row]:
    """Check a window in both, stream a wide table, and decide over a day of minutes."""
    rows, wide, width, times = (50_000, 5_000, 100, 4) if quick else (1_000_000, 100_000, 1_000, 30)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _in_a_process("prepare", folder, rows, 20)
        found = [_in_a_process("check", folder, rows, 20) for _ in range(1 if quick else 3)]
        seconds = statistics.median(one["seconds"] for one in found)
        check = f"check of {rows:,} rows x 20 columns"
        peak = max(one["bytes"] for one in found) / 1e6
        table = _beside_evidently(folder, check, seconds, peak, quick=quick)
        reading = _in_a_process("read", folder, rows, 20)["seconds"]
        table.append(Row(work=f"{check}, beside reading them", ours=seconds, floor=reading, unit="s"))
        goal = None if quick else 1.0
        table.append(Row(work=f"{check}, peak beside 500 MB", ours=peak, floor=500, unit="MB", goal=goal))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _in_a_process("prepare_wide", folder, wide, width)
        ours, floor = (_in_a_process(what, folder, times, width) for what in ("wide", "read_wide"))
        streamed = f"{wide * times:,} rows x {width:,} columns, streamed"
        table += [
            Row(work=f"{streamed}, beside reading", ours=ours["seconds"], floor=floor["seconds"], unit="s"),
            Row(work=f"{streamed}, peak", ours=ours["bytes"] / 1e6, floor=2_000, unit="MB", goal=goal),
        ]
        day = _in_a_process("day", folder, _MINUTES, 200)["seconds"]
        work = f"{_MINUTES:,} minute profiles of 200 features, beside 1 s"
        table.append(Row(work=work, ours=day, floor=1, unit="s", goal=goal))
    return table


def _beside_evidently(folder: Path, check: str, seconds: float, peak: float, *, quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        python = os.environ.get("EVIDENTLY_PYTHON") or _make_environment(Path(name))
        if python is None:
            return []
        script = Path(__file__).with_name("drift_evidently.py")
        command = [python, str(script), str(folder / "reference.parquet"), str(folder / "window.parquet")]
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_PATIENCE)
        except (OSError, subprocess.SubprocessError) as error:
            told = getattr(error, "stderr", None) or str(error)
            print(f"  Evidently did not run, so nothing is compared with it: {str(told).strip()[-300:]}")
            return []
    theirs = json.loads(done.stdout.splitlines()[-1])
    print(f"  Evidently {theirs['version']}: {theirs['drifted']} columns drifted")
    beside = f"{check}, beside Evidently's"
    return [
        Row(work=beside, ours=seconds, floor=theirs["seconds"], unit="s", goal=None if quick else 0.01),
        Row(work=f"{beside} peak", ours=peak, floor=theirs["bytes"] / 1e6, unit="MB"),
    ]


def _make_environment(folder: Path) -> str | None:
    """Return a Python that has Evidently; None, and say so, where it cannot be had."""
    print("  Installing Evidently into an environment of its own (EVIDENTLY_PYTHON names one that is there) ...")
    try:
        venv.create(folder / "venv", with_pip=True)
        python = folder / "venv" / "bin" / "python"
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *_EVIDENTLY], check=True, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        print(f"  Evidently cannot be installed, so nothing is compared with it: {str(told).strip()[-300:]}")
        return None
    return str(python)


def _in_a_process(what: str, folder: Path, rows: int, width: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.drift", what, str(folder), str(rows), str(width)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _fields(width: int) -> list[Field]:
    kinds = [_MIX[at % len(_MIX)] for at in range(width)]
    return [Field(name=f"{kind}{at}", dtype=_TYPES[kind]) for at, kind in enumerate(kinds)]


def _rows(random: np.random.Generator, rows: int, width: int, *, days: float, shift: float = 0.0) -> pa.Table:
    columns: dict[str, Any] = {}
    for field in _fields(width):
        kind = field.name.rstrip("0123456789")
        if kind == "normal":
            values = random.normal(shift, 1, rows)
            columns[field.name] = pa.array(values, mask=random.random(rows) < 0.01)
        elif kind == "skewed":
            columns[field.name] = np.exp(2 * random.normal(shift, 1, rows))
        elif kind == "count":
            columns[field.name] = random.poisson(40 + shift, rows)
        elif kind == "code":
            columns[field.name] = pa.array([f"code{number}" for number in range(30)]).take(
                pa.array(np.minimum(random.geometric(0.2, rows), 30) - 1)
            )
        else:
            columns[field.name] = random.random(rows) < 0.3
    instants = np.sort(random.integers(0, int(days * _DAY_US), rows))
    start = int(_START.timestamp() * 1_000_000)
    columns["event_timestamp"] = pa.array(start + instants, pa.timestamp("us", "UTC"))
    return pa.table(columns)


def prepare(folder: Path, rows: int, width: int) -> dict[str, float]:
    """Write a reference, its baseline, and a window of as many rows in which nothing changed."""
    random = np.random.default_rng(7)
    reference = _rows(random, rows, width, days=_DAYS)
    pq.write_table(reference, folder / "reference.parquet")
    pq.write_table(fit_baseline(reference, _fields(width)).to_arrow(), folder / "baseline.parquet")
    pq.write_table(_rows(random, rows, width, days=1), folder / "window.parquet")
    return {}


def prepare_wide(folder: Path, rows: int, width: int) -> dict[str, float]:
    """Write some rows of a wide table, and the baseline of the first of them."""
    random = np.random.default_rng(7)
    writer: pq.ParquetWriter | None = None
    step_rows = max(1, rows // 10)
    for _ in range(rows // step_rows):
        table = _rows(random, step_rows, width, days=_DAYS)
        if writer is None:
            writer = pq.ParquetWriter(folder / "window.parquet", table.schema)
            pq.write_table(fit_baseline(table, _fields(width)).to_arrow(), folder / "baseline.parquet")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return {}


def check(folder: Path, rows: int, width: int) -> dict[str, float]:
    """Read the baseline, profile the window, gather evidence and decide."""
    del width
    started = time.perf_counter()
    baseline = _baseline(folder)
    limits = fit_limits(baseline, smallest_change=0.02)
    window = profile_stream(_batches(folder), baseline.bins)
    decided = _decide(baseline, limits, window, rows_per_block=rows)
    assert decided in ("ok", "not enough data"), decided
    assert window.rows == rows
    return _measured(started)


def read(folder: Path, rows: int, width: int) -> dict[str, float]:
    """Read the window, and do nothing with it."""
    del width
    started = time.perf_counter()
    assert sum(batch.num_rows for batch in _batches(folder)) == rows
    return _measured(started)


def wide(folder: Path, times: int, width: int) -> dict[str, float]:
    """Profile the rows so many times, as one stream, and decide."""
    started = time.perf_counter()
    baseline = _baseline(folder)
    limits = fit_limits(baseline, smallest_change=0.02)
    window = profile_stream((batch for _ in range(times) for batch in _batches(folder, width)), baseline.bins)
    _decide(baseline, limits, window, rows_per_block=window.rows)
    return _measured(started)


def read_wide(folder: Path, times: int, width: int) -> dict[str, float]:
    """Read the rows so many times."""
    started = time.perf_counter()
    for _ in range(times):
        for _ in _batches(folder, width):
            pass
    return _measured(started)


def day(folder: Path, minutes: int, width: int) -> dict[str, float]:
    """Read the profiles of a day's minutes from Arrow, merge them, gather evidence and decide."""
    del folder
    random = np.random.default_rng(7)
    fields = _fields(width)
    baseline = fit_baseline(_rows(random, 30_000, width, days=_DAYS), fields)
    limits = fit_limits(baseline, smallest_change=0.02)
    several = _rows(random, 100 * 24, width, days=1)
    # An hour's minutes come again each hour: what they hold costs nothing, how many they are does.
    hour = [profile(several.slice(at * 40, 40), baseline.bins).to_arrow() for at in range(60)]
    stored = hour * (minutes // 60)
    started = time.perf_counter()
    window = merge(Profile.from_arrow(table, baseline.bins) for table in stored)
    _decide(baseline, limits, window, rows_per_block=window.rows)
    return _measured(started)


def _baseline(folder: Path) -> Baseline:
    return Baseline.from_arrow(pq.read_table(folder / "baseline.parquet"))


def _batches(folder: Path, width: int = 20) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(folder / "window.parquet") as file:
        yield from file.iter_batches(
            max(_BATCH // 4, _BATCH * 20 // width), columns=[one.name for one in _fields(width)]
        )


def _decide(baseline: Baseline, limits: Limits, window: Profile, *, rows_per_block: int) -> str:
    _, evidence = step(
        limits,
        DetectorState.start(limits),
        window,
        window_start=_START + timedelta(days=_DAYS),
        rows_per_block=rows_per_block,
        average_run_length=2_160,
    )
    decision = decide(baseline, window, evidence, limits, effect_threshold=0.1, rows_per_block=rows_per_block)
    return decision.verdict


def _measured(started: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - started, "bytes": peak_memory()}


def main() -> None:
    """Do what the command line says, and print what it took."""
    works = {
        "prepare": prepare,
        "prepare_wide": prepare_wide,
        "check": check,
        "read": read,
        "wide": wide,
        "read_wide": read_wide,
        "day": day,
    }
    what, folder, rows, width = sys.argv[1:]
    print(json.dumps(works[what](Path(folder), int(rows), int(width))))


if __name__ == "__main__":
    main()
