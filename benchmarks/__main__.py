"""``python -m benchmarks [NAME ...] [--quick] [--json FILE]``: print tables of ratios; ``scale PART`` a part of it."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from benchmarks.harness import report
from benchmarks.scale import PARTS

#: Each has ``run(quick) -> list[Row]`` and answers the question in its docstring.
NAMES = (
    "alerts",
    "asof",
    "asof_large",
    "client",
    "drift",
    "false_alarms",
    "imports",
    "ingest",
    "materialize",
    "power",
    "push",
    "registry",
    "scale",
    "serving",
    "sizing",
)

#: Those whose ``run`` also takes ``plots``, a folder for pictures or None.
DRAWN = ("false_alarms", "power")


def main() -> int:
    """Run the named benchmarks, or all, and return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ours against a named floor, as ratios.")
    parser.add_argument("names", nargs="*", choices=[*NAMES, *PARTS, []], help="which; all when none is named")
    parser.add_argument("--quick", action="store_true", help="smaller data: for a look, not for quoting")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the (last) table as JSON")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="also draw what can be drawn, as PNG")
    options = parser.parse_args()
    reached = True
    parts = [name for name in options.names if name in PARTS]
    for name in [name for name in options.names if name not in PARTS] or (("scale",) if parts else NAMES):
        more: dict[str, Any] = {"plots": options.plots} if name in DRAWN else {}
        if name == "scale" and parts:
            more = {"parts": parts}
        rows = importlib.import_module(f"benchmarks.{name}").run(quick=options.quick, **more)
        reached &= report(name, rows, options.json)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
