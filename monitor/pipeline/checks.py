"""What is no distribution of features: quality facts, the comparison with the join, and outcomes.

Each looks at a stream up to an instant, once; what it found, its alerts and messages are one transaction. After a
pause it looks once, at how things stand, and not at each window that was missed: what has come and gone meanwhile pages
nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from featurestore.definitions import MonitorPolicy
from featurestore.errors import FeatureStoreError
from featurestore.profiles import Profile
from featurestore.registry import ModelRecord, Registered
from featurestore.store import FeatureStore
from monitor.alerts import message
from monitor.alerts.grouping import affected
from monitor.alerts.states import Alert, Observation, State
from monitor.history import Check, Detector, Watch
from monitor.parity import check_parity, skew_findings
from monitor.performance.judging import PerformanceRules, confidence_of_drops, judge
from monitor.performance.reading import feedback_watermark, read_performance, reference_of
from monitor.performance.risk import RiskState
from monitor.pipeline.allotting import Allotment
from monitor.pipeline.committing import Committer, plain
from monitor.pipeline.review import Bound, Review
from monitor.pipeline.streams import models_of, put_aside
from monitor.pipeline.telling import Found, Spoken, Teller
from monitor.quality import Finding, QualityLimits, ServedWindow, check_quality, filled_counts
from monitor.quality.reading import read_quality_facts, read_served
from monitor.store import Store
from monitor.windows import ServiceLog

QUALITY, SKEW, PERFORMANCE = "quality", "skew", "performance"

#: Logged rows that are compared with the join at a time, and how often at most.
SKEW_ROWS = 1000
SKEW_EVERY = timedelta(days=1)

#: Windows whose facts of serving are kept, and whose profiles say whether a feature has frozen.
RECENT = 50

#: How far back the volume of windows is looked at.
_COUNTED = timedelta(weeks=13)

_DAY = timedelta(days=1)
_WORST = ("ok", "not enough data", "drift", "severe")


def run_checks(
    store: Store,
    committer: Committer,
    policy: Registered[MonitorPolicy],
    reviews: Sequence[Review],
    allotment: Allotment,
    bound: Bound,
    *,
    now: datetime,
    faults: list[FeatureStoreError],
) -> dict[str, Spoken]:
    """Run the checks of a policy that have something new to look at; return what was said, by stream.

    Args:
        store: configuration and registry, and for the comparison the join.
        committer: keeps what comes of it.
        policy: the policy.
        reviews: its streams, as they stand.
        allotment: gives each check its part of the budget.
        bound: of the run.
        now: the wall clock.
        faults: takes the faults of single checks: the others go on.
    """
    definition = policy.definition
    said: dict[str, Spoken] = {}
    if bound.ended:
        return said  # how things stand is known when the last closed window is judged
    for review in reviews:
        subject, position = review.subject, review.closed.position
        if definition.service is None or subject.predictions or position is None:
            continue
        for wanted, check in ((definition.quality, _quality), (definition.skew, _skew)):
            if wanted and not bound.stop():
                with put_aside(faults):
                    spoken = check(store, committer, review, allotment, now=now)
                    said[subject.watch.service] = said.get(subject.watch.service, Spoken()) + spoken
    if not isinstance(store, FeatureStore):
        return said
    for model in models_of(store, policy):
        with put_aside(faults):
            spoken = _performance(store, committer, policy, model, allotment, bound, now=now)
            said[model.service] = said.get(model.service, Spoken()) + spoken
    return said


def _quality(store: Store, committer: Committer, review: Review, allotment: Allotment, *, now: datetime) -> Spoken:
    history, subject, stream = committer.history, review.subject, review.subject.stream
    assert review.closed.position is not None  # noqa: S101 - asked before
    at = review.closed.position.instant
    length = _length(subject.policy.definition)
    with history.read() as connection:
        before = history.checked_until(connection, subject.watch, QUALITY)
        if before is not None and at <= before:
            return Spoken()
        kept = history.detector(connection, subject.watch, QUALITY)
        recent = _recent(committer, review, connection)
        counts = history.counts(connection, subject.watch, since=at - _COUNTED)
    service = store.registry.service(subject.watch.service).definition
    latest = review.closed.windows[-RECENT:]
    files = {one.begin: stream.files(one) for one in latest} if isinstance(stream, ServiceLog) else {}
    fresh = [read_served(service, one, files.get(one.begin, [])) for one in latest]
    served = [*(ServedWindow.from_dict(one) for one in (kept.state["served"] if kept is not None else ())), *fresh]
    facts = read_quality_facts(
        store,
        subject.watch.service,
        window=length,
        # Windows of so many rows have no volume of their own.
        counts=filled_counts(counts, length=length, end=at) if _timed(subject.policy.definition) else (),
        recent=recent,
        served=served[-RECENT:],
        files=files[latest[-1].begin] if files else (),
        reference=review.reference,
    )
    limits = QualityLimits(average_run_length=allotment.run_length(history, subject, at - length, at))
    findings = check_quality(facts, limits, now=_clock(store, at, now))
    with history.write() as connection:
        state = {"served": [one.to_dict() for one in served[-RECENT:]]}
        history.save_detector(connection, subject.watch, QUALITY, Detector(baseline="", state=state))
        since = at - length if before is None else before
        return _take(committer, connection, _teller(store, committer, review), QUALITY, findings, at, since=since)


def _recent(committer: Committer, review: Review, connection: Any) -> list[tuple[datetime, Profile]]:
    reference = review.reference
    if reference is None:
        return []
    lines = committer.history.newest(connection, review.subject.watch, reference.id, RECENT)
    return [(one.begin.instant, Profile.from_arrow(one.profile, reference.baseline.bins)) for one in lines]


def _skew(store: Store, committer: Committer, review: Review, _: Allotment, *, now: datetime) -> Spoken:
    history, subject = committer.history, review.subject
    del now
    if not isinstance(store, FeatureStore):
        return Spoken()
    assert review.closed.position is not None  # noqa: S101 - asked before
    at = review.closed.position.instant
    with history.read() as connection:
        before = history.checked_until(connection, subject.watch, SKEW)
    if before is not None and at - before < max(SKEW_EVERY, _length(subject.policy.definition)):
        return Spoken()
    since = before or at - SKEW_EVERY
    report = check_parity(store, subject.watch.service, rows=SKEW_ROWS, since=since, until=at)
    with history.write() as connection:
        teller = _teller(store, committer, review)
        return _take(committer, connection, teller, SKEW, skew_findings(report), at, since=since)


def _performance(
    store: FeatureStore,
    committer: Committer,
    policy: Registered[MonitorPolicy],
    model: ModelRecord,
    allotment: Allotment,
    bound: Bound,
    *,
    now: datetime,
) -> Spoken:
    """Judge the windows of a model whose outcomes have come in, one transaction each."""
    reference = reference_of(model)
    if reference is None:
        return Spoken()
    history, definition = committer.history, policy.definition
    watch = Watch(policy=policy.name, policy_version=policy.version, service=model.service)
    subject = f"{PERFORMANCE} of {model.id}"
    length = _length(definition, least=_DAY)
    with history.read() as connection:
        since = history.checked_until(connection, watch, subject)
    matured = feedback_watermark(store, now=now)
    report = read_performance(store, model.id, window=length, since=since, now=matured)
    # Half for the running risk, half for the drops.
    limit = 2 * allotment.model_run_length(length)
    rules = PerformanceRules(drops=definition.performance)
    total = Spoken()
    for window in report.windows:
        if (since is not None and window.start < since) or bound.reached():
            continue
        with history.write() as connection:
            kept = history.detector(connection, watch, subject)
            state, decision = judge(
                reference,
                window,
                None if kept is None else RiskState.from_dict(kept.state),
                rules,
                rows_per_block=max(1.0, window.coverage.used * (_DAY / length)),
                average_run_length=limit,
                confidence=confidence_of_drops(limit, len(rules.drops)) if rules.drops else None,
            )
            if state is not None:
                history.save_detector(connection, watch, subject, Detector(baseline=model.id, state=state.to_dict()))
            finding = plain(decision) | {"rule": subject, "subject": model.id, "statistical": True}
            check = Check(subject=subject, at=window.end, verdict=decision.verdict, findings=[finding])
            history.record_check(connection, watch, check, now=committer.now)
            teller = committer.teller_of(definition, watch, _context(store, model, definition))
            bad = decision.verdict in ("drift", "severe")
            onset = decision.risk.onset if decision.risk is not None and decision.risk.onset else window.start
            seen = Observation(alarm=bad, effect=bad, onset=onset, span=1)
            found = Found(rule=subject, sentences=tuple(f"{model.id}: {one}" for one in decision.reasons))
            alerts = teller.alerts(connection)
            if bad or window.losses.size:
                _, said = teller.take(connection, subject, seen, found, alerts=alerts, at=window.end, now=committer.now)
                total += said
            else:
                _see_nothing(committer, connection, teller, subject, alerts, window.end)
            committer.rehearse(connection, window.end)
    return total


def _context(store: Store, model: ModelRecord, policy: MonitorPolicy) -> message.Context:
    return message.Context(
        project=store.config.project,
        replay=store.config.replay,
        service=model.service,
        baseline=model.dataset,
        model=model.id,
        views={},
        severity=policy.severity,
        runbook=policy.runbook,
    )


def _take(
    committer: Committer,
    connection: Any,
    teller: Teller,
    subject: str,
    findings: Iterable[Finding],
    at: datetime,
    *,
    since: datetime,
) -> Spoken:
    """Keep what a check found, and take the alerts of its rules on.

    What does not say since when it is may be so since the look before: no model is to learn from these rows.
    """
    by_rule: dict[str, list[Finding]] = {}
    for one in findings:
        by_rule.setdefault(one.rule, []).append(one)
    verdict = max((one.verdict for found in by_rule.values() for one in found), key=_WORST.index, default="ok")
    shown = [plain(one) for found in by_rule.values() for one in found if one.verdict != "ok"]
    check = Check(subject=subject, at=at, verdict=verdict, findings=shown)
    committer.history.record_check(connection, teller.watch, check, now=committer.now)
    alerts = teller.alerts(connection)
    total = Spoken()
    for rule, found in by_rule.items():
        bad = [one for one in found if one.pages]
        if all(one.verdict == "not enough data" for one in found):
            _see_nothing(committer, connection, teller, rule, alerts, at)
            continue
        onset = min((one.onset for one in bad if one.onset is not None), default=since)
        seen = Observation(alarm=bool(bad), effect=bool(bad), onset=onset, span=1)
        features = dict.fromkeys(name for one in bad for name in _features(one, teller.context))
        sentences = Found(
            rule=rule,
            sentences=tuple(one.sentence for one in bad),
            features=tuple(features),
            kinds=frozenset(one.kind for one in bad),
            views=tuple(dict.fromkeys(view for one in bad for view in one.views)),
        )
        _, said = teller.take(connection, rule, seen, sentences, alerts=alerts, at=at, now=committer.now)
        total += said
    committer.rehearse(connection, at)
    return total


def _see_nothing(
    committer: Committer, connection: Any, teller: Teller, rule: str, alerts: Mapping[str, Alert], at: datetime
) -> None:
    """Keep that a look had nothing to look at: what fires is not over by that."""
    alert = teller.before(rule, alerts)
    if alert.open:
        teller.see_nothing(connection, rule, State.NO_DATA, alert=alert, since=at, at=at, now=committer.now)


def _features(finding: Finding, context: message.Context) -> tuple[str, ...]:
    """Return the features that a finding is about: of a view also those that are computed from it."""
    views = {name: origin.views for name, origin in context.origins.items()}
    return affected(finding.kind, finding.subject, finding.views, views)


def _teller(store: Store, committer: Committer, review: Review) -> Teller:
    subject, reference = review.subject, review.reference
    context = message.Context(
        project=store.config.project,
        replay=store.config.replay,
        service=subject.service,
        baseline="" if reference is None else reference.dataset or reference.id,
        model="" if reference is None else reference.model,
        views=subject.views,
        origins=subject.origins,
        pii=subject.pii,
        severity=subject.policy.definition.severity,
        runbook=subject.policy.definition.runbook,
    )
    return committer.teller_of(subject.policy.definition, subject.watch, context)


def _clock(store: Store, at: datetime, now: datetime) -> datetime:
    """Return what time it is where the rows are served: a rehearsal has a clock of its own."""
    return at if store.config.replay else now


def _timed(policy: MonitorPolicy) -> bool:
    return isinstance(policy.window, timedelta)


def _length(policy: MonitorPolicy, *, least: timedelta = timedelta(hours=1)) -> timedelta:
    """Return how long a check's window is: the policy's; where windows are of so many rows, the least."""
    return policy.window if isinstance(policy.window, timedelta) else least
