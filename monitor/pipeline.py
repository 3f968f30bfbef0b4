"""One run of a policy: the only place that composes.

Watermark -> closed windows -> profile -> evidence -> decision -> incident -> alerts and retraining signal, and each
window's outcome is committed before the next is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import structlog

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy
from featurestore.errors import FeatureStoreError, MonitorError, closest
from featurestore.profiles import Profile, merge
from featurestore.registry import Registered, Registry
from monitor import retraining
from monitor.alerts import message, outbox
from monitor.alerts.base import Kind
from monitor.alerts.states import Incident, Notification, Observation, State, advance, incident_key
from monitor.baselines import Reference, find_reference
from monitor.decisions import Decision, decide
from monitor.detector import DetectorState, Limits, fit_limits, step
from monitor.history import Detector, History, JudgedWindow, Watch
from monitor.windows import ServingLog, Window

#: What is said of a service version that has no training dataset yet.
NO_BASELINE = "no baseline"
#: What is said of one that has a baseline and no closed window yet.
NO_WINDOW = "no window yet"

_log = structlog.get_logger("monitor.pipeline")


class Store(Protocol):
    """What a run needs of a feature store."""

    @property
    def config(self) -> Config:
        """Its configuration."""
        ...

    @property
    def registry(self) -> Registry:
        """Its registry."""
        ...


@dataclass(frozen=True, kw_only=True)
class ServiceReport:
    """What a run did for one service version.

    Attributes:
        service: the service version.
        windows: windows judged in this run.
        verdict: of the last of them; ``no baseline`` and ``no window yet`` where there was none.
        state: of the incident, after them.
        fired: incidents that began to fire.
        resolved: incidents that were resolved.
        signals: retraining signals made.
    """

    service: str
    windows: int
    verdict: str
    state: State
    fired: int
    resolved: int
    signals: int


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run did.

    Attributes:
        policy: ``flight_drift@1``.
        watermark: up to where the log was complete; None where nothing can be said yet.
        services: one for each service version that has rows in the log.
    """

    policy: str
    watermark: datetime | None
    services: tuple[ServiceReport, ...]


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """All that stays the same over the windows of one service version."""

    policy: MonitorPolicy
    watch: Watch
    reference: Reference
    limits: Limits
    context: message.Context
    pii: frozenset[str]
    incident_key: str
    channels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What one window led to: the detector's next state, the verdict, the incident, and what was said."""

    state: DetectorState
    verdict: str
    incident: Incident
    said: Notification | None
    signalled: bool


def run_once(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    *,
    now: datetime,
    stop: Callable[[], bool] = lambda: False,
) -> RunReport:
    """Judge every window that has closed since the last run, of every version of the policy's service.

    Args:
        store: configuration and registry.
        history: the monitor's database.
        policy: what to watch, and how.
        now: the wall clock.
        stop: asked before each window; True ends the run, and the next one goes on there.

    Raises:
        MonitorError: a route names no channel, or the database or a baseline cannot be read.
        ObjectNotFoundError: the log names a service version that the registry does not know.

    A fault of one service version is raised when the others have been judged.
    """
    channels = _channels(store.config, policy)
    log = ServingLog(store.config)
    watermark = log.watermark(now=now)
    if watermark is None:
        return RunReport(policy=policy.id, watermark=None, services=())
    reports: list[ServiceReport] = []
    fault: FeatureStoreError | None = None
    for service in log.services(policy.definition.service.name):
        watch = Watch(policy=policy.name, policy_version=policy.version, service=service)
        try:
            reference = find_reference(store.config, store.registry, service)
            if reference is None:
                reports.append(_without_baseline(history, watch))
                continue
            subject = _subject(store, policy.definition, watch, reference, channels)
            reports.append(_judge_closed(log, history, subject, watermark, now=now, stop=stop))
        except FeatureStoreError as error:
            fault = fault or error
    if fault is not None:
        raise fault
    return RunReport(policy=policy.id, watermark=watermark, services=tuple(reports))


def _channels(config: Config, policy: Registered[MonitorPolicy]) -> tuple[str, ...]:
    """Return the policy's channels; from a rehearsal, those that take its messages."""
    for name in policy.definition.routes:
        if name not in config.channels:
            raise MonitorError(
                f'Monitor policy "{policy.name}" routes to "{name}", which featurestore.toml does not configure.',
                hint=closest(name, config.channels) or f"Add a section [channels.{name}].",
            )
    return tuple(name for name in policy.definition.routes if not config.replay or config.channels[name].rehearsals)


def _subject(
    store: Store, policy: MonitorPolicy, watch: Watch, reference: Reference, channels: tuple[str, ...]
) -> _Subject:
    definition = store.registry.service(watch.service).definition
    outputs = definition.outputs
    views = {use.name: use.view.name for use in definition.uses}
    config = store.config
    return _Subject(
        policy=policy,
        watch=watch,
        reference=reference,
        limits=fit_limits(reference.baseline, smallest_change=policy.smallest_change),
        context=message.Context(
            project=config.project,
            replay=config.replay,
            service=watch.service,
            baseline=reference.dataset,
            model=reference.model,
            views={one.name: views.get(name, name) for name, fields in outputs.items() for one in fields},
        ),
        pii=frozenset(one.name for fields in outputs.values() for one in fields if one.pii),
        incident_key=incident_key(config.project, config.replay, watch.service, f"{policy.name}/drift"),
        channels=channels,
    )


def _without_baseline(history: History, watch: Watch) -> ServiceReport:
    with history.write() as connection:
        if history.detector(connection, watch) is None:
            # Said once, and remembered: it is a state, not an event of each run.
            _log.warning("no baseline", policy=watch.policy, service=watch.service)
            history.save_detector(connection, watch, Detector(baseline="", state={}, next_start=None))
    return _nothing_judged(watch, NO_BASELINE, State.OK)


def _judge_closed(
    log: ServingLog,
    history: History,
    subject: _Subject,
    watermark: datetime,
    *,
    now: datetime,
    stop: Callable[[], bool],
) -> ServiceReport:
    state, since = _resume(history, subject)
    windows, end = log.closed_windows(subject.watch.service, subject.policy.window, since=since, watermark=watermark)
    with history.read() as connection:
        incident = history.incident(connection, subject.incident_key)
    report = _nothing_judged(subject.watch, NO_WINDOW, incident.state)
    for window in windows:
        if stop():
            return report
        current = log.profile(window, subject.reference.baseline.bins)
        judged = _judge(history, subject, state, window, current, now=now)
        state = judged.state
        report = replace(
            report,
            windows=report.windows + 1,
            verdict=judged.verdict,
            state=judged.incident.state,
            fired=report.fired + (judged.said is Notification.FIRING),
            resolved=report.resolved + (judged.said is Notification.RESOLVED),
            signals=report.signals + judged.signalled,
        )
    if windows or (since is not None and end > since):
        with history.write() as connection:
            # Past the empty windows at the end as well: rows that turn up there later come too late.
            history.save_detector(connection, subject.watch, _standing(subject, state, end))
    return report


def _nothing_judged(watch: Watch, verdict: str, state: State) -> ServiceReport:
    return ServiceReport(service=watch.service, windows=0, verdict=verdict, state=state, fired=0, resolved=0, signals=0)


def _resume(history: History, subject: _Subject) -> tuple[DetectorState, datetime | None]:
    """Return the detector's state, a fresh one if the baseline is another now, and the start of the next window."""
    with history.read() as connection:
        standing = history.detector(connection, subject.watch)
        since = history.resume_from(connection, subject.watch)
    if standing is not None and standing.baseline == subject.reference.dataset:
        state = DetectorState.from_dict(standing.state)
        if state.limits_id == subject.limits.id:
            return state, since
    return DetectorState.start(subject.limits), since


def _judge(
    history: History, subject: _Subject, state: DetectorState, window: Window, current: Profile, *, now: datetime
) -> _Judged:
    """Judge one window and commit all that follows from it."""
    policy, watch, limits = subject.policy, subject.watch, subject.limits
    dataset = subject.reference.dataset
    with history.write() as connection:
        rows_per_block = _rows_per_block(history, connection, subject, window)
        state, evidence = step(
            limits,
            state,
            current,
            window_start=window.start,
            rows_per_block=rows_per_block,
            average_run_length=policy.average_run_length,
        )
        incident = history.incident(connection, subject.incident_key)
        firing = incident.state is State.FIRING
        if firing:
            # Over as many windows as it took to see the effect: a single one would be too few to tell, and all since
            # the onset would hide that it has ended.
            earlier = history.profiles(connection, watch, dataset, last=incident.span - 1)
        elif evidence.alarm and evidence.onset is not None:
            earlier = history.profiles(connection, watch, dataset, since=evidence.onset)
        else:
            earlier = []
        bins = subject.reference.baseline.bins
        judged = decide(
            subject.reference.baseline,
            merge([current, *(Profile.from_arrow(table, bins) for table in earlier)]),
            # The first key stays turned while an incident fires; the detector itself starts again after its alarm.
            replace(evidence, alarm=evidence.alarm or firing),
            limits,
            effect_threshold=policy.effect_threshold,
            rows_per_block=rows_per_block,
            pii=subject.pii,
        )
        decision = replace(judged, evidence=evidence)
        drift = decision.verdict in ("drift", "severe")
        seen = Observation(
            alarm=drift and evidence.alarm,
            effect=drift,
            onset=evidence.onset or window.start,
            span=1 + len(earlier),
        )
        incident, said = advance(incident, seen)
        signalled = _tell(history, connection, subject, decision, incident, said, window, now=now)
        history.save_incident(connection, watch, incident)
        history.save_detector(connection, watch, _standing(subject, state, window.end))
        history.record(connection, watch, _line(subject, window, current, decision), now=now)
    # What people are told is worth a line; that all is well is one only when asked for.
    log = _log.debug if said is None else _log.info
    log(
        "window judged",
        policy=watch.policy,
        service=watch.service,
        window=window.start.isoformat(),
        rows=window.rows,
        verdict=decision.verdict,
        incident=str(incident.state),
    )
    return _Judged(state=state, verdict=decision.verdict, incident=incident, said=said, signalled=signalled)


def _tell(
    history: History,
    connection: Any,
    subject: _Subject,
    decision: Decision,
    incident: Incident,
    said: Notification | None,
    window: Window,
    *,
    now: datetime,
) -> bool:
    """Put what is due into the outbox; return whether a retraining signal was made."""
    if said is None:
        return False
    payload = message.alert(subject.context, decision, incident, said, decided_at=window.end)
    about: dict[str, Any] = {
        "instance": history.instance,
        "project": subject.context.project,
        "service": subject.context.service,
        "incident": incident,
        "now": now,
    }
    if said is Notification.RESOLVED:
        # Where the alert went, not where the policy routes by now: nothing is resolved that was never sent.
        told = outbox.told(connection, incident)
        outbox.enqueue(connection, channels=told, kind=Kind.RESOLVED, payload=payload, **about)
        return False
    outbox.enqueue(connection, channels=subject.channels, kind=Kind.FIRING, payload=payload, **about)
    if not subject.policy.retrain:
        return False
    signal = retraining.retraining_signal(subject.context, decision, incident, now=now)
    if not history.record_signal(connection, subject.watch, signal, now=now):
        return False
    outbox.enqueue(connection, channels=subject.channels, kind=Kind.RETRAINING, payload=signal, **about)
    return True


def _rows_per_block(history: History, connection: Any, subject: _Subject, window: Window) -> float:
    """Return how many rows one block of the baseline's length brings in serving.

    Windows shorter than a block are added up over the block that ends with this one. Until the log is as long as a
    block, this window's rate counts if it gives more: too few would make rows look independent that are not.
    """
    block, length = subject.reference.baseline.block, subject.policy.window
    rate = window.rows * (block / length)
    if length >= block:
        return rate
    start = window.end - block
    served = float(window.rows + history.rows_since(connection, subject.watch, start))
    first = history.first_start(connection, subject.watch)
    return served if first is not None and first <= start else max(served, rate)


def _standing(subject: _Subject, state: DetectorState, next_start: datetime | None) -> Detector:
    return Detector(baseline=subject.reference.dataset, state=state.to_dict(), next_start=next_start)


def _line(subject: _Subject, window: Window, current: Profile, decision: Decision) -> JudgedWindow:
    return JudgedWindow(
        start=window.start,
        end=window.end,
        baseline=subject.reference.dataset,
        rows=window.rows,
        profile=current.to_arrow(),
        verdict=decision.verdict,
        decision=_plain(asdict(decision)),
    )


def _plain(value: Any) -> Any:
    """Return JSON values: instants as ISO 8601, and null for what is no number."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
