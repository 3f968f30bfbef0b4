"""One run of a policy: its streams in turn, each as far as it has closed windows and the run's bound allows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy
from featurestore.errors import FeatureStoreError, LeadershipLostError
from featurestore.registry import Registered
from featurestore.store import FeatureStore
from monitor import retraining, rollback
from monitor.accepted import accepted_sources
from monitor.alerts.dispatching import clock_of
from monitor.alerts.states import worst
from monitor.history import History, Standing, Watch
from monitor.pipeline.allotting import Allotment
from monitor.pipeline.checks import run_checks
from monitor.pipeline.committing import Committer, OvertakenError
from monitor.pipeline.left_behind import close_unwatched
from monitor.pipeline.renewal import judge_again, to_judge_again
from monitor.pipeline.reports import NO_BASELINE, RunReport, ServiceReport
from monitor.pipeline.review import Bound, Review
from monitor.pipeline.streams import put_aside, subjects_of
from monitor.pipeline.subjects import Subject, reach_of, reference_of, slices_of, tracks_of
from monitor.pipeline.telling import Spoken
from monitor.pipeline.unseen import Failures, note_silence
from monitor.signalling.closing import close_loops
from monitor.store import Store
from monitor.windows import Closed, Cut, Judged, Position, late_rows

#: How far back rows that came too late are counted.
LATE = timedelta(days=7)

_log = structlog.get_logger("monitor.pipeline")


def run_once(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    *,
    now: datetime,
    stop: Callable[[], bool] = lambda: False,
) -> RunReport:
    """Judge the windows that have closed since the last run, of every stream that the policy watches.

    At most ``windows_per_run`` of them, so that one run is bounded whatever the daemon has missed. That a run fails is
    kept: when several in a row have, people are told.

    Args:
        store: configuration and registry; what else a whole store has is used where it is there.
        history: the monitor's database.
        policy: what to watch, and how.
        now: the wall clock.
        stop: asked before each window; True ends the run, and the next one goes on there.

    Raises:
        MonitorError: a route names no channel, or the database or a baseline cannot be read.
        ObjectNotFoundError: the log names a service version that the registry does not know.

    A fault of one stream is raised when the others have been judged.
    """
    failures = Failures(history=history, config=store.config, policy=policy)
    try:
        report = _run(store, history, policy, now=now, stop=stop)
    except LeadershipLostError:
        raise  # no fault of the policy: another monitor does it
    except Exception as error:
        failures.failed(error, now=now)
        raise
    failures.worked(now=now)
    return report


def _run(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    *,
    now: datetime,
    stop: Callable[[], bool],
) -> RunReport:
    config = _bounded(store.config)
    committer = Committer(history=history, config=config, reach=reach_of(config, policy), now=now)
    bound = Bound(left=config.monitor.windows_per_run, stop=stop)
    faults: list[FeatureStoreError] = []
    reports: list[ServiceReport] = []
    with ExitStack() as opened:
        subjects, watermark = subjects_of(store, history, config, policy, now=now, opened=opened, faults=faults)
        reviews: list[Review] = []
        for subject in subjects:
            with put_aside(faults):
                reviews.append(_review(store, history, subject, now=now))
        slices = {
            one.subject.watch.service: slices_of(one.subject, one.reference)
            for one in reviews
            if one.reference is not None
        }
        close_unwatched(history, config, policy, slices, now=now)
        allotment = Allotment.of(store, policy, [one.subject for one in reviews if one.reference is not None])
        for review in reviews:
            allotment.expect(review.subject, review.closed.windows)
        for review in reviews:
            with put_aside(faults):
                reports.append(_judge_closed(store, committer, review, allotment, bound))
        said = run_checks(store, committer, policy, reviews, allotment, bound, now=now, faults=faults)
        if not bound.ended:
            note_silence(committer, policy, reviews, watermark)
    if not bound.ended:  # what is broken is known when the last closed window is judged, and the checks have looked
        for service, count in retraining.review(store, history, policy, now=now, faults=faults).items():
            said[service] = said.get(service, Spoken()) + Spoken(signals=count)
        rollback.review(store, history, policy, now=now, faults=faults)
        if isinstance(store, FeatureStore):
            close_loops(store, history, policy, now=now, faults=faults)
    if faults:
        raise faults[0]
    services = tuple(_with_checks(history, policy, one, said.get(one.service)) for one in reports)
    return RunReport(policy=policy.id, watermark=watermark, services=services, more=bound.spent)


def _review(store: Store, history: History, subject: Subject, *, now: datetime) -> Review:
    watermark = subject.stream.watermark(now=now)
    with history.read() as connection:
        since = history.resume_from(connection, subject.watch)
        clock = clock_of(history, connection, store.config, now)
        subject = replace(subject, accepted=accepted_sources(history, connection, subject.watch, clock=clock))
    closed, reference = Closed(windows=(), position=since), None
    if watermark is not None:
        reference = reference_of(store, subject, watermark)
    if watermark is not None and reference is not None:
        policy = subject.policy.definition
        cut = Cut(size=policy.window, minimum_rows=policy.minimum_rows)
        closed = subject.stream.closed_windows(cut, since=since, watermark=watermark)
    return Review(subject=subject, reference=reference, since=since, closed=closed, watermark=watermark)


def _judge_closed(
    store: Store, committer: Committer, review: Review, allotment: Allotment, bound: Bound
) -> ServiceReport:
    history, subject, reference = committer.history, review.subject, review.reference
    if reference is None or review.watermark is None:
        return _without_baseline(history, subject)
    with history.read() as connection:
        states = [one.state for one in history.alerts(connection, subject.watch).values()]
        standing = history.standing(connection, subject.watch)
    report = ServiceReport(service=subject.watch.service, state=worst(states))
    renewed = standing is not None and standing.baseline not in ("", reference.id)
    if review.closed.windows or renewed:
        tracks = tracks_of(store, subject, reference, review.watermark)

        def run_length(start: datetime, end: datetime) -> float:
            return allotment.run_length(history, subject, start, end)

        for track in tracks if renewed else ():
            lines = to_judge_again(history, track, review.since)
            judge_again(committer, track, lines, run_length=run_length, stop=bound.reached)
            if bound.ended:
                # The standing still names the old baseline: the next run goes on here, before it takes new windows.
                return _with_lag(report, review, review.since)
        for window in review.closed.windows:
            if bound.reached():
                return _with_lag(report, review, window.begin)
            profiles = [track.profile(window) for track in tracks]
            limit = run_length(window.start, window.end)
            try:
                report = committer.window(tracks, window, profiles, report, run_length=limit)
            except OvertakenError:
                # An alert that was accepted a moment ago would fire again, by what was normal before.
                bound.spent = bound.ended = True
                return _with_lag(report, review, window.begin)
    if report.windows:
        _count_late(history, review)
    if review.closed.position is not None and (standing is None or review.closed.position != review.since or renewed):
        with history.write() as connection:
            # Past the empty windows at the end as well: rows that turn up there later come too late.
            kept = Standing(baseline=reference.id, position=review.closed.position)
            history.save_standing(connection, subject.watch, kept)
    return _with_lag(report, review, review.closed.position)


def _count_late(history: History, review: Review) -> None:
    """Note how many rows came after their windows were judged, of the last days."""
    subject = review.subject
    assert review.watermark is not None  # noqa: S101 - windows were judged
    with history.read() as connection:
        lines = history.places(connection, subject.watch, since=review.watermark - LATE)
    late = late_rows(subject.stream, [Judged(begin=begin, stop=stop, rows=rows) for begin, stop, rows in lines])
    found = [(line[0], rows) for line, rows in zip(lines, late.by_window, strict=True) if rows]
    if found:
        with history.write() as connection:
            for begin, rows in found:
                history.note_late_rows(connection, subject.watch, begin, rows)


def _without_baseline(history: History, subject: Subject) -> ServiceReport:
    with history.write() as connection:
        if history.standing(connection, subject.watch) is None:
            # Said once, and remembered: it is a state, not an event of each run.
            _log.warning("no baseline", policy=subject.watch.policy, service=subject.watch.service)
            history.save_standing(connection, subject.watch, Standing(baseline="", position=None))
    return ServiceReport(service=subject.watch.service, verdict=NO_BASELINE)


def _with_checks(
    history: History, policy: Registered[MonitorPolicy], report: ServiceReport, spoken: Spoken | None
) -> ServiceReport:
    """Return a report with what the checks of the stream have said, and the state that its alerts are in by now."""
    if spoken is None or spoken == Spoken():
        return report
    with history.read() as connection:
        watch = Watch(policy=policy.name, policy_version=policy.version, service=report.service)
        states = [one.state for one in history.alerts(connection, watch).values()]
    return replace(
        report,
        state=worst([report.state, *states]),
        fired=report.fired + spoken.fired,
        resolved=report.resolved + spoken.resolved,
        signals=report.signals + spoken.signals,
    )


def _with_lag(report: ServiceReport, review: Review, position: Position | None) -> ServiceReport:
    if position is None or review.watermark is None:
        return report
    return replace(report, lag=max(review.watermark - position.instant, timedelta(0)))


def _bounded(config: Config) -> Config:
    """Return the configuration with the monitor's own memory and threads for its reads."""
    own = {"memory_limit": config.monitor.memory_limit, "threads": config.monitor.threads}
    return config.model_copy(update={"offline": config.offline.model_copy(update=own)})
