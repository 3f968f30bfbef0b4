"""The monitor and the rules of others over streams in which nothing changes, within a budget of one alarm a quarter."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from benchmarks.drift_rules import RULES, Columns
from benchmarks.false_alarms.streams import (
    CATEGORICAL,
    DAYS,
    HOUR,
    NUMERIC,
    ROWS,
    START,
    STREAMS,
    Stream,
    baseline_of,
    bins_of,
    draw,
    profile_of,
    values_of,
)
from benchmarks.harness import Row
from featurestore import plots as pictures
from featurestore.profiles import Baseline, Bins
from monitor.detector import DetectorState, fit_limits, step

#: Hourly windows between false alarms: one a quarter.
BUDGET = 2160
WINDOWS, BASELINES = 2_500, 4  # for each baseline: 10,000 a stream
QUICK_WINDOWS = 120
#: Windows in which the rules of others are tried, each on the first baseline: they need no more to be known.
TRIED = 500
SEED = 20240101
#: Rules of others that are drawn: the rest lie on these.
SHOWN = ("KS p<.05", "Bonferroni", "NannyML, Jensen-Shannon")
#: Windows whose counts are held at a time.
_PART = 100


@dataclass(frozen=True)
class Outcome:
    """What became of one stream and one baseline.

    Attributes:
        stream: its name.
        windows: how many were judged.
        alarms: the numbers of the windows in which the monitor alarmed: evidence alone, whatever the effect.
        highest: the highest value, as a share of the limit.
        others: by rule, the windows, of the first ``tried``, in which it went off.
        tried: how many.
    """

    stream: str
    windows: int
    alarms: NDArray[np.int64]
    highest: float
    others: dict[str, NDArray[np.int64]]
    tried: int


def run(*, quick: bool, plots: Path | None = None) -> list[Row]:
    """Judge each stream by several baselines, and by the rules of others."""
    if plots is not None:
        pictures.check_file(plots / "false_alarms.png")
    windows, baselines = (QUICK_WINDOWS, 1) if quick else (WINDOWS, BASELINES)
    streams = [_small(one) for one in STREAMS] if quick else list(STREAMS)
    work = [(stream, number, windows) for number in range(baselines) for stream in streams]
    with multiprocessing.get_context("spawn").Pool(min(2, os.cpu_count() or 1)) as pool:
        outcomes = pool.starmap(judge, work, chunksize=1)
    rows = []
    for stream in streams:
        mine = [one for one in outcomes if one.stream == stream.name]
        rows += _rows(stream, mine)
    rows += _others(outcomes)
    if plots is not None:
        _draw(outcomes, plots / "false_alarms.png")
    return rows


def _small(stream: Stream) -> Stream:
    return replace(stream, multiple=min(10, stream.multiple))


def judge(stream: Stream, number: int, windows: int) -> Outcome:
    """Judge one stream by one baseline, both drawn from the number alone."""
    rng = np.random.default_rng([SEED, number, STREAMS.index(stream) if stream in STREAMS else len(STREAMS)])
    bins = bins_of(stream)
    baseline, chunks = baseline_of(stream, bins, rng)
    limits = fit_limits(baseline, smallest_change=0.02, window=HOUR)
    state = DetectorState.start(limits)
    rows = ROWS * stream.multiple
    first = DAYS * 24
    alarms, highest = [], 0.0
    tried = min(windows, TRIED) if number == 0 else 0
    others: dict[str, list[int]] = {rule.name: [] for rule in RULES}
    held: list[NDArray[np.int64]] = []
    for at, counts in enumerate(draw(stream, bins, rng, stream.means(rng, first, windows), rows)):
        state, evidence = step(
            limits,
            state,
            profile_of(bins, counts, rows),
            window_start=START + (first + at) * HOUR,
            rows_per_block=24 * rows,
            average_run_length=BUDGET,
        )
        highest = max(highest, float(np.exp(evidence.log_value - evidence.log_limit)))
        if evidence.alarm:
            alarms.append(at)
        if at < tried:
            held.append(counts)
            if len(held) == _PART or at == tried - 1:
                groups = columns(bins, baseline, np.array(held), chunks)
                for rule in RULES:
                    others[rule.name] += (at + 1 - len(held) + np.flatnonzero(rule.alarms(groups))).tolist()
                held = []
    kept = {name: np.array(found, np.int64) for name, found in others.items()} if tried else {}
    return Outcome(stream.name, windows, np.array(alarms, np.int64), highest, kept, tried)


def columns(bins: Bins, baseline: Baseline, windows: NDArray[np.int64], chunks: NDArray[np.int64]) -> list[Columns]:
    """Return counts as the rules of others take them: values only, nulls left out."""
    values = values_of(bins)
    cells = len(values) + 2
    split = NUMERIC * cells
    whole = baseline.whole.counts

    def numbers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return counts[..., :split].reshape(*counts.shape[:-1], NUMERIC, cells)[..., :-2]

    def texts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
        return counts[..., split:].reshape(*counts.shape[:-1], CATEGORICAL, -1)[..., :-1]

    numeric = Columns(
        "numeric", numbers(whole), numbers(windows), np.tile(values, (NUMERIC, 1)), chunks=numbers(chunks)
    )
    return [numeric, Columns("categorical", texts(whole), texts(windows), chunks=texts(chunks))]


def run_length_bound(alarms: int, windows: int) -> float:
    """Return what the average run length is at least, with 95 % confidence: exact, for a Poisson number of alarms."""
    return windows / (float(chi2.ppf(0.95, 2 * (alarms + 1))) / 2)


def _rows(stream: Stream, outcomes: Sequence[Outcome]) -> list[Row]:
    windows = sum(one.windows for one in outcomes)
    alarms = sum(len(one.alarms) for one in outcomes)
    broken = sum(len(one.alarms) > one.windows / BUDGET for one in outcomes)
    bound = run_length_bound(alarms, windows)
    name = stream.name
    return [
        Row(work=f"{name}: alarms in {windows}", ours=alarms, floor=windows / BUDGET, unit="alarms", goal=1),
        Row(work=f"{name}: run length at least (95 %)", ours=bound, floor=BUDGET, unit="windows"),
        Row(work=f"{name}: baselines over budget", ours=broken, floor=len(outcomes), unit="baselines"),
        Row(work=f"{name}: highest value", ours=max(one.highest for one in outcomes), floor=1, unit="of limit"),
    ]


def _others(outcomes: Sequence[Outcome]) -> list[Row]:
    rows = []
    for one in outcomes:
        for rule, found in one.others.items():
            # A rule that never went off is known as far as it was tried.
            length = one.tried / max(1, len(found))
            rows.append(Row(work=f"{rule}: {one.stream}", ours=length, floor=BUDGET, unit="windows"))
    return rows


def _draw(outcomes: Sequence[Outcome], file: Path) -> None:
    """Draw the alarms so far over the windows, of the first baseline: a panel for each stream."""
    panels = []
    for one in outcomes:
        if not one.others:
            continue
        x = np.unique(np.linspace(1, one.tried, 200).astype(int))
        shown = {"the monitor": one.alarms, **{rule: one.others[rule] for rule in SHOWN if rule in one.others}}
        lines = [_line(rule, found, x) for rule, found in shown.items()]
        budget = pictures.Line(name="the budget", x=x.tolist(), y=(x / BUDGET).tolist())
        title = f"hourly windows: {one.stream}"
        panels.append(pictures.Panel(x=title, y="alarms so far", lines=[*lines, budget], logarithmic=True))
    file.parent.mkdir(parents=True, exist_ok=True)
    pictures.write(pictures.chart("False alarms where nothing changes, 200 features", panels), file)


def _line(name: str, alarms: NDArray[np.int64], x: NDArray[np.int64]) -> pictures.Line:
    so_far = np.searchsorted(alarms, x).tolist()
    # On a logarithmic axis nothing is a gap.
    return pictures.Line(name=name, x=x.tolist(), y=[float(count) if count else None for count in so_far])
