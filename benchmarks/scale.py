"""What does it cost to leave one machine? ``python -m benchmarks scale [PART ...]``: all parts when none is named."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from benchmarks.harness import Row

#: Each has a module ``scale_PART`` with ``run(quick) -> list[Row]``.
PARTS = ("redis", "spark")


def run(*, quick: bool, parts: Sequence[str] = PARTS) -> list[Row]:
    """Measure some parts."""
    return [row for part in parts for row in importlib.import_module(f"benchmarks.scale_{part}").run(quick=quick)]
