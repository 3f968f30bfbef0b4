"""Statistics, evidence and the policy's numbers -> a decision.

Two keys open the door to a person: evidence that something changed (the detector's alarm), and an effect that matters
(an interval over the policy's threshold). Either alone stays inside: with many rows anything is evidence, and with few
rows any distance is large.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import Baseline, FeatureBins, Profile
from featurestore.statistics.design_effect import design_effect
from featurestore.statistics.estimate import Estimate
from featurestore.statistics.kolmogorov_smirnov import kolmogorov_smirnov
from featurestore.statistics.rate_difference import rate_difference
from featurestore.statistics.total_variation import total_variation
from monitor.detector import Evidence, FeatureLimits, Limits

Verdict = Literal["ok", "not enough data", "drift", "severe"]
Statistic = Literal["kolmogorov_smirnov", "total_variation", "null_rate", "nan_rate"]

#: How many bins or categories a finding names.
MOVED = 3


@dataclass(frozen=True, kw_only=True)
class FeatureFinding:
    """What became of one feature.

    Attributes:
        feature: its name.
        statistic: the effect that is shown, the surest of those that suit the feature: the Kolmogorov-Smirnov distance
            of numbers, the total variation distance of categories, or the change of the rate of nulls or NaN. All lie
            between 0 and 1 and read alike: the share of rows that are not where they were.
        effect: its value.
        effect_low: lower end of its 95 % interval, by effective sizes.
        effect_high: upper end.
        threshold: the policy's.
        baseline_null_rate: between 0 and 1.
        current_null_rate: between 0 and 1.
        baseline_mean: of finite numbers; None when there are none or the field is tagged ``pii``.
        current_mean: the same of the current rows.
        baseline_rows: rows of the baseline.
        current_rows: rows that were judged.
        log_evidence: natural logarithm of the feature's detector; None when it can give no evidence.
        moved: the bins or categories that moved most, as text; empty for fields tagged ``pii``.
        verdict: of this feature alone; ``not enough data`` when the interval reaches from under the threshold to 1, or
            the baseline is too small for any evidence.
    """

    feature: str
    statistic: Statistic
    effect: float
    effect_low: float
    effect_high: float
    threshold: float
    baseline_null_rate: float
    current_null_rate: float
    baseline_mean: float | None
    current_mean: float | None
    baseline_rows: int
    current_rows: int
    log_evidence: float | None
    moved: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the monitor makes of the rows since the onset.

    Attributes:
        verdict: ``drift`` or ``severe`` when both keys turn; ``not enough data`` when no verdict could be given, or
            when the evidence is there and the effect cannot yet be told from one under the threshold; else ``ok``.
        evidence: the detector's.
        findings: one for each feature, those that surely moved most first.
        onset: start of the first window that is likely different, when there is an alarm.
    """

    verdict: Verdict
    evidence: Evidence
    findings: tuple[FeatureFinding, ...]
    onset: datetime | None


def decide(
    baseline: Baseline,
    current: Profile,
    evidence: Evidence,
    limits: Limits,
    *,
    effect_threshold: float,
    rows_per_block: float,
    pii: frozenset[str] = frozenset(),
) -> Decision:
    """Return the decision.

    A feature's effect is ``severe`` when its interval lies over the middle between threshold and 1: most of what could
    move has moved.

    Args:
        baseline: the training data.
        current: the profile of the rows since the onset; of the last window when there is none.
        evidence: the detector's, after the last window.
        limits: those the evidence was gathered with.
        effect_threshold: the least effect of which anyone is told.
        rows_per_block: rows that one block of the baseline's length brings in serving.
        pii: fields whose values must not leave: their findings carry no bins, categories or means.
    """
    findings = [
        _finding(
            one,
            baseline.whole,
            current,
            limits.features[one.name],
            evidence,
            effect_threshold,
            rows_per_block,
            open_values=one.name not in pii,
        )
        for one in baseline.bins.features
    ]
    ranked = sorted(findings, key=lambda one: (-one.effect_low, -one.effect, one.feature))
    verdict = _verdict(evidence, ranked, effect_threshold)
    return Decision(
        verdict=verdict, evidence=evidence, findings=tuple(ranked), onset=evidence.onset if evidence.alarm else None
    )


def _verdict(evidence: Evidence, findings: list[FeatureFinding], threshold: float) -> Verdict:
    found = {one.verdict for one in findings}
    if not evidence.alarm:
        return "ok" if "ok" in found else "not enough data"
    if "severe" in found:
        return "severe"
    if "drift" in found:
        return "drift"
    return "not enough data" if any(one.effect_high > threshold for one in findings) else "ok"


def _finding(
    one: FeatureBins,
    reference: Profile,
    current: Profile,
    limits: FeatureLimits,
    evidence: Evidence,
    threshold: float,
    rows_per_block: float,
    *,
    open_values: bool,
) -> FeatureFinding:
    phi = float(design_effect(rows_per_block, limits.rho))
    effects = _effects(one, reference, current, limits.rows / max(1, reference.rows), 1 / phi)
    statistic, effect = max(effects.items(), key=lambda item: (item[1].low, item[1].value))
    return FeatureFinding(
        feature=one.name,
        statistic=statistic,
        effect=effect.value,
        effect_low=effect.low,
        effect_high=effect.high,
        threshold=threshold,
        baseline_null_rate=reference.nulls(one.name) / max(1, reference.rows),
        current_null_rate=current.nulls(one.name) / max(1, current.rows),
        baseline_mean=reference.mean_of(one.name) if open_values else None,
        current_mean=current.mean_of(one.name) if open_values else None,
        baseline_rows=reference.rows,
        current_rows=current.rows,
        log_evidence=evidence.features.get(one.name),
        moved=_moved(one, reference, current) if open_values else (),
        verdict=_feature_verdict(effect, threshold, alarm=evidence.alarm, watched=bool(len(limits.limits))),
    )


def _feature_verdict(effect: Estimate, threshold: float, *, alarm: bool, watched: bool) -> Verdict:
    if not watched or (effect.low <= threshold and effect.high >= 1):
        return "not enough data"
    if not alarm or effect.low <= threshold:
        return "ok"
    return "severe" if effect.low > (1 + threshold) / 2 else "drift"


def _effects(
    one: FeatureBins, reference: Profile, current: Profile, reference_worth: float, current_worth: float
) -> dict[Statistic, Estimate]:
    """Return each effect that suits the feature; the worths turn rows into independent rows."""
    before, after = reference.cells(one.name), current.cells(one.name)
    effects: dict[Statistic, Estimate] = {}
    if one.kind != "opaque":
        values = slice(0, one.values)
        sizes = {
            "reference_size": float(before[values].sum()) * reference_worth,
            "current_size": float(after[values].sum()) * current_worth,
        }
        if one.kind == "numeric":
            effects["kolmogorov_smirnov"] = kolmogorov_smirnov(before[values], after[values], **sizes)
            effects["nan_rate"] = _rate(before, after, -2, reference_worth, current_worth)
        else:
            effects["total_variation"] = total_variation(before[values], after[values], **sizes)
    effects["null_rate"] = _rate(before, after, -1, reference_worth, current_worth)
    return effects


def _rate(
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    cell: int,
    reference_worth: float,
    current_worth: float,
) -> Estimate:
    """Return the size of the difference of a cell's rates, whatever its sign."""
    m, n = int(before.sum()), int(after.sum())
    value, low, high = rate_difference(
        float(before[cell]) / max(1, m),
        float(after[cell]) / max(1, n),
        reference_size=m * reference_worth,
        current_size=n * current_worth,
    )
    sizes = (abs(low), abs(high))
    return Estimate(abs(value), 0.0 if low <= 0 <= high else min(sizes), max(sizes))


def _moved(one: FeatureBins, reference: Profile, current: Profile) -> tuple[str, ...]:
    """Return the cells whose share changed most, as text, the largest change first."""
    if not reference.rows or not current.rows:
        return ()
    before = one.readable(reference.cells(one.name)) / reference.rows
    after = one.readable(current.cells(one.name)) / current.rows
    order = np.argsort(-np.abs(after - before), kind="stable")[:MOVED]
    return tuple(
        f"{one.labels[cell]}: {before[cell]:.1%} -> {after[cell]:.1%}" for cell in order if after[cell] != before[cell]
    )
