"""A bar appears where somebody waits and looks, and nowhere else."""

from __future__ import annotations

import io
import time

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
