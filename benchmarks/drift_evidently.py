"""Evidently's check of the same data, run by a Python that has it: ``drift_evidently.py REFERENCE WINDOW`` prints JSON.

It imports nothing of ours. The clock runs while Evidently does: both frames are in memory before.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    """Compare the two files, with the preset that Evidently offers for drift and its defaults."""
    import pandas as pd
    from evidently import Report
    from evidently.presets import DataDriftPreset

    reference, window = (pd.read_parquet(file).drop(columns="event_timestamp") for file in sys.argv[1:3])
    started = time.perf_counter()
    found = Report([DataDriftPreset()]).run(window, reference).dict()
    seconds = time.perf_counter() - started
    counted = next(one["value"] for one in found["metrics"] if "count" in (one.get("value") or {}))
    peak = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )
    told = {"seconds": seconds, "bytes": peak, "drifted": int(counted["count"]), "version": version("evidently")}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
