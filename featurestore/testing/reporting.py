"""What became of cases, as text: expected against got, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from featurestore.places import place_of
from featurestore.testing.running import CaseResult


def report(result: CaseResult) -> list[str]:
    """Return lines that say what is wrong with a case that did not pass."""
    place = place_of(result.case)
    lines = [f"{result.case.name}, of {result.case.target}" + (f" ({place})" if place else "")]
    if result.error:
        lines.append(f"  {result.error}")
        if result.hint:
            lines.append(f"  Hint: {result.hint}")
        return lines
    by_row = sorted(enumerate(result.mismatches), key=lambda pair: (pair[1].row, pair[0]))
    for row, group in groupby((mismatch for _, mismatch in by_row), key=lambda mismatch: mismatch.row):
        # The same difference on every path is one.
        seen: dict[tuple[str, str, str], list[str]] = {}
        for one in group:
            seen.setdefault((one.feature, one.expected, one.got), []).append(one.path)
        lines.append(f"  row {row}")
        rows = [(feature, expected, got, " and ".join(paths)) for (feature, expected, got), paths in seen.items()]
        lines += [f"    {line}" for line in _table(("feature", "expected", "got", "path"), rows)]
    return lines


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lined_up = ("  ".join(map(str.ljust, row, widths)) for row in (head, *rows))
    return [line.rstrip() for line in lined_up]
