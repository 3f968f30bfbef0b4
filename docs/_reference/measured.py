"""``benchmarks/results.md`` as a page here: it lies beside what measures it."""

from __future__ import annotations

from pathlib import Path

_FILE = Path(__file__).parents[2] / "benchmarks" / "results.md"


def measured() -> str:
    """Return the figures without their title, and with what they link to found from ``reference/``."""
    _, _, text = _FILE.read_text(encoding="utf-8").partition("\n")
    return text.replace("](../docs/", "](../")
