"""Metrics of a window against the model's own baseline: a plain drop, and the bound on the running risk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from featurestore.errors import MonitorError, closest
from featurestore.statistics.estimate import Estimate
from monitor.performance.intervals import difference
from monitor.performance.reference import Reference
from monitor.performance.risk import RiskEvidence, RiskState, step_risk
from monitor.performance.scored import HIGHER_IS_BETTER, Metric
from monitor.performance.windows import PerformanceWindow

Verdict = Literal["ok", "not enough data", "drift", "severe"]


@dataclass(frozen=True, kw_only=True)
class PerformanceRules:
    """When a model's performance is bad enough to say so.

    Attributes:
        drops: by metric, how many points worse than the baseline matters, in the metric's unit: of accuracy 0.02 is two
            points.
        minimum_rows: effective rows, on both sides, below which a drop is not judged.

    Raises:
        MonitorError: there is no such metric, or its points are not above 0.
    """

    drops: Mapping[str, float] = field(default_factory=dict)
    minimum_rows: float = 30.0

    def __post_init__(self) -> None:
        for name, points in self.drops.items():
            if name not in HIGHER_IS_BETTER:
                raise MonitorError(f'There is no metric "{name}".', hint=closest(name, HIGHER_IS_BETTER))
            if not points > 0:
                raise MonitorError(
                    f"A drop of {name} by {points:g} points is always there.", hint="Give points above 0."
                )


@dataclass(frozen=True, kw_only=True)
class Drop:
    """How much worse a metric is than the model's own baseline.

    Attributes:
        metric: ``accuracy``.
        points: how many matter.
        change: how much worse, above 0 if it is, with its interval; None where nothing can be compared.
        verdict: ``drift`` where the whole interval lies over the points.
        text: what was found, as a sentence.
    """

    metric: str
    points: float
    change: Estimate | None
    verdict: Verdict
    text: str


@dataclass(frozen=True, kw_only=True)
class PerformanceDecision:
    """What a window's outcomes say of a model.

    Attributes:
        verdict: ``severe`` where a drop and the running risk agree, ``drift`` where one of them alarms.
        drops: one for each metric of the rules.
        risk: the evidence of the running risk; None where no budget was given.
        reasons: why, a sentence each.
    """

    verdict: Verdict
    drops: tuple[Drop, ...]
    risk: RiskEvidence | None
    reasons: tuple[str, ...]


def confidence_of_drops(average_run_length: float, rules: int = 1) -> float:
    """Return the confidence of intervals at which so many rules together page falsely once in so many windows.

    A drop rule can page, so it spends budget: if a metric is worse by just the points that matter, its interval clears
    them by chance with probability (1 - confidence) / 2 in each window, and almost never if it is not worse at all.

    Args:
        average_run_length: windows between false pages, on average.
        rules: that can page there.
    """
    return 1 - min(1.0, 2 / (average_run_length * rules)) if rules else 1.0


def find_drop(name: str, reference: Metric, current: Metric, points: float, *, minimum_rows: float = 30.0) -> Drop:
    """Return how much worse a metric is, and whether that surely is more than the points that matter.

    Args:
        name: the metric's.
        reference: of the model's own baseline.
        current: of the window.
        points: that matter, in the metric's unit.
        minimum_rows: effective rows, on both sides, below which nothing is judged.
    """
    for side, metric in (("the baseline", reference), ("the window", current)):
        lacking = metric.reason
        if metric.estimate is not None and metric.effective_rows < minimum_rows:
            lacking = f"{metric.effective_rows:.0f} independent rows, {minimum_rows:.0f} are needed"
        if lacking:
            text = f"{name} cannot be compared: {side} has no value, or too few rows for one ({lacking})."
            return Drop(metric=name, points=points, change=None, verdict="not enough data", text=text)
    assert reference.estimate is not None  # noqa: S101 - it has no reason to lack
    assert current.estimate is not None  # noqa: S101
    change = difference(current.estimate, reference.estimate)
    if HIGHER_IS_BETTER[name] or (HIGHER_IS_BETTER[name] is None and change.value < 0):
        change = difference(reference.estimate, current.estimate)
    worse = change.low > points
    text = (
        f"{name} {reference.estimate.value:.4g} -> {current.estimate.value:.4g}: worse by {change.value:.4g} "
        f"[{change.low:.4g}, {change.high:.4g}], {points:.4g} matter."
    )
    return Drop(metric=name, points=points, change=change, verdict="drift" if worse else "ok", text=text)


def judge(
    reference: Reference,
    window: PerformanceWindow,
    state: RiskState | None,
    rules: PerformanceRules,
    *,
    rows_per_block: float = 0.0,
    average_run_length: float | None = None,
    false_alarm_probability: float | None = None,
    confidence: float | None = None,
) -> tuple[RiskState | None, PerformanceDecision]:
    """Return the state after a window, and what its outcomes say.

    Args:
        reference: the model's own baseline.
        window: of matured predictions.
        state: of the running risk, after the window before; None before the first.
        rules: when a drop matters.
        rows_per_block: matured predictions that one day brings; the window's own where it is 0.
        average_run_length: of the running risk; see ``monitor.performance.risk``. Without a budget the
            running risk is not judged.
        false_alarm_probability: the same.
        confidence: of the drops' intervals, such as :func:`confidence_of_drops` gives; else that of the metrics.
    """
    drops = []
    for name, points in rules.drops.items():
        here, there = window.metrics.get(name), reference.metrics.get(name)
        if here is None or there is None:
            text = f"{name} is no metric of a {reference.task} model."
            drops.append(Drop(metric=name, points=points, change=None, verdict="not enough data", text=text))
            continue
        if confidence is not None:
            here, there = here.at(confidence), there.at(confidence)
        drops.append(find_drop(name, there, here, points, minimum_rows=rules.minimum_rows))
    evidence = None
    if average_run_length is not None or false_alarm_probability is not None:
        if state is None or state.limit_id != reference.risk.id:
            state = RiskState.start(reference.risk)
        state, evidence = step_risk(
            reference.risk,
            state,
            window.losses,
            window_start=window.start,
            rows_per_block=rows_per_block,
            average_run_length=average_run_length,
            false_alarm_probability=false_alarm_probability,
        )
    return state, _decision(tuple(drops), evidence, window)


def _decision(drops: tuple[Drop, ...], risk: RiskEvidence | None, window: PerformanceWindow) -> PerformanceDecision:
    reasons = [one.text for one in drops if one.verdict == "drift"]
    alarm = risk is not None and risk.alarm
    if risk is not None and alarm:
        since = "" if risk.onset is None else f" since {risk.onset:%Y-%m-%d %H:%M}"
        reasons.append(
            f"The running risk is {risk.risk:.4g} over {risk.rows:,} predictions{since}; "
            f"its limit is {risk.limit:.4g} (evidence ln {risk.log_value:.2f}, limit ln {risk.log_limit:.2f})."
        )
    dropped = any(one.verdict == "drift" for one in drops)
    verdict: Verdict = "severe" if dropped and alarm else "drift" if dropped or alarm else "ok"
    if verdict == "ok" and (
        not window.losses.size or (drops and all(one.verdict == "not enough data" for one in drops))
    ):
        verdict = "not enough data"
        reasons = [one.text for one in drops] or [f"No outcome of {window.coverage.matured:,} predictions is known."]
    return PerformanceDecision(verdict=verdict, drops=drops, risk=risk, reasons=tuple(reasons))
