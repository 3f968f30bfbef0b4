"""What a policy would have paged, on profiles that were kept."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from featurestore.errors import MonitorError
from monitor.backtest import BacktestReport, backtest
from monitor.backtest.achieved import Achieved
from monitor.backtest.nullstream import null_windows, pseudo_baseline
from monitor.backtest.rendering import as_json, lines
from monitor.baselines import find_reference
from monitor.history import Check, Watch, instant
from monitor.pipeline import run_once
from monitor.schema import alerts, outbox, timeline, windows

_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_START = datetime(2013, 7, 1, tzinfo=UTC)


@pytest.fixture
def watched(scene: Any) -> Any:
    """A scene whose rows change on July 6 and are as they were from July 16 on."""
    scene.train()
    scene.serve_days(0, 5)
    scene.serve_days(5, 10, shift=1.0)
    scene.serve_days(15, 8)
    with scene.history() as history:
        run_once(scene, history, scene.policy, now=_NOW)
    return scene


def tried(scene: Any, *, null_count: int = 20, **numbers: Any) -> BacktestReport:
    since, until = numbers.pop("since", None), numbers.pop("until", None)
    budgets = numbers.pop("budgets", None)
    definition = replace(scene.policy.definition, **numbers)
    with scene.history() as history:
        return backtest(
            scene,
            history,
            scene.policy,
            definition,
            since=since,
            until=until,
            now=_NOW,
            budgets=budgets,
            null_count=null_count,
        )


def test_the_policy_as_it_is_would_have_paged_what_it_paged(watched: Any) -> None:
    report = tried(watched)
    with watched.history() as history, history.read() as connection:
        # What it raised, whether people were told of it or it was over by then.
        fired = select(alerts.c.rule, timeline.c.at, alerts.c.onset).join(timeline, timeline.c.alert == alerts.c.key)
        raised = connection.execute(fired.where(timeline.c.what == "fired")).all()
    assert [(one.rule, one.at, one.onset) for one in report.pages] == [
        (one.rule, instant(one.at), instant(one.onset)) for one in raised
    ]
    (page,) = report.pages
    assert page.on[0] in {"temp", "felt"}
    assert page.resolved is not None
    (stream,) = report.streams
    assert (stream.windows, stream.skipped) == (23, 0)


def test_other_numbers_give_other_pages_and_change_nothing(watched: Any) -> None:
    with watched.history() as history, history.read() as connection:
        before = connection.execute(select(windows)).all(), connection.execute(select(outbox)).all()
    assert tried(watched, effect_threshold=0.9).pages == ()
    assert tried(watched, average_run_length=1e300).pages == ()
    assert tried(watched, hold_for=30).pages == ()
    held = tried(watched, hold_for=2).pages
    assert held[0].at > tried(watched).pages[0].at
    with watched.history() as history, history.read() as connection:
        assert (connection.execute(select(windows)).all(), connection.execute(select(outbox)).all()) == before


def test_only_windows_of_the_time_that_was_asked_for_count(watched: Any) -> None:
    report = tried(watched, until=_START + 5 * _DAY)
    assert (report.streams[0].windows, report.pages) == (5, ())
    later = tried(watched, since=_START + 16 * _DAY)
    assert (later.streams[0].windows, later.pages) == (7, ())


def test_a_budget_is_tried_in_place_of_the_routes(watched: Any) -> None:
    strict = tried(watched, average_run_length=None, budgets={"ops": 0.001})
    assert strict.streams[0].run_length == pytest.approx(91.3125 / 0.001)
    assert tried(watched, average_run_length=None).streams[0].run_length == pytest.approx(91.3125)


def test_what_checks_found_counts_with_the_holding_times_that_are_tried(watched: Any) -> None:
    watch = Watch(policy="flight_drift", policy_version=1, service="flight_delay@1")
    finding = {"rule": "volume_drop", "subject": "flight_delay@1", "verdict": "drift", "statistical": True}
    with watched.history() as history, history.write() as connection:
        for day in range(6):
            found = [finding] if day in (2, 3) else []
            check = Check(subject="quality", at=_START + day * _DAY, verdict="ok", findings=found)
            history.record_check(connection, watch, check, now=_NOW)
    report = tried(watched)
    (page,) = [one for one in report.pages if one.rule == "volume_drop"]
    assert (page.at, page.resolved) == (_START + 2 * _DAY, None)
    assert report.checks == 6
    assert not [one for one in tried(watched, hold_for=3).pages if one.rule == "volume_drop"]


def test_a_policy_that_has_judged_nothing_says_so(scene: Any) -> None:
    scene.train()
    with pytest.raises(MonitorError, match="has judged no window") as raised:
        tried(scene)
    assert "run-once" in raised.value.hint


def test_profiles_cannot_be_cut_again(watched: Any) -> None:
    with pytest.raises(MonitorError, match="another window"):
        tried(watched, window=timedelta(hours=1))


def test_windows_without_a_change_raise_nothing_and_the_bound_says_how_little_that_proves(watched: Any) -> None:
    achieved = tried(watched, null_count=60).achieved
    assert achieved is not None
    assert (achieved.windows, achieved.pages) == (60, 0)
    # 3 / 60 windows, and a quarter has 91.3 of them.
    assert achieved.most_per_quarter == pytest.approx(2.9957 / 60 * 91.3125, rel=1e-4)


def test_the_same_seed_gives_the_same_report(watched: Any) -> None:
    assert tried(watched) == tried(watched)


def test_it_is_told_in_words_and_in_strict_json(watched: Any) -> None:
    report = tried(watched)
    json.dumps(as_json(report), allow_nan=False)
    text = "\n".join(lines(report))
    assert "It would have paged 1 time (1 drift):" in text
    assert "flight_delay@1: 23 windows from 2013-07-01 to 2013-07-24" in text
    assert "Chance alone: 0 false pages in 20 windows" in text
    assert "It would have paged nobody." in "\n".join(lines(tried(watched, effect_threshold=0.9)))


@pytest.mark.parametrize(
    ("windows", "pages", "most"),
    # Garwood's interval, one-sided: 2.9957, 4.7439, 18.2075 at counts of 0, 1 and 11.
    [(1000, 0, 2.9957), (1000, 1, 4.7439), (1000, 11, 18.2075)],
)
def test_the_bound_is_that_of_a_poisson_count(windows: int, pages: int, most: float) -> None:
    one = Achieved(windows=windows, pages=pages, windows_per_quarter=1000.0)
    assert one.most_per_quarter == pytest.approx(most, rel=1e-4)
    assert one.per_quarter == pages
    assert one.least_run_length == pytest.approx(windows / most, rel=1e-4)


@pytest.mark.parametrize("length", [timedelta(hours=1), timedelta(hours=6), _DAY, 3 * _DAY])
def test_null_windows_are_made_of_the_rows_of_blocks(scene: Any, length: timedelta) -> None:
    scene.train(days=10)
    baseline = find_reference(scene.config, scene.registry, "flight_delay@1").baseline
    made = list(null_windows(baseline, length, 30, _START, np.random.default_rng(1)))
    assert len(made) == 30
    assert [one.start for one in made] == [_START + number * length for number in range(30)]
    for one in made:
        assert (one.profile.counts >= 0).all()
        totals = {int(one.profile.cells(name).sum()) for name in baseline.bins.names}
        assert totals == {one.profile.rows}
        assert abs(one.profile.rows - 200 * (length / _DAY)) <= 1
    pseudo = pseudo_baseline(baseline, np.random.default_rng(1))
    assert len(pseudo.blocks) == len(baseline.blocks)
    assert pseudo.bins == baseline.bins


def test_the_parts_of_a_block_are_the_block(scene: Any) -> None:
    scene.train(days=3)
    baseline = find_reference(scene.config, scene.registry, "flight_delay@1").baseline
    made = list(null_windows(baseline, timedelta(hours=1), 24, _START, np.random.default_rng(3)))
    whole = sum(one.profile.counts for one in made)
    assert any(np.array_equal(whole, block.counts) for _, block in baseline.blocks)
