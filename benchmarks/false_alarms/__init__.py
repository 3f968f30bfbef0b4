"""How often does the monitor cry wolf where nothing changed, and how often do the rules of others?

First on streams that are drawn, where nothing changes by construction: 200 features, 10,000 windows of an hour, rows
that are independent, wander, follow the clock or share a day. Then on flights, whose days are as alike as days are.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.false_alarms import flights, null_streams
from benchmarks.harness import Row


def run(*, quick: bool, plots: Path | None = None) -> list[Row]:
    """Judge drawn streams, then the flights; with ``plots``, draw the alarms over time into that folder."""
    return [*null_streams.run(quick=quick, plots=plots), *flights.run(quick=quick)]
