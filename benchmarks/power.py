"""How soon is a change seen, beside the rules of others at the same rate of false alarms?

One of 20 or 200 features changes, in streams whose truth is known (:mod:`benchmarks.power_streams`); a delay is counted
in windows from the change to the alarm, the window of the alarm included. What is equal:

- the baseline (90 blocks of a window's rows), the windows, their bins, and the change, which comes after ten windows
  without one;
- false alarms: each rule's threshold is set, by simulation, so that it goes off once in 2,160 windows without a
  change. So is the monitor's, in the column "ours"; as it is delivered ("kept"), 2,160 is a bound that it keeps, and it
  goes off less often than the others, so it is later;
- what is tolerated, in two tables: nothing (the monitor's smallest change is 0; thresholds are set where nothing
  moves), or what lies within .02 (its smallest change; thresholds are set where every feature has moved by that).

A change of two features' correlation alone is in a table of its own (:mod:`benchmarks.power_joint`): no rule on single
features sees it, and our second opinion is one look at one window, whose delay is one window where it is sure.

What is not equal: the monitor sees nulls by itself; for the change of nulls the others are given "is null" as columns.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.drift_rules import RULES, Columns, Floats, Rule
from benchmarks.harness import Row
from benchmarks.power_joint import FEATURES as FEATURES_TOGETHER
from benchmarks.power_joint import opinions
from benchmarks.power_streams import BLOCKS, CHANGES, DAY, START, Change, Drawn, Grid, World, tolerated
from featurestore.plots import Line, Panel, chart, write
from monitor.detector import DetectorState, Limits, fit_limits, step

RUN_LENGTH = 2160
SIZES = (200, 1_000, 10_000)
FEATURES = (20, 200)
TOLERATED = (0.0, 0.02)
CORRELATIONS = (0.0, 0.3, 0.6, 0.9)
SEED = 7
#: Windows without a change before it: the monitor's launch is over by then.
BEFORE = 10
AFTER = 100
NEVER = AFTER + 1
LOG_RUN_LENGTH = math.log(RUN_LENGTH)
#: Windows of one baseline that the monitor's threshold is set on.
STREAM = 1000
_ENDLESS = 1e300

#: Features that null scores are drawn of at once: the scores are of single columns, so it does not matter how many.
_POOLED = 16

Scores = Callable[[Columns], Floats]


@dataclass(frozen=True)
class Effort:
    """How much is simulated.

    Attributes:
        runs: repetitions of each cell; delays are their medians.
        sizes: rows of a window.
        features: how many.
        references: baselines that null scores are drawn with.
        null_windows: windows of each of them.
        windows: windows put together from null scores, for thresholds.
        evidence_windows: windows without a change, by number of features, that the monitor's own threshold is set on.
        opinions: windows that a second opinion is asked of, for each size and correlation.
    """

    runs: int
    sizes: tuple[int, ...]
    features: tuple[int, ...]
    references: int
    null_windows: int
    windows: int
    evidence_windows: Mapping[int, int]
    opinions: int


FULL = Effort(
    runs=11,
    sizes=SIZES,
    features=FEATURES,
    references=100,
    null_windows=400,
    windows=100_000,
    evidence_windows={20: 20_000, 200: 6_000},
    opinions=100,
)
QUICK = Effort(
    runs=5,
    sizes=SIZES[:2],
    features=FEATURES[:1],
    references=40,
    null_windows=150,
    windows=40_000,
    evidence_windows={20: 6_000},
    opinions=20,
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one change, in windows of one size, among so many features, is seen after.

    Attributes:
        tolerance: the smallest change that matters.
        rows: of a window.
        features: one of which changes.
        change: its name.
        ours: the monitor's delay at the same rate of false alarms, in windows; :data:`NEVER` when it did not see it.
        kept: its delay as it is delivered, with the run length as a bound.
        others: by rule.
    """

    tolerance: float
    rows: int
    features: int
    change: str
    ours: float
    kept: float
    others: Mapping[str, float]

    @property
    def best(self) -> float:
        """The delay of the quickest of the others."""
        return min(self.others.values())


@dataclass(frozen=True)
class Result:
    """All cells, and how many of the windows without a change the monitor gave an alarm in, of how many."""

    cells: list[Cell]
    false_alarms: int
    null_windows: int


def run(*, quick: bool, plots: Path | None = None) -> list[Row]:
    """Measure all cells, print them, draw them into a folder if there is one, and sum up."""
    result = measure(QUICK if quick else FULL)
    _print(result.cells)
    _print_joint(QUICK if quick else FULL)
    if plots is not None:
        _draw(result.cells, plots)
    rows = []
    for tolerance in TOLERATED:
        cells = [one for one in result.cells if one.tolerance == tolerance]
        seen = [one for one in cells if min(one.ours, one.best) < NEVER]
        good = sum(one.ours <= one.best for one in seen)
        work = f"tolerating {tolerance:g}: cells at or below the best, of seen"
        rows.append(Row(work=work, ours=good, floor=len(seen), unit="cells", goal=0.9, more_is_better=True))
    work = "as delivered: alarms without a change, beside the budget's"
    allowed = result.null_windows / RUN_LENGTH
    return [*rows, Row(work=work, ours=result.false_alarms, floor=allowed, unit="alarms", goal=1)]


def measure(effort: Effort) -> Result:
    """Return the delays of all cells."""
    cells: list[Cell] = []
    alarms = windows = 0
    for rows in effort.sizes:
        grid = Grid(BLOCKS * rows)
        for tolerance in TOLERATED:
            rng = np.random.default_rng([SEED, rows, round(1000 * tolerance)])
            pool = _null_scores(rng, grid, rows, tolerance, effort)
            for features in effort.features:
                delays = _Delays(rng, grid, rows, features, tolerance, pool, effort)
                cells += delays.cells()
                alarms += delays.false_alarms
                windows += delays.null_windows
    return Result(cells, alarms, windows)


def _scored() -> list[Scores]:
    """Return what rules score columns by, each once."""
    return list(dict.fromkeys(rule.scores for rule in RULES))


def _null_scores(
    rng: np.random.Generator, grid: Grid, rows: int, tolerance: float, effort: Effort
) -> dict[str, dict[Scores, Floats]]:
    """Return scores of columns in which nothing has changed that matters, by kind of column."""
    found: dict[str, dict[Scores, list[Floats]]] = {
        kind: {score: [] for score in _scored()} for kind in ("numbers", "categories")
    }
    for _ in range(effort.references):
        # Three numbers and a category; the pool is of single columns, so how many are drawn at once does not matter.
        world = World.make(rng, 4, rows, grid)
        drawn = (
            tolerated(rng, world, effort.null_windows, tolerance) if tolerance else world.draw(rng, effort.null_windows)
        )
        for kind, columns in zip(("numbers", "categories"), world.columns(drawn, nulls=False), strict=True):
            for score, parts in found[kind].items():
                parts.append(score(columns).ravel())
    return {kind: {score: np.concatenate(parts) for score, parts in by.items()} for kind, by in found.items()}


class _Delays:
    """Delays among so many features, in windows of one size."""

    def __init__(
        self,
        rng: np.random.Generator,
        grid: Grid,
        rows: int,
        features: int,
        tolerance: float,
        pool: dict[str, dict[Scores, Floats]],
        effort: Effort,
    ) -> None:
        self.rng, self.grid, self.rows, self.features = rng, grid, rows, features
        self.tolerance, self.pool, self.effort = tolerance, pool, effort
        self.false_alarms = self.null_windows = 0

    def cells(self) -> list[Cell]:
        thresholds, limit = self._thresholds(), self._limit()
        ours: dict[str, list[int]] = {change.name: [] for change in CHANGES}
        kept: dict[str, list[int]] = {change.name: [] for change in CHANGES}
        others: dict[str, dict[str, list[int]]] = {change.name: {rule.name: [] for rule in RULES} for change in CHANGES}
        for _ in range(self.effort.runs):
            world = World.make(self.rng, self.features, self.rows, self.grid)
            limits = fit_limits(world.baseline, smallest_change=self.tolerance)
            *_, (state, _) = self._judged(world, limits, DetectorState.start(limits), world.draw(self.rng, BEFORE), 0)
            usual = world.draw(self.rng, AFTER)
            unchanged = [{score: score(one) for score in _scored()} for one in world.columns(usual, nulls=True)]
            for change in CHANGES:
                changed = world.changed(self.rng, usual, change)
                values = self._until(world, limits, state, changed, max(limit, LOG_RUN_LENGTH))
                ours[change.name].append(_delay(values, limit))
                kept[change.name].append(_delay(values, LOG_RUN_LENGTH))
                for rule, delay in self._theirs(world, changed, change, unchanged, thresholds):
                    others[change.name][rule.name].append(delay)
        return [
            Cell(
                tolerance=self.tolerance,
                rows=self.rows,
                features=self.features,
                change=change.name,
                ours=statistics.median(ours[change.name]),
                kept=statistics.median(kept[change.name]),
                others={name: statistics.median(delays) for name, delays in others[change.name].items()},
            )
            for change in CHANGES
        ]

    def _thresholds(self) -> dict[str, float]:
        """Return from where on each rule goes off once in so many windows, by putting windows together at random."""
        categories = self.features // 4
        found: dict[str, list[Floats]] = {rule.name: [] for rule in RULES}
        part = 4_000_000 // self.features
        for start in range(0, self.effort.windows, part):
            count = min(part, self.effort.windows - start)
            for score in _scored():
                numbers, letters = self.pool["numbers"][score], self.pool["categories"][score]
                drawn = np.concatenate(
                    [
                        numbers[self.rng.integers(0, len(numbers), (count, self.features - categories))],
                        letters[self.rng.integers(0, len(letters), (count, categories))],
                    ],
                    axis=1,
                )
                for rule in RULES:
                    if rule.scores is score:
                        found[rule.name].append(rule.combine(drawn))
        return {name: float(np.quantile(np.concatenate(parts), 1 - 1 / RUN_LENGTH)) for name, parts in found.items()}

    def _limit(self) -> float:
        """Return the logarithm of the monitor's value that it reaches anew once in so many windows without a change."""
        reached: list[Floats] = []
        windows = self.effort.evidence_windows[self.features]
        while sum(map(len, reached)) < windows:
            world = World.make(self.rng, self.features, self.rows, self.grid)
            limits = fit_limits(world.baseline, smallest_change=self.tolerance)
            drawn = tolerated(self.rng, world, min(windows, STREAM), self.tolerance)
            values = np.array([one for _, one in self._judged(world, limits, DetectorState.start(limits), drawn, 0)])
            # Only a rise can raise an alarm: where the value falls it was as high already.
            reached.append(np.where(values > np.append(-np.inf, values[:-1]), values, -np.inf))
            self.null_windows += len(values)
            self.false_alarms += int(np.count_nonzero((values[1:] >= LOG_RUN_LENGTH) & (values[:-1] < LOG_RUN_LENGTH)))
        return float(np.quantile(np.concatenate(reached), 1 - 1 / RUN_LENGTH, method="lower"))

    def _judged(
        self, world: World, limits: Limits, state: DetectorState, windows: Drawn, before: int
    ) -> Iterator[tuple[DetectorState, float]]:
        """Yield the monitor's state and the logarithm of its value after each window; it never starts anew."""
        for at in range(len(windows.numbers)):
            part = slice(at, at + 1)
            one = Drawn(windows.numbers[part], windows.categories[part], windows.nulls[part])
            state, evidence = step(
                limits,
                state,
                world.profiles(one)[0],
                window_start=START + (BLOCKS + before + at) * DAY,
                rows_per_block=self.rows,
                average_run_length=_ENDLESS,
            )
            yield state, evidence.log_value

    def _until(self, world: World, limits: Limits, state: DetectorState, changed: Drawn, limit: float) -> list[float]:
        """Return the logarithms of the monitor's values up to the first that reaches a limit."""
        values = []
        for _, value in self._judged(world, limits, state, changed, BEFORE):
            values.append(value)
            if value >= limit:
                break
        return values

    def _theirs(
        self,
        world: World,
        changed: Drawn,
        change: Change,
        unchanged: Sequence[Mapping[Scores, Floats]],
        thresholds: Mapping[str, float],
    ) -> Iterator[tuple[Rule, int]]:
        place = 2 if change.nulls else 0 if change.distribution is not None else 1
        columns = world.columns(changed, nulls=True)[place]
        one = Columns(
            columns.kind,
            columns.reference[:1],
            columns.windows[:, :1],
            values=None if columns.values is None else columns.values[:1],
            chunks=None if columns.chunks is None else columns.chunks[:, :1],
        )
        for score in _scored():
            groups = [by[score].copy() for by in unchanged]
            groups[place][:, :1] = score(one)
            seen = np.concatenate(groups if change.nulls else groups[:2], axis=1)
            for rule in RULES:
                if rule.scores is score:
                    reached = np.flatnonzero(rule.combine(seen) >= thresholds[rule.name])
                    yield rule, int(reached[0]) + 1 if len(reached) else NEVER


def _delay(values: Sequence[float], limit: float) -> int:
    return next((at for at, value in enumerate(values, start=1) if value >= limit), NEVER)


def _shown(delay: float) -> str:
    return f">{AFTER}" if delay >= NEVER else f"{delay:g}"


def _print(cells: Sequence[Cell]) -> None:
    """Print one table for each tolerance, as Markdown."""
    names = [rule.name for rule in RULES]
    for tolerance in TOLERATED:
        print(f"\nmedian delay in windows; tolerated: {tolerance:g}; false alarms: 1 in {RUN_LENGTH} windows\n")
        print(f"| rows | features | change | ours | best of others | ours, kept | {' | '.join(names)} |")
        print(f"|---:|---:|---|---:|---:|---:|{'---:|' * len(names)}")
        for one in cells:
            if one.tolerance == tolerance:
                delays = " | ".join(_shown(one.others[name]) for name in names)
                lost = "" if one.ours <= one.best else " (later)"
                ours = f"{_shown(one.ours)}{lost}"
                lead = f"{ours} | {_shown(one.best)} | {_shown(one.kept)}"
                print(f"| {one.rows} | {one.features} | {one.change} | {lead} | {delays} |")


def _print_joint(effort: Effort) -> None:
    """Print how many second opinions were sure, where nothing and where a correlation alone had changed."""
    rng = np.random.default_rng(SEED)
    print(f"\nsecond opinion, {FEATURES_TOGETHER} features, two of them correlated; windows of {effort.opinions}\n")
    print("| rows | correlation | surely differs | drift | the pair is named |")
    print("|---:|---:|---:|---:|---:|")
    for rows in effort.sizes:
        for correlation in CORRELATIONS:
            one = opinions(rng, rows=rows, correlation=correlation, windows=effort.opinions)
            print(f"| {rows} | {correlation:g} | {one.sure} | {one.drifted} | {one.named} |")


def _draw(cells: Sequence[Cell], folder: Path) -> None:
    """Draw the delays over the size of windows, a picture for each tolerance and number of features."""
    folder.mkdir(parents=True, exist_ok=True)
    for tolerance in TOLERATED:
        for features in sorted({one.features for one in cells}):
            chosen = [one for one in cells if (one.tolerance, one.features) == (tolerance, features)]
            panels = []
            for change in CHANGES:
                of_change = sorted((one for one in chosen if one.change == change.name), key=lambda one: one.rows)
                sizes = [math.log10(one.rows) for one in of_change]
                lines = [
                    Line(name="ours", x=sizes, y=[one.ours for one in of_change]),
                    Line(name="ours, run length kept", x=sizes, y=[one.kept for one in of_change]),
                    Line(name="best of the others", x=sizes, y=[one.best for one in of_change]),
                ]
                panels.append(
                    Panel(
                        x="rows of a window, as a power of ten",
                        y=f"windows: {change.name}",
                        lines=lines,
                        logarithmic=True,
                    )
                )
            title = f"Delay until the alarm: 1 of {features} features changes; tolerated: {tolerance:g}"
            write(chart(title, panels), folder / f"power_{features}_{round(100 * tolerance):02d}.png")
