"""A bar appears where somebody waits and looks, and nowhere else."""

from __future__ import annotations

import importlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from featurestore.cli.progress import rows_done


def test_what_takes_long_shows_how_far_it_is_and_leaves_nothing_behind() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80)
    with rows_done("weather [hourly]", console=screen, patience=0.01) as done:
        done(1_234)
        time.sleep(0.3)
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "weather [hourly]" in shown
    assert "1,234 rows" in shown
    assert shown.endswith("\x1b[2K"), "the line is wiped"


def test_where_the_total_is_known_it_is_shown() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80)
    with rows_done("weather", console=screen, patience=0.01) as done:
        done(1_000, 4_000)
        done(1_000, 4_000)
        time.sleep(0.3)
    assert "2,000 of 4,000 rows" in screen.file.getvalue()  # type: ignore[attr-defined]


def test_what_is_quick_shows_nothing() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True)
    with rows_done("weather", console=screen, patience=30) as done:
        done(5)
    assert screen.file.getvalue() == ""  # type: ignore[attr-defined]


def test_where_output_is_kept_there_is_no_bar() -> None:
    kept = Console(file=io.StringIO(), force_terminal=False)
    with rows_done("weather", console=kept, patience=0) as done:
        done(5)
        time.sleep(0.05)
    assert kept.file.getvalue() == ""  # type: ignore[attr-defined]


def test_every_command_that_may_take_long_shows_a_bar(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    @contextmanager
    def recorded(text: str) -> Iterator[Callable[..., None]]:
        shown.append(text)
        yield lambda *_: None

    for name in ("datasets", "definitions", "history", "ingest", "materialize", "rollout", "tables", "testing"):
        monkeypatch.setattr(importlib.import_module(f"featurestore.cli.{name}"), "rows_done", recorded)
    rows = command.folder / "rows.csv"
    rows.write_text("user_id,total,orders,event_timestamp\n1,5.0,2,2024-01-01T00:00:00Z\n2,-1,2,2024-01-01T00:00:00Z\n")
    hours = ("--start", "2024-01-01", "--end", "2024-01-02")
    (command.folder / "cases.py").write_text(
        "from featurestore.testing import FeatureCase\n"
        'bought = FeatureCase(of="scoring", given={"spending": [{"user_id": 1, "total": 1.0, "orders": 1, '
        '"event_timestamp": "2024-01-01T06:00Z"}]}, ask=[{"user_id": 1, "event_timestamp": "2024-01-01T07:00Z"}], '
        'expect=[{"total": 1.0}])\n'
    )
    for arguments, text in (
        (("apply",), "apply"),
        (("ingest", "spending", str(rows)), "spending"),
        (("quarantine", "spending", "--out", str(tmp_path / "bad.csv")), "spending"),
        (("compact",), "spending"),
        (("promote", "scoring@1", "--catch-up"), "scoring@1"),
        (("get-historical", "scoring", *hours, "--out", str(tmp_path / "rows.csv")), "scoring"),
        (("dataset", "create", "rows", "--service", "scoring", *hours), "rows"),
        (("dataset", "create", "rows", "--service", "scoring", *hours), "rows"),
        (("dataset", "reproduce", "rows"), "rows"),
        (("dataset", "diff", "rows@1", "rows@2"), "rows@1 and rows@2"),
        (("restore", "spending", "--to", "2100-01-01"), "spending"),
        (("gc",), "gc"),
        (("test",), "bought"),
    ):
        shown.clear()
        said = command(*arguments)
        assert (said.code, shown) == (0, [text]), (arguments, said.err)
