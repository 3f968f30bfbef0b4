"""The two keys: what the evidence and the effects of all features together mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from featurestore.profiles import Baseline, FeatureBins, Profile
from featurestore.statistics.design_effect import design_effect
from featurestore.statistics.estimate import Estimate
from monitor.decisions.effects import Measured, measured
from monitor.decisions.finding import Decision, Direction, FeatureFinding, Kind, Move, Statistic, Verdict
from monitor.decisions.missing import newly_missing
from monitor.decisions.movement import moves_of
from monitor.decisions.naming import named_features
from monitor.decisions.showing import Shown, Thresholds, shown
from monitor.detector import Evidence, Limits

#: From where on an effect is as large as can be; 1 where it is a share of rows. Two normal distributions that lie two
#: standard deviations apart have a third of their rows in common.
_FAR: Mapping[Statistic, float] = {"wasserstein": 2.0}


@dataclass(frozen=True, kw_only=True)
class _Policy:
    """What the caller sets, beside the data."""

    thresholds: Thresholds
    statistics: Mapping[str, Statistic]
    predictions: frozenset[str]
    launch: bool

    def judged_by(self, feature: str, effects: Mapping[Statistic, Estimate]) -> Mapping[Statistic, Estimate]:
        """Return the effects by which a feature is judged: those that are shares of rows, or the one that is chosen."""
        chosen = self.statistics.get(feature)
        if chosen is None:
            return {name: effect for name, effect in effects.items() if name not in _FAR}
        return {chosen: effects.get(chosen, Estimate(0.0, 0.0, _FAR.get(chosen, 1.0)))}

    def plain_kind(self, feature: str) -> Kind:
        """Return the kind of a difference that nothing more particular explains."""
        if self.launch:
            return "launch mismatch"
        return "prediction drift" if feature in self.predictions else "drift"


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What is the same for all features."""

    policy: _Policy
    evidence: Evidence
    limits: Limits
    reference: Profile
    current: Profile
    hidden: frozenset[str]
    weights: Mapping[str, float]
    named: frozenset[str]
    onsets: Mapping[str, datetime]


def decide(
    baseline: Baseline,
    current: Profile,
    evidence: Evidence,
    limits: Limits,
    *,
    effect_threshold: float,
    rows_per_block: float,
    pii: frozenset[str] = frozenset(),
    thresholds: Mapping[str, float] | None = None,
    statistics: Mapping[str, Statistic] | None = None,
    importances: Mapping[str, float] | None = None,
    onsets: Mapping[str, datetime] | None = None,
    launch: bool = False,
    predictions: frozenset[str] = frozenset(),
    false_discovery_rate: float = 0.1,
) -> Decision:
    """Return the decision.

    A feature's effect is ``severe`` when its interval lies over the middle between threshold and 1: most of what could
    move has moved. (Of a Wasserstein distance, over the middle between threshold and two standard deviations.)

    Values that are missing where none ever was need no evidence (:mod:`monitor.decisions.missing`): such a finding is
    certain, whatever the detector says.

    Args:
        baseline: the training data.
        current: the profile of the rows since the onset; of the last window when there is none.
        evidence: the detector's, after the last window.
        limits: those the evidence was gathered with.
        effect_threshold: the least effect of which anyone is told.
        rows_per_block: rows that one block of the baseline's length brings in serving.
        pii: fields whose values must not leave: their findings carry no bins, categories or means.
        thresholds: in place of ``effect_threshold``: by ``"feature:statistic"``, by ``"*:statistic"`` for all features,
            or by ``"feature"`` for all its effects; the first of these that is there counts.
        statistics: the one effect by which a feature is judged, where it is not to be the surest of all. One that does
            not suit the feature's type judges nothing: the verdict is ``not enough data``.
        importances: of features to the model, at least 0; equal when not given. One that is missing has the mean.
        onsets: of features, where the detector has them; else the model's.
        launch: whether the difference has been there from the first window on.
        predictions: fields that are the model's output.
        false_discovery_rate: of the features that are named.
    """
    policy = _Policy(
        thresholds=Thresholds(usual=effect_threshold, others=thresholds or {}),
        statistics=statistics or {},
        predictions=predictions,
        launch=launch,
    )
    weights = _weights(baseline.bins.names, importances or {})
    named = named_features(evidence.features, evidence.windows, false_discovery_rate=false_discovery_rate)
    case = _Case(
        policy=policy,
        evidence=evidence,
        limits=limits,
        reference=baseline.whole,
        current=current,
        hidden=pii,
        weights=weights,
        named=frozenset(named),
        onsets=onsets or {},
    )
    findings = _findings(case, rows_per_block)
    ranked = sorted(findings, key=lambda one: (-one.rank, -one.effect_low, -one.effect, one.feature))
    verdict = _verdict(evidence, ranked)
    return Decision(
        verdict=verdict,
        evidence=evidence,
        findings=tuple(ranked),
        onset=evidence.onset if evidence.alarm else None,
        kind=_kind(verdict, ranked, launch=launch),
        named=named,
    )


def _weights(names: tuple[str, ...], importances: Mapping[str, float]) -> dict[str, float]:
    """Return each feature's importance, 1 on average."""
    given = [importances[name] for name in names if name in importances]
    mean = sum(given) / len(given) if given else 0.0
    if mean <= 0:
        return dict.fromkeys(names, 1.0)
    return {name: importances.get(name, mean) / mean for name in names}


def _verdict(evidence: Evidence, findings: list[FeatureFinding]) -> Verdict:
    found = {one.verdict for one in findings}
    if not evidence.alarm and not any(one.certain for one in findings):
        return "ok" if "ok" in found else "not enough data"
    if "severe" in found:
        return "severe"
    if "drift" in found:
        return "drift"
    return "not enough data" if any(one.effect_high > one.threshold for one in findings) else "ok"


def _kind(verdict: Verdict, findings: list[FeatureFinding], *, launch: bool) -> Kind | None:
    if verdict not in ("drift", "severe"):
        return None
    return "launch mismatch" if launch else next(one.kind for one in findings if one.verdict in ("drift", "severe"))


def _findings(case: _Case, rows_per_block: float) -> list[FeatureFinding]:
    """Return what became of each feature, in the order of the bins; what can be is computed of all at once."""
    policy, reference, current = case.policy, case.reference, case.current
    bins = reference.bins
    of_each = [case.limits.features[name] for name in bins.names]
    phi = design_effect(rows_per_block, [one.rho for one in of_each])
    found = measured(
        reference,
        current,
        reference_worth=np.array([one.rows for one in of_each], np.float64) / max(1, reference.rows),
        current_worth=1 / phi,
        chosen=policy.statistics,
    )
    moves = moves_of(reference, current, hidden=case.hidden)
    missing = newly_missing(reference, current, policy.thresholds)
    last = np.cumsum(bins.widths) - 1
    nulls = [(side.counts[last] / max(1, side.rows)).tolist() for side in (reference, current)]
    findings = []
    for one, effects, moved, before, after, worth in zip(
        bins.features, found, moves, *nulls, phi.tolist(), strict=True
    ):
        finding = _finding(case, one, effects, moved, null_rates=(before, after), phi=worth)
        # Where both keys have turned, or an effect was chosen, these say more.
        if finding.verdict not in ("drift", "severe") and one.name in missing and one.name not in policy.statistics:
            finding = _certain(finding, *missing[one.name], policy)
        findings.append(finding)
    return findings


def _finding(
    case: _Case,
    one: FeatureBins,
    found: Measured,
    moves: tuple[Move, ...],
    *,
    null_rates: tuple[float, float],
    phi: float,
) -> FeatureFinding:
    policy, reference, current, name = case.policy, case.reference, case.current, one.name
    judged = policy.judged_by(name, found.effects)
    seen = shown(name, found, judged, policy.thresholds, plain=policy.plain_kind(name))
    watched = bool(len(case.limits.features[name].limits))
    verdict = _feature_verdict(seen, alarm=case.evidence.alarm, watched=watched)
    weight, drifted, open_values = case.weights[name], verdict in ("drift", "severe"), one.column not in case.hidden
    return FeatureFinding(
        feature=name,
        statistic=seen.statistic,
        effect=seen.effect.value,
        effect_low=seen.effect.low,
        effect_high=seen.effect.high,
        threshold=seen.threshold,
        baseline_null_rate=null_rates[0],
        current_null_rate=null_rates[1],
        baseline_mean=reference.mean_of(name) if open_values else None,
        current_mean=current.mean_of(name) if open_values else None,
        baseline_rows=reference.rows,
        current_rows=current.rows,
        log_evidence=case.evidence.features.get(name),
        moved=tuple(map(str, moves)),
        verdict=verdict,
        kind=seen.kind,
        kinds=seen.kinds,
        direction=_direction(found, seen.statistic),
        onset=case.onsets.get(name, case.evidence.onset) if drifted else None,
        importance=weight,
        rank=seen.effect.low * weight,
        named=name in case.named,
        effective_rows=current.rows / phi,
        effects=found.effects,
        moves=moves,
    )


def _certain(found: FeatureFinding, statistic: Statistic, rate: Estimate, policy: _Policy) -> FeatureFinding:
    threshold = policy.thresholds.of(found.feature, statistic)
    return replace(
        found,
        statistic=statistic,
        effect=rate.value,
        effect_low=rate.low,
        effect_high=rate.high,
        threshold=threshold,
        verdict="severe" if rate.low > (1 + threshold) / 2 else "drift",
        kind="null spike",
        kinds=("null spike", *(kind for kind in found.kinds if kind != "null spike")),
        direction="up",
        rank=rate.low * found.importance,
        effects={**found.effects, statistic: rate},
        certain=True,
    )


def _direction(found: Measured, statistic: Statistic) -> Direction:
    if statistic in ("kolmogorov_smirnov", "wasserstein"):
        return found.direction
    way = found.grown.get(statistic, 0)
    return "up" if way > 0 else "down" if way < 0 else ""


def _feature_verdict(seen: Shown, *, alarm: bool, watched: bool) -> Verdict:
    low, high, threshold = seen.effect.low, seen.effect.high, seen.threshold
    far = _FAR.get(seen.statistic, 1.0)
    if not watched or (low <= threshold and high >= far):
        return "not enough data"
    if not alarm or low <= threshold:
        return "ok"
    return "severe" if low > (far + threshold) / 2 else "drift"
