"""Does the point-in-time join of ten million by a hundred million rows stay within 4 GB, and how long does it take?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.asof import both, in_a_process
from benchmarks.harness import Row

_LIMIT_MB = 4_000


def run(*, quick: bool) -> list[Row]:
    """Join into a Parquet file, under the memory limit that DuckDB alone has too."""
    entities, rows, memory = (100_000, 1_000_000, "100MB") if quick else (10_000_000, 100_000_000, "3GB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_a_process("prepare", folder, entities=entities, rows=rows, loads=10, services=["one"])
        options = {"service": "one", "as_of": False, "memory": memory, "out": True}
        seconds, peaks = both(folder, options, pairs=1)
    work = f"{entities // 1000:,}k x {rows // 1000:,}k x 10 to Parquet, limit {memory}"
    return [
        Row(work=f"{work}: time", ours=seconds[0], floor=seconds[1], unit="s", goal=None if quick else 0.6),
        Row(work=f"{work}: peak", ours=peaks[0], floor=_LIMIT_MB, unit="MB", goal=None if quick else 1.0),
    ]
