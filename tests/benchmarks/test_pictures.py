"""Tables of ratios are drawn as they were measured, and the picture in the documentation is of the figures there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import pictures
from benchmarks.__main__ import NAMES
from benchmarks.harness import Row, report
from tests.documents import ROOT

RESULTS = pictures.RESULTS.read_text(encoding="utf-8")


def test_a_table_is_read_as_it_was_printed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row(work="1M x 10M x 10, 3 views: time", ours=4.703, floor=7.231, unit="s", goal=1),
        Row(work="lookups", ours=4.0, floor=5.0, unit="M rows/s", goal=0.9, more_is_better=True),
        Row(work="only told", ours=3.0, floor=2.0, unit="us"),
    ]
    report("asof", rows, None)
    ((name, machine, read),) = pictures.quoted(f"```\n{capsys.readouterr().out.strip()}\n```\n")
    assert name == "asof"
    assert [(one.work, one.ours, one.floor, one.unit, one.holds) for one in read] == [
        (one.work, one.ours, one.floor, one.unit, one.holds) for one in rows
    ]
    assert [one.ratio for one in read] == [0.65, 0.80, 1.50]
    assert machine.endswith(("3.11", "3.12", "3.13")) or "Python" in machine


def test_a_line_that_is_none_of_a_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no line of a table"):
        list(pictures.quoted("```\nasof (2 cores)\n  work  ours\n  and a remark\n```\n"))


def test_every_table_of_the_results_is_read_with_the_ratio_that_it_prints() -> None:
    tables = list(pictures.quoted(RESULTS))
    assert {name for name, _, _ in tables} <= set(NAMES)
    assert [name for name, _, _ in tables] == re.findall(r"^(\w+) \(\d+ cores, ", RESULTS, re.MULTILINE)
    lines = RESULTS.splitlines()
    rows = [row for _, _, many in tables for row in many]
    assert len(rows) > 90
    for row in rows:
        figures = f"{row.ours:>10.3f} {row.floor:>10.3f} {row.unit:<11} {row.ratio:>6.2f}"  # as the harness prints them
        assert any(line.startswith(f"  {row.work} ") and figures in line for line in lines), row.work


def test_a_picture_shows_each_line_its_goal_and_what_misses_it(tmp_path: Path) -> None:
    rows = [
        Row(work="join", ours=1.0, floor=2.0, unit="s", goal=1),
        Row(work="lookup", ours=0.8, floor=1.0, unit="1/s", goal=0.9, more_is_better=True),
        Row(work="none at all", ours=0.0, floor=1.0, unit="alarms", goal=1),
    ]
    first, second = pictures.draw([("a", "2 cores", rows), ("a", "2 cores", rows[:1])], tmp_path)
    assert (first.name, second.name) == ("a.svg", "a-2.svg")
    drawn = first.read_text()
    assert {"join (s)", "lookup (1/s)", "a: 2 cores", "0.50", "0.80"} <= set(re.findall(r">([^<>]+)</text>", drawn))
    assert "none at all" not in drawn  # a logarithm of 0 there is not
    made = pictures.picture("a", "2 cores", rows)
    assert made is not None
    states = [
        one["state"]
        for layer in made.to_dict()["layer"]
        for one in layer.get("data", {}).get("values", [])
        if "state" in one
    ]
    assert set(states) <= {"holds", "missed"}


def test_the_picture_of_the_join_in_the_documents_is_of_the_figures_that_are_quoted() -> None:
    """Drawn by ``python -m benchmarks --quoted FOLDER``; its labels and figures are compared, not its pixels."""
    (rows,) = (rows for name, _, rows in pictures.quoted(RESULTS) if name == "asof")
    texts = re.findall(r">([^<>]+)</text>", (ROOT / "docs" / "asof.svg").read_text(encoding="utf-8"))
    assert [one for one in texts if one in {f"{row.work} ({row.unit})" for row in rows}] == [
        f"{row.work} ({row.unit})" for row in rows
    ]
    assert [one for one in texts if re.fullmatch(r"\d\.\d\d", one)] == [f"{row.ratio:.2f}" for row in rows]
