"""``python -m benchmarks [NAME ...] [--quick] [--json FILE] [--plots FOLDER]``: print tables of ratios, and draw them.

``scale PART`` is a part of one; ``--quoted FOLDER`` measures nothing, and draws the tables of ``results.md``.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from benchmarks import pictures
from benchmarks.harness import machine, report
from benchmarks.scale import PARTS

#: Each has ``run(quick) -> list[Row]`` and answers the question in its docstring.
NAMES = (
    "alerts",
    "asof",
    "asof_large",
    "client",
    "dashboard",
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
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="also draw the tables, as NAME.svg")
    parser.add_argument("--quoted", type=Path, metavar="FOLDER", help="only draw the tables of results.md")
    options = parser.parse_args()
    if options.quoted is not None:
        for file in pictures.draw(pictures.quoted(pictures.RESULTS.read_text(encoding="utf-8")), options.quoted):
            print(file)
        return 0
    reached = True
    measured = []
    parts = [name for name in options.names if name in PARTS]
    for name in [name for name in options.names if name not in PARTS] or (("scale",) if parts else NAMES):
        more: dict[str, Any] = {"plots": options.plots} if name in DRAWN else {}
        if name == "scale" and parts:
            more = {"parts": parts}
        rows = importlib.import_module(f"benchmarks.{name}").run(quick=options.quick, **more)
        reached &= report(name, rows, options.json)
        measured.append((name, machine(), rows))
    if options.plots is not None:
        pictures.draw(measured, options.plots)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
