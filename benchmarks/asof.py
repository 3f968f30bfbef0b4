"""What does the point-in-time join cost, in time and memory, beside DuckDB's own ASOF join over the same files?

With ``FEAST_PYTHON``, a Python that has ``feast[duckdb]``, also beside Feast's join of the first case.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Row

_CASES = {
    "": ("one", False),
    ", 3 views": ("three", False),
    ", ties": ("tied", False),
    ", ties, as_of": ("tied", True),
}


def run(*, quick: bool) -> list[Row]:
    """Join entity rows with views of ten features and a TTL, into a table in memory."""
    entities, rows = (20_000, 200_000) if quick else (1_000_000, 10_000_000)
    measured: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_a_process("prepare", folder, entities=entities, rows=rows, loads=1, services=["one", "three", "tied"])
        for suffix, (service, as_of) in _CASES.items():
            work = f"{_short(entities)} x {_short(rows)} x 10{suffix}"
            options = {"service": service, "as_of": as_of, "memory": "", "out": False}
            seconds, peaks = both(folder, options, pairs=1 if quick else 3)
            # Goals are for full size: small joins are all start.
            measured += [
                Row(work=f"{work}: time", ours=seconds[0], floor=seconds[1], unit="s", goal=None if quick else 1.0),
                Row(work=f"{work}: peak", ours=peaks[0], floor=peaks[1], unit="MB", goal=None if quick else 0.6),
            ]
            if service == "one" and (python := os.environ.get("FEAST_PYTHON")):
                measured += _beside_feast(python, folder, work, seconds[0], peaks[0])
    return measured


def _beside_feast(python: str, folder: Path, work: str, seconds: float, peak: float) -> list[Row]:
    """Return the rows of a case that Feast joins too, once, in a process of its own."""
    script = Path(__file__).with_name("asof_feast.py")
    done = subprocess.run(
        [python, str(script), str(folder)], check=True, stdout=subprocess.PIPE, text=True, timeout=3600
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    print(f"  Feast {theirs['version']}: {theirs['rows']:,} rows of {theirs['asked']:,}")
    return [
        Row(work=f"{work}: time, beside Feast's", ours=seconds, floor=theirs["seconds"], unit="s"),
        Row(work=f"{work}: peak, beside Feast's", ours=peak, floor=theirs["bytes"] / 1e6, unit="MB"),
    ]


def both(folder: Path, options: dict[str, Any], *, pairs: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the median seconds and peak MB of ours and the floor, in turn, each time in a process of its own."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "floor": []}
    for _ in range(pairs + 1):
        for side, costs in found.items():
            costs.append(in_a_process(side, folder, **options))

    def median(side: str, what: str) -> float:
        return statistics.median(one[what] for one in found[side][1:])  # the first pair warms the files up

    return (
        (median("ours", "seconds"), median("floor", "seconds")),
        (median("ours", "bytes") / 1e6, median("floor", "bytes") / 1e6),
    )


def in_a_process(what: str, folder: Path, **options: Any) -> Any:
    """Run one step of :mod:`benchmarks.asof_process` and return what it measured."""
    command = [sys.executable, "-m", "benchmarks.asof_process", what, str(folder), json.dumps(options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _short(number: int) -> str:
    return f"{number // 1_000_000}M" if number >= 1_000_000 else f"{number // 1000}k"
