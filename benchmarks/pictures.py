"""Tables of ratios -> pictures: of a run, or of what ``results.md`` holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.harness import Row
from featurestore.plots import Chart, Ratio, ratios, write

#: What is quoted, as it was printed.
RESULTS = Path(__file__).parent / "results.md"

_TABLE = re.compile(
    r"^```\n(?P<name>\w+) \((?P<machine>[^\n]+)\)\n  work [^\n]*\n(?P<rows>.*?)^```$", re.MULTILINE | re.DOTALL
)
_ROW = re.compile(
    r"  (?P<work>\S.*?) +(?P<ours>-?[\d.]+) +(?P<floor>-?[\d.]+) (?P<unit>(?:\S.*?)?) +(?P<ratio>-?[\d.]+)"
    r"(?: +(?P<sign>[<>]=) (?P<goal>[\d.e-]+))?(?:  missed)?"
)


def quoted(text: str) -> Iterator[tuple[str, str, list[Row]]]:
    """Yield the tables of a text as :func:`benchmarks.harness.report` prints them: name, machine and rows.

    Raises:
        ValueError: a line of a table is none.
    """
    for table in _TABLE.finditer(text):
        yield table["name"], table["machine"], [_row(line) for line in table["rows"].splitlines()]


def _row(line: str) -> Row:
    found = _ROW.fullmatch(line.rstrip())
    if found is None:
        raise ValueError(f"{line!r} is no line of a table")
    row = Row(
        work=found["work"],
        ours=float(found["ours"]),
        floor=float(found["floor"]),
        unit=found["unit"],
        goal=None if found["goal"] is None else float(found["goal"]),
        more_is_better=found["sign"] == ">=",
    )
    object.__setattr__(row, "ratio", float(found["ratio"]))  # that of the figures before they were rounded
    return row


def picture(name: str, machine: str, rows: Sequence[Row]) -> Chart | None:
    """Return a table as a picture; None where no ratio is over 0, as an axis of logarithms has no place for it."""
    drawn = [
        Ratio(
            label=f"{row.work} ({row.unit})" if row.unit else row.work,
            value=row.ratio,
            goal=row.goal or None,
            holds=row.holds,
        )
        for row in rows
        if row.ratio > 0
    ]
    return ratios(f"{name}: {machine}", drawn) if drawn else None


def draw(tables: Iterable[tuple[str, str, Sequence[Row]]], folder: Path, *, ending: str = ".svg") -> list[Path]:
    """Draw each table into a file of its name, ``asof.svg``, the second of one name ``scale-2.svg``.

    Raises:
        ConfigError: what draws is not installed, or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen: dict[str, int] = {}
    files = []
    for name, machine, rows in tables:
        seen[name] = seen.get(name, 0) + 1
        drawn = picture(name, machine, rows)
        if drawn is not None:
            number = f"-{seen[name]}" if seen[name] > 1 else ""
            files.append(write(drawn, folder / f"{name}{number}{ending}"))
    return files
