"""One window of one stream or slice -> evidence, decision, and what each rule saw of it.

Pure: the pipeline and the backtest judge by this one function, so what a policy would have paged is what it pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from featurestore.definitions import MonitorPolicy
from featurestore.profiles import Profile, merge
from monitor.alerts.states import Alert, Observation
from monitor.baselines import Reference
from monitor.decisions import Decision, FeatureFinding, decide
from monitor.decisions.missing import newly_missing
from monitor.decisions.showing import Thresholds
from monitor.detector import DetectorState, Evidence, Limits, step

#: The rule of an alarm that began with the first windows against a baseline: the training data never was the traffic.
LAUNCH = "launch mismatch"
DRIFT = "drift"
_PLAIN = (DRIFT, LAUNCH)
#: What a distribution that has moved, or never was the same, shows beside that.
_OF_DRIFT = ("out of range", "unseen categories")

_RANK = ("ok", "not enough data", "drift", "severe")


class Memory(Protocol):
    """The windows of one stream or slice that were judged before, over the bins of the present baseline."""

    def profiles(self, *, since: datetime | None = None, last: int | None = None) -> list[Profile]:
        """Return profiles, the newest first: those that start at ``since`` or later, at most ``last`` of them."""
        ...

    def rows_since(self, since: datetime) -> int:
        """Return how many rows the windows had that start at ``since`` or later."""
        ...

    def first_start(self) -> datetime | None:
        """Return the start of the first window."""
        ...


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What windows are held against: it stays the same from one to the next.

    Attributes:
        policy: its numbers.
        reference: the baseline, and where it comes from.
        limits: that follow from it.
        pii: fields whose values must not leave.
        predictions: fields that a model gave.
        importances: of features, where the model's are known.
    """

    policy: MonitorPolicy
    reference: Reference
    limits: Limits
    pii: frozenset[str] = frozenset()
    predictions: frozenset[str] = frozenset()
    importances: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one rule saw in a window.

    Attributes:
        rule: what was looked for: ``drift``, ``null spike`` ...
        observation: what the rule's alert goes on with.
        decision: on the rows that it was judged over; its findings are the rule's.
        rows: their profile.
    """

    rule: str
    observation: Observation
    decision: Decision
    rows: Profile


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one window led to.

    Attributes:
        state: the detector's, after it.
        decision: what is shown of it: the worst that was decided.
        seen: what each rule saw that has an open alert, or has found something.
    """

    state: DetectorState
    decision: Decision
    seen: tuple[Seen, ...]


def judge(
    yardstick: Yardstick,
    state: DetectorState,
    start: datetime,
    end: datetime,
    current: Profile,
    *,
    average_run_length: float,
    alerts: Mapping[str, Alert],
    memory: Memory,
) -> Judgement:
    """Judge one window.

    What is certain needs no alarm: values that are missing where none ever was.

    An open alert is judged by the effect over as many windows as it took to see it: a single one would be too few to
    tell, and all since the onset would hide that it has ended. An alarm is judged over the windows since its onset.

    Args:
        yardstick: what it is held against.
        state: the detector's, before it.
        start: its first instant.
        end: the first instant after it.
        current: the profile of its rows.
        average_run_length: windows between two false alarms, at least.
        alerts: of the stream or slice, by rule; those that never were may be missing.
        memory: the windows before it.
    """
    rows_per_block = block_rows(yardstick, start, end, current.rows, memory)
    state, evidence = step(
        yardstick.limits,
        state,
        current,
        window_start=start,
        rows_per_block=rows_per_block,
        average_run_length=average_run_length,
    )
    opened = {rule: one for rule, one in alerts.items() if one.open}
    seen: list[Seen] = []
    decisions: list[Decision] = []
    known: set[str] = set()
    for rule, alert in opened.items():
        rows = merge([current, *memory.profiles(last=alert.span - 1)]) if alert.span > 1 else current
        # The first key stays turned while an alert is open; the detector itself starts again after its alarm.
        decision = _decide(yardstick, rows, replace(evidence, alarm=True), rows_per_block, launch=rule == LAUNCH)
        of_rule = _only(decision, [one for one in decision.findings if _belongs(one, rule)], evidence)
        known |= {one.feature for one in _moved(of_rule)}
        seen.append(_seen(rule, of_rule, evidence, start, alert.span, rows))
        decisions.append(of_rule)
    if evidence.alarm or not opened or _certain(yardstick, current) - known:
        earlier = memory.profiles(since=evidence.onset) if evidence.alarm and evidence.onset is not None else []
        rows = merge([current, *earlier])
        decision = _decide(yardstick, rows, evidence, rows_per_block, launch=evidence.launch)
        decisions.append(decision)
        # What an open alert is about already is no news: a change that lasts raises one alarm after another.
        for rule, found in rules_of([one for one in _moved(decision) if one.feature not in known]).items():
            if rule not in opened:
                of_rule = _only(decision, found, evidence)
                seen.append(_seen(rule, of_rule, evidence, start, 1 + len(earlier), rows))
    shown = max(decisions, key=lambda one: _RANK.index(one.verdict))
    return Judgement(state=state, decision=shown, seen=tuple(seen))


def block_rows(yardstick: Yardstick, start: datetime, end: datetime, rows: int, memory: Memory) -> float:
    """Return how many rows one block of the baseline's length brings in serving.

    Windows shorter than a block are added up over the block that ends with this one. Until the log is as long as a
    block, this window's rate counts if it gives more: too few would make rows look independent that are not.
    """
    block = yardstick.reference.baseline.block
    length = max(end - start, timedelta(microseconds=1))
    rate = rows * (block / length)
    if length >= block:
        return rate
    since = end - block
    served = float(rows + memory.rows_since(since))
    first = memory.first_start()
    return served if first is not None and first <= since else max(served, rate)


def rules_of(moved: Sequence[FeatureFinding]) -> dict[str, list[FeatureFinding]]:
    """Return the findings of one alarm by the rule whose alert they are.

    Whoever is paged should be paged once for one change. A distribution that has moved reaches beyond its range and to
    values never seen as well, so these are drift where there is any, or part of the launch mismatch; only by themselves
    are they what they are called.
    """
    found: dict[str, list[FeatureFinding]] = {}
    plainly = [plain for plain in _PLAIN for one in moved if one.kind in (plain, *_OF_DRIFT) and plain in one.kinds]
    for one in moved:
        found.setdefault(plainly[0] if plainly and one.kind in _OF_DRIFT else one.kind, []).append(one)
    return found


def _belongs(finding: FeatureFinding, rule: str) -> bool:
    """Return whether a finding is one that an alert of a rule goes on with."""
    return rule in (finding.kind, *finding.kinds) or (rule in _PLAIN and finding.kind in _OF_DRIFT)


def _decide(
    yardstick: Yardstick, rows: Profile, evidence: Evidence, rows_per_block: float, *, launch: bool
) -> Decision:
    policy = yardstick.policy
    decision = decide(
        yardstick.reference.baseline,
        rows,
        evidence,
        yardstick.limits,
        effect_threshold=policy.effect_threshold,
        rows_per_block=rows_per_block,
        pii=yardstick.pii,
        thresholds=policy.thresholds,
        importances=yardstick.importances,
        launch=launch,
        predictions=yardstick.predictions,
    )
    if not policy.features:
        return decision
    watched = [one for one in decision.findings if policy.watches(one.feature.partition(".")[0])]
    return _only(decision, watched, evidence)


def _certain(yardstick: Yardstick, rows: Profile) -> set[str]:
    """Return the features of which values are missing where none ever was."""
    policy, reference = yardstick.policy, yardstick.reference.baseline
    thresholds = Thresholds(usual=policy.effect_threshold, others=policy.thresholds)
    return set(newly_missing(reference.whole, rows, thresholds))


def _moved(decision: Decision) -> list[FeatureFinding]:
    return [one for one in decision.findings if one.verdict in ("drift", "severe")]


def _only(decision: Decision, findings: Sequence[FeatureFinding], evidence: Evidence) -> Decision:
    """Return a decision with the findings of one rule; they alone say whether it is severe."""
    moved = [one.verdict for one in findings if one.verdict in ("drift", "severe")]
    verdict = (
        max(moved, key=_RANK.index)
        if moved
        else ("ok" if decision.verdict in ("drift", "severe") else decision.verdict)
    )
    return replace(decision, findings=tuple(findings), verdict=verdict, evidence=evidence)


def _seen(rule: str, decision: Decision, evidence: Evidence, start: datetime, span: int, rows: Profile) -> Seen:
    effect = decision.verdict in ("drift", "severe")
    sure = any(one.certain for one in decision.findings)
    seen = Observation(
        alarm=effect and (evidence.alarm or sure), effect=effect, onset=evidence.onset or start, span=span
    )
    return Seen(rule=rule, observation=seen, decision=decision, rows=rows)
