"""How everything here is measured: ours and the floor in turn, several times, medians; and how it is reported."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table.

    Attributes:
        work: what was done.
        ours: our figure, in ``unit``.
        floor: that of what nobody can do without.
        unit: of both: seconds, requests/s, MB ...
        ratio: ours / floor.
        goal: what the ratio should be at most (or at least, if ``more_is_better``); None when it is only reported.
        more_is_better: whether the figures are rates.
    """

    work: str
    ours: float
    floor: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False
    ratio: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", self.ours / self.floor)

    @property
    def holds(self) -> bool:
        """Whether the goal is reached; true where there is none."""
        if self.goal is None:
            return True
        return self.ratio >= self.goal if self.more_is_better else self.ratio <= self.goal


def in_turn(ours: Callable[[], object], floor: Callable[[], object], *, pairs: int) -> tuple[float, float]:
    """Return the median seconds of both, run in turn after one unmeasured run each."""
    ours()
    floor()
    measured: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        for place, work in enumerate((ours, floor)):
            started = time.perf_counter()
            work()
            measured[place].append(time.perf_counter() - started)
    return statistics.median(measured[0]), statistics.median(measured[1])


def report(name: str, rows: list[Row], target: Path | None) -> bool:
    """Print the table, write it as JSON if asked for, and return whether every goal is reached."""
    print(f"\n{name} ({machine()})")
    print(f"  {'work':<58} {'ours':>10} {'floor':>10} {'unit':<11} {'ratio':>6} {'goal':>8}")
    for row in rows:
        sign = ">=" if row.more_is_better else "<="
        goal = "" if row.goal is None else f"{sign} {row.goal:g}"
        figures = f"{row.ours:>10.3f} {row.floor:>10.3f} {row.unit:<11} {row.ratio:>6.2f}"
        print(f"  {row.work:<58} {figures} {goal:>8}{'' if row.holds else '  missed'}")
    if target is not None:
        values = [
            {key: value for key, value in asdict(row).items() if key != "more_is_better"} | {"holds": row.holds}
            for row in rows
        ]
        target.write_text(json.dumps({"name": name, "machine": machine(), "rows": values}, indent=2) + "\n")
    return all(row.holds for row in rows)


def peak_memory() -> int:
    """Return the most bytes that this process has had in memory."""
    # Linux counts what the parent had before the program was started into ru_maxrss, and not into VmHWM.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell a process's peak memory")


def machine() -> str:
    """Return what ran this: cores, memory, system and Python."""
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return f"{psutil.cpu_count()} cores, {memory:.0f} GiB, {system}, Python {platform.python_version()}"
