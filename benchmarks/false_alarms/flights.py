"""Flights of New York: real days, which are as alike as days are; the monitor beside the rules of others.

The flights of January to March are split at random: three quarters of the days are the training set, the others, in
order, are its control, one window a day. Nothing but chance tells them apart, so an alarm in a control is a false one.
July follows each control, so that a monitor that never says anything does not look good. Then the same without the cap
on what a block may say, and with blocks of a week.

Then forward in time: trained on two months, the two weeks after them are replayed. Seasons move, so nothing says that
no change is there; but two weeks of one season are not what a model is retrained for.
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

from benchmarks.drift_rules import RULES, Columns
from benchmarks.harness import Row
from featurestore import FeatureStore, Field, MonitorPolicy
from featurestore.definition_files import load_definitions
from featurestore.profiles import fit_baseline, merge, profile
from featurestore.statistics.design_effect import design_effect
from monitor.decisions import decide
from monitor.decisions.missing import newly_missing
from monitor.decisions.showing import Thresholds
from monitor.detector import DetectorState, Limits, fit_limits, step

EXAMPLE = Path(__file__).parents[2] / "examples" / "nycflights"
VIEWS = ("weather", "plane_facts", "carrier_delays")
APRIL, JUNE, JULY, AUGUST = date(2013, 4, 1), date(2013, 6, 1), date(2013, 7, 1), date(2013, 8, 1)
LAST = date(2013, 8, 15)
DAY, WEEK = timedelta(days=1), timedelta(days=7)
#: So large a number of blocks that the cap never binds.
UNCAPPED = 10**300
#: Trained from, trained until, replayed until.
FORWARD = (
    ("January, February, then March", date(2013, 1, 1), date(2013, 3, 1), date(2013, 3, 15)),
    ("June, July, then August", date(2013, 6, 1), date(2013, 8, 1), date(2013, 8, 15)),
)
#: Numbers with so many values or fewer are categories to Evidently; the lowest cut is no value.
FEW_VALUES = 6
#: Of the findings of July's alert, so many are looked at for the weather.
FIRST = 4
SEED = 2013

Days = Mapping[date, pl.DataFrame]


@dataclass(frozen=True)
class _Trial:
    """What one detector made of one split.

    Attributes:
        alarms: windows of the control at which the evidence reached its limit, whatever the effect.
        missing: windows of the control with values missing where none ever was, of which people are told at once.
        highest: the highest evidence in the control.
        delay: windows of July until the alert, evidence and effect; None when there is none.
        led: whether temperature or dew point were among the first findings of that alert.
        temp_worth: how many rows of ``temp`` are worth one.
    """

    alarms: int
    missing: int
    highest: float
    delay: int | None
    led: bool
    temp_worth: float


def run(*, quick: bool) -> list[Row]:
    """Judge control and July of several random splits, with the demo's definitions and policy."""
    by_day, fields, policy = _flights()
    days = sorted(day for day in by_day if day < APRIL)
    count = 5 if quick else 25
    ours, uncapped, weekly = [], [], []
    others: dict[str, list[int]] = {rule.name: [] for rule in RULES}
    for number in range(count):
        chosen = np.random.default_rng(SEED + number).choice(len(days), size=len(days) // 4, replace=False)
        control = [days[index] for index in sorted(chosen)]
        training = pl.concat(by_day[day] for day in days if day not in control)
        ours.append(_trial(training, by_day, control, fields, policy))
        uncapped.append(_trial(training, by_day, control, fields, policy, blocks=UNCAPPED))
        weekly.append(_trial(training, by_day, control, fields, policy, block=WEEK))
        for name, alarms in _rules(training, [by_day[day] for day in control], fields).items():
            others[name].append(alarms)
    each = len(days) // 4
    limit = math.log(_run_length(policy))
    noticed = [one for one in ours if one.delay is not None]
    return [
        _row("flights: controls with an alarm, of all", _alarmed(ours), count, "controls", 0),
        _row(f"flights: alarms in {count * each} windows", sum(one.alarms for one in ours), count * each, "windows", 0),
        _row(
            "flights: windows with news of missing values", sum(one.missing for one in ours), count * each, "windows", 0
        ),
        _row("flights: highest evidence, beside its limit", max(one.highest for one in ours), limit, "ln", 1),
        *_delays("the monitor", ours),
        _row("July led by temperature or dew point", sum(one.led for one in noticed), len(noticed), "controls"),
        *(
            _row(f"{name}: control windows with an alarm", sum(found), count * each, "windows")
            for name, found in others.items()
        ),
        _row("without the cap: controls with an alarm, of all", _alarmed(uncapped), count, "controls"),
        _row("blocks of a week: controls with an alarm, of all", _alarmed(weekly), count, "controls"),
        *_delays("blocks of a week", weekly),
        _row("temp, rows worth one: by weeks, by days", weekly[0].temp_worth, ours[0].temp_worth, "rows"),
        *(row for span in FORWARD for row in _forward(by_day, fields, policy, *span)),
    ]


def _forward(
    by_day: Days, fields: Sequence[Field], policy: MonitorPolicy, name: str, first: date, until: date, end: date
) -> list[Row]:
    """Return what two weeks after a training set bring, by the monitor and by the rules of others."""
    training = pl.concat(rows for day, rows in sorted(by_day.items()) if first <= day < until)
    control = sorted(day for day in by_day if until <= day < end)
    trial = _trial(training, by_day, control, fields, policy, after=())
    others = _rules(training, [by_day[day] for day in control], fields)
    return [
        _row(f"{name}: alarms", trial.alarms, len(control), "windows"),
        _row(f"{name}: windows with news of missing values", trial.missing, len(control), "windows"),
        _row(f"{name}: highest evidence", trial.highest, math.log(_run_length(policy)), "ln"),
        *(_row(f"{name}: {rule}", found, len(control), "windows") for rule, found in others.items()),
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
    """Return flights of the quarter and the summer by day, joined as in the demo, the features, and the policy."""
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
        judged = flights.filter((pl.col("day") < APRIL) | pl.col("day").is_between(JUNE, LAST, closed="left"))
        wanted = judged.select("origin", "tailnum", "carrier", "distance", "sched_hour", "time_hour", "day")
        joined = store.get_historical_features(wanted, "flight_delay", timestamp_field="time_hour").to_polars()
    (policy,) = (one for one in definitions if isinstance(one, MonitorPolicy))
    assert policy.service is not None
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
    after: Sequence[date] | None = None,
) -> _Trial:
    """Judge the control, then July (or what else comes after), as the monitor's pipeline does, without its database."""
    baseline = fit_baseline(training.to_arrow(), fields, time_column="time_hour", block=block)
    limits = fit_limits(baseline, smallest_change=policy.smallest_change, window=DAY)
    if blocks is not None:
        limits = replace(limits, blocks=blocks)
    state = DetectorState.start(limits)
    thresholds = Thresholds(usual=policy.effect_threshold, others={})
    alarms, missing, highest, delay, led = 0, 0, -math.inf, None, False
    seen = []
    july = sorted(day for day in by_day if JULY <= day < AUGUST) if after is None else after
    for at, day in enumerate([*control, *july]):
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
            average_run_length=_run_length(policy),
        )
        if at < len(control):
            alarms += evidence.alarm
            missing += bool(newly_missing(baseline.whole, window, thresholds))
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
                led = bool({"temp", "dewp"} & {one.feature for one in decision.findings[:FIRST]})
                break
    return _Trial(alarms, missing, highest, delay, led, _worth(limits, "temp", training.height, len(baseline.blocks)))


def _worth(limits: Limits, feature: str, rows: int, blocks: int) -> float:
    return float(design_effect(rows / blocks, limits.features[feature].rho))


def _run_length(policy: MonitorPolicy) -> float:
    assert policy.average_run_length is not None, "the policy of the demo says it"
    return policy.average_run_length


def _rules(training: pl.DataFrame, windows: Sequence[pl.DataFrame], fields: Sequence[Field]) -> dict[str, int]:
    """Return in how many windows each rule of others goes off, by counts over the baseline's cells."""
    baseline = fit_baseline(training.to_arrow(), fields, time_column="time_hour", block=DAY)
    counted = np.array([profile(one.to_arrow(), baseline.bins).counts for one in windows])
    days = [one for _, one in baseline.blocks]
    # NannyML's chunks are as large as windows: ten days, spread over the training set.
    chunks = np.array([days[at].counts for at in np.linspace(0, len(days) - 1, 10).astype(int)])
    groups = []
    for one in baseline.bins.features:
        place = baseline.bins.slices[one.name]
        cells = slice(place.start, place.start + one.values)
        parts = (baseline.whole.counts[None, cells], counted[:, None, cells], chunks[:, None, cells])
        if one.kind == "numeric" and len(one.cuts) > FEW_VALUES:
            cuts = np.asarray(one.cuts)
            values = np.concatenate([cuts, cuts[-1:]])[None]  # the largest of each cell
            groups.append(Columns("numeric", parts[0], parts[1], values, chunks=parts[2]))
        else:
            groups.append(Columns("categorical", parts[0], parts[1], chunks=parts[2]))
    return {rule.name: int(rule.alarms(groups).sum()) for rule in RULES}
