"""How often does the monitor cry wolf where nothing changed, beside a KS test with p < 0.05 on each feature?

The flights of January to March are split at random: three quarters of the days are the training set, the others, in
order, are its control, one window a day. Nothing but chance tells them apart, so an alarm in a control is a false one.
July follows each control, so that a monitor that never says anything does not look good. Then the same without the cap
on what a block may say, and with blocks of a week.
"""

from __future__ import annotations

import importlib.util
import math
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
from scipy.stats import ks_2samp

from benchmarks.harness import Row
from featurestore import FeatureStore, Field, MonitorPolicy
from featurestore.definition_files import load_definitions
from featurestore.profiles import fit_baseline, merge, profile
from featurestore.statistics.design_effect import design_effect
from monitor.decisions import decide
from monitor.detector import DetectorState, Limits, fit_limits, step

EXAMPLE = Path(__file__).parent.parent / "examples" / "nycflights"
VIEWS = ("weather", "plane_facts", "carrier_delays")
APRIL, JULY, AUGUST = date(2013, 4, 1), date(2013, 7, 1), date(2013, 8, 1)
DAY, WEEK = timedelta(days=1), timedelta(days=7)
#: So large a number of blocks that the cap never binds.
UNCAPPED = 10**300
SIGNIFICANT = 0.05
SEED = 2013

Days = Mapping[date, pl.DataFrame]


@dataclass(frozen=True)
class _Trial:
    """What one detector made of one split.

    Attributes:
        alarms: windows of the control at which the evidence reached its limit, whatever the effect.
        highest: the highest evidence in the control.
        delay: windows of July until the alert, evidence and effect; None when there is none.
        temp_worth: how many rows of ``temp`` are worth one.
    """

    alarms: int
    highest: float
    delay: int | None
    temp_worth: float


def run(*, quick: bool) -> list[Row]:
    """Judge control and July of several random splits, with the demo's definitions and policy."""
    by_day, fields, policy = _flights()
    days = sorted(day for day in by_day if day < APRIL)
    count = 5 if quick else 25
    ours, uncapped, weekly, tested = [], [], [], []
    for number in range(count):
        chosen = np.random.default_rng(SEED + number).choice(len(days), size=len(days) // 4, replace=False)
        control = [days[index] for index in sorted(chosen)]
        training = pl.concat(by_day[day] for day in days if day not in control)
        ours.append(_trial(training, by_day, control, fields, policy))
        uncapped.append(_trial(training, by_day, control, fields, policy, blocks=UNCAPPED))
        weekly.append(_trial(training, by_day, control, fields, policy, block=WEEK))
        tested.append(sum(_ks_alarm(training, by_day[day], fields) for day in control))
    windows = count * (len(days) // 4)
    limit = math.log(policy.average_run_length)
    return [
        _row("controls with an alarm, beside KS's", _alarmed(ours), sum(one > 0 for one in tested), "controls", 0),
        _row(f"alarms in {windows} windows, beside KS's", sum(one.alarms for one in ours), sum(tested), "windows", 0),
        _row("highest evidence, beside its limit", max(one.highest for one in ours), limit, "ln", 1),
        *_delays("the monitor", ours),
        _row("without the cap: controls with an alarm, of all", _alarmed(uncapped), count, "controls"),
        _row("blocks of a week: controls with an alarm, of all", _alarmed(weekly), count, "controls"),
        *_delays("blocks of a week", weekly),
        _row("temp, rows worth one: by weeks, by days", weekly[0].temp_worth, ours[0].temp_worth, "rows"),
    ]


def _row(work: str, ours: float, floor: float, unit: str, goal: float | None = None) -> Row:
    return Row(work=work, ours=ours, floor=floor, unit=unit, goal=goal)


def _alarmed(trials: Sequence[_Trial]) -> int:
    return sum(one.alarms > 0 for one in trials)


def _delays(work: str, trials: Sequence[_Trial]) -> list[Row]:
    """Return rows on July beside the one window that nobody can do without."""
    delays = [one.delay for one in trials if one.delay is not None]
    rows = [_row(f"{work}: July unnoticed, of all", len(trials) - len(delays), len(trials), "controls")]
    for name, pick in (("fastest", min), ("median", statistics.median), ("slowest", max)):
        if delays:
            rows.append(_row(f"{work}: windows to July's alert, {name}", pick(delays), 1, "windows"))
    return rows


def _flights() -> tuple[Days, list[Field], MonitorPolicy]:
    """Return the flights of the quarter and of July by day, joined as in the demo, the features, and the policy."""
    with tempfile.TemporaryDirectory() as folder, FeatureStore.init(Path(folder) / "repo") as store:
        root = store.config.root
        shutil.copy(EXAMPLE / "definitions.py", root)
        _module("data").prepare(root / "data")
        definitions = load_definitions(store.config)
        # The policy is read and not applied: nobody is to be told, so no channel is configured.
        store.apply([one for one in definitions if not isinstance(one, MonitorPolicy)])
        for view in VIEWS:
            store.ingest(view)
        flights = pl.read_parquet(root / "data" / "flights.parquet").with_columns(
            pl.col("hour").alias("sched_hour"), pl.col("time_hour").dt.date().alias("day")
        )
        judged = flights.filter((pl.col("day") < APRIL) | pl.col("day").is_between(JULY, AUGUST, closed="left"))
        wanted = judged.select("origin", "tailnum", "carrier", "distance", "sched_hour", "time_hour", "day")
        joined = store.get_historical_features(wanted, "flight_delay", timestamp_field="time_hour").to_polars()
    (policy,) = (one for one in definitions if isinstance(one, MonitorPolicy))
    fields = [one for view in policy.service.outputs.values() for one in view]
    return {rows["day"][0]: rows for rows in joined.partition_by("day")}, fields, policy


def _module(name: str) -> ModuleType:
    """Return a module of the example, which is a folder of scripts and no package."""
    spec = importlib.util.spec_from_file_location(f"nycflights_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _trial(
    training: pl.DataFrame,
    by_day: Days,
    control: Sequence[date],
    fields: Sequence[Field],
    policy: MonitorPolicy,
    *,
    block: timedelta = DAY,
    blocks: int | None = None,
) -> _Trial:
    """Judge the control, then July, as the monitor's pipeline does, without its database."""
    baseline = fit_baseline(training.to_arrow(), fields, time_column="time_hour", block=block)
    limits = fit_limits(baseline, smallest_change=policy.smallest_change)
    if blocks is not None:
        limits = replace(limits, blocks=blocks)
    state = DetectorState.start(limits)
    alarms, highest, delay = 0, -math.inf, None
    seen = []
    july = sorted(day for day in by_day if day >= JULY)
    for day in [*control, *july]:
        start = datetime.combine(day, datetime.min.time(), UTC)
        window = profile(by_day[day].to_arrow(), baseline.bins)
        seen.append((start, window))
        rows_per_block = window.rows * (block / DAY)
        state, evidence = step(
            limits,
            state,
            window,
            window_start=start,
            rows_per_block=rows_per_block,
            average_run_length=policy.average_run_length,
        )
        if day < JULY:
            alarms += evidence.alarm
            highest = max(highest, evidence.log_value)
        elif evidence.alarm and evidence.onset is not None:
            since = merge([one for at, one in seen if at >= evidence.onset])
            decision = decide(
                baseline,
                since,
                evidence,
                limits,
                effect_threshold=policy.effect_threshold,
                rows_per_block=rows_per_block,
            )
            if decision.verdict in ("drift", "severe"):
                delay = july.index(day) + 1
                break
    return _Trial(alarms, highest, delay, _worth(limits, "temp", training.height, len(baseline.blocks)))


def _worth(limits: Limits, feature: str, rows: int, blocks: int) -> float:
    return float(design_effect(rows / blocks, limits.features[feature].rho))


def _ks_alarm(training: pl.DataFrame, window: pl.DataFrame, fields: Sequence[Field]) -> bool:
    return any(
        ks_2samp(
            training[field.name].drop_nulls().to_numpy(),
            window[field.name].drop_nulls().to_numpy(),
            method="asymp",
        ).pvalue
        < SIGNIFICANT
        for field in fields
    )
