"""A policy with numbers that are tried out: what it would have paged, and how often chance alone would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby

import numpy as np

from featurestore.definitions import BaselineSource, MonitorPolicy
from featurestore.errors import FeatureStoreError, MonitorError
from featurestore.profiles import Profile
from featurestore.registry import Registered
from monitor import budget
from monitor.alerts.states import Observation
from monitor.backtest import rendering
from monitor.backtest.achieved import Achieved
from monitor.backtest.ledger import Alerts, KeptWindow, Page, replayed
from monitor.backtest.nullstream import null_windows, pseudo_baseline
from monitor.baselines import Reference
from monitor.detector import fit_limits
from monitor.history import Check, History, JudgedWindow
from monitor.pipeline.allotting import Allotment
from monitor.pipeline.streams import subjects_of
from monitor.pipeline.subjects import Subject, Track, reference_of, tracks_of
from monitor.store import Store

#: Pseudo-baselines that the null windows are shared among.
BASELINES = 10

#: The fewest null windows of each stream and slice, if nobody asks for another number.
LEAST_WINDOWS = 1000


@dataclass(frozen=True, kw_only=True)
class StreamReplay:
    """What was replayed of one stream or slice.

    Attributes:
        service: the stream.
        slice: which rows; "" for all.
        windows: of the ledger that were judged.
        skipped: of the ledger, whose baseline is not there any more, or has other bins.
        first: start of the first window that was judged.
        last: end of the last.
        run_length: windows between false alarms, at least, as the last window had it; None where none was judged.
        achieved: false alarms of its null windows; None where there is no baseline to make them of.
    """

    service: str
    slice: str
    windows: int
    skipped: int
    first: datetime | None
    last: datetime | None
    run_length: float | None
    achieved: Achieved | None


@dataclass(frozen=True, kw_only=True)
class BacktestReport:
    """What a policy would have done.

    Attributes:
        policy: ``flight_drift@1``.
        share: its share of the strictest of its routes.
        streams: what was replayed.
        pages: that would have gone out, in order. Facts, skew and outcomes are as they were found then.
        checks: how many results of checks were replayed.
        achieved: false alarms of all streams and slices together; None where none could be replayed.
    """

    policy: str
    share: budget.Share
    streams: tuple[StreamReplay, ...]
    pages: tuple[Page, ...]
    checks: int
    achieved: Achieved | None

    def _repr_html_(self) -> str:
        """What a notebook shows: the pages that would have gone out, and how often chance alone would page."""
        return rendering.html(self)


def backtest(
    store: Store,
    history: History,
    policy: Registered[MonitorPolicy],
    tried: MonitorPolicy,
    *,
    since: datetime | None,
    until: datetime | None,
    now: datetime,
    budgets: Mapping[str, float] | None = None,
    null_count: int | None = None,
    seed: int = 0,
) -> BacktestReport:
    """Judge the windows of the ledger by a policy, and windows in which nothing has changed.

    Args:
        store: configuration and registry.
        history: the monitor's database; nothing that was judged changes in it.
        policy: whose windows.
        tried: the policy with the numbers to try out.
        since: no window that starts before.
        until: no window that ends after.
        now: the wall clock.
        budgets: of routes, in pages a quarter, where others than those of ``featurestore.toml`` are tried out.
        null_count: null windows of each stream and slice; None for a quarter of them, at least :data:`LEAST_WINDOWS`.
        seed: of the null windows: the same seed gives the same report.

    Raises:
        MonitorError: the policy has judged no window in that time.
    """
    if tried.window != policy.definition.window:
        raise MonitorError(
            f'Monitor policy "{policy.name}" has another window than the profiles that were kept.',
            hint="Profiles cannot be cut again: try other numbers with the same window.",
        )
    candidate = replace(policy, decode=lambda: tried)
    pages: list[Page] = []
    streams: list[StreamReplay] = []
    with ExitStack() as opened:
        faults: list[FeatureStoreError] = []
        subjects, _ = subjects_of(store, history, store.config, candidate, now=now, opened=opened, faults=faults)
        if faults:
            raise faults[0]
        allotment = Allotment.of(store, candidate, subjects, budgets=budgets)
        for subject in subjects:
            allotment.expect(subject, ())
        trial = _Trial(store, history, allotment, tried, since, until, now)
        random = np.random.default_rng(seed)
        for subject in subjects:
            for stream, found in trial.stream(subject, null_count, random):
                streams.append(stream)
                pages += found
    with history.read() as connection:
        checks = history.checks(connection, policy.name, since=since, until=until)
    pages += _of_checks(tried, checks)
    if not checks and not any(one.windows or one.skipped for one in streams):
        raise MonitorError(
            f'Monitor policy "{policy.name}" has judged no window in that time.',
            hint="Run featurestore monitor run-once first, or look further back: --since.",
        )
    known = [one.achieved for one in streams if one.achieved is not None]
    return BacktestReport(
        policy=policy.id,
        share=allotment.share,
        streams=tuple(streams),
        pages=tuple(sorted(pages, key=lambda one: (one.at, one.service, one.slice, one.rule))),
        checks=len(checks),
        achieved=_together(known) if known else None,
    )


@dataclass(frozen=True)
class _Trial:
    store: Store
    history: History
    allotment: Allotment
    tried: MonitorPolicy
    since: datetime | None
    until: datetime | None
    now: datetime

    def stream(
        self, subject: Subject, null_count: int | None, random: np.random.Generator
    ) -> Iterator[tuple[StreamReplay, list[Page]]]:
        """Yield what was replayed of a stream, and of each of its slices."""
        tracks: dict[str, list[Track]] = {}
        with self.history.read() as connection:
            names = [
                one.slice
                for one in self.history.watched(connection, subject.watch.policy)
                if one.service == subject.watch.service
            ]
            newest = {
                name: list(
                    self.history.ledger(
                        connection, replace(subject.watch, slice=name), since=self.since, until=self.until
                    )
                )
                for name in names
            }
        for name, lines in newest.items():
            alerts = Alerts(self.tried, subject.watch.service, name)
            judged, limit, used = 0, None, None
            times: list[datetime] = []
            for baseline, group in groupby(lines, key=lambda one: one.baseline):
                part = list(group)
                track = self._track(subject, name, baseline, tracks)
                windows = [] if track is None else list(_over(track, part))
                if track is None or len(windows) < len(part):
                    continue
                used = track
                limits = {one.start: self._limit(subject, one.start, one.end) for one in windows}
                for window, decision in replayed(track.yardstick, windows, alerts, average_run_length=limits):
                    judged += 1
                    limit = float(np.exp(decision.evidence.log_limit))
                    times += [window.start, window.end]
            achieved = None
            if used is not None and times:
                length = self.tried.window if isinstance(self.tried.window, timedelta) else _mean(times)
                achieved = self._achieved(used, length, limit or budget.LEAST_RUN_LENGTH, null_count, random)
            yield (
                StreamReplay(
                    service=subject.watch.service,
                    slice=name,
                    windows=judged,
                    skipped=len(lines) - judged,
                    first=min(times, default=None),
                    last=max(times, default=None),
                    run_length=limit,
                    achieved=achieved,
                ),
                alerts.all(),
            )

    def _limit(self, subject: Subject, start: datetime, end: datetime) -> float:
        return self.allotment.run_length(self.history, subject, start, end)

    def _track(self, subject: Subject, name: str, baseline: str, known: dict[str, list[Track]]) -> Track | None:
        """Return the track whose windows were held against a baseline, if that is still there."""
        for track in (one for found in known.values() for one in found):
            if track.watch.slice == name and track.yardstick.reference.id == baseline:
                return track
        for variant in self._variants(subject, baseline):
            key = repr((variant.source, variant.accepted))
            if key in known:
                continue
            try:
                reference = reference_of(self.store, variant, self.now)
                known[key] = [] if reference is None else tracks_of(self.store, variant, reference, self.now)
            except FeatureStoreError:
                known[key] = []  # gone: told as windows that were skipped
            for track in known[key]:
                if track.watch.slice == name and track.yardstick.reference.id == baseline:
                    return track
        return None

    def _variants(self, subject: Subject, baseline: str) -> Iterator[Subject]:
        """Yield the stream with what it may have been compared with: by the policy, by what was accepted, by name."""
        yield subject
        watch = subject.watch
        with self.history.read() as connection:
            accepted = self.history.acceptances(connection, policy=watch.policy, service=watch.service)
        for one in accepted:
            yield replace(subject, accepted={one.slice: BaselineSource(since=one.since, until=one.until)})
        named = _named(baseline)
        if named is not None:
            yield replace(subject, source=named)

    def _achieved(
        self, track: Track, length: timedelta, limit: float, null_count: int | None, random: np.random.Generator
    ) -> Achieved | None:
        baseline = track.yardstick.reference.baseline
        if len(baseline.blocks) < 2:
            return None
        quarter = budget.windows_per_quarter(length)
        count = null_count or max(LEAST_WINDOWS, round(quarter))
        pages, made = 0, 0
        start = baseline.blocks[-1][0] + baseline.block
        for number in range(BASELINES):
            share = (count * (number + 1)) // BASELINES - made
            if not share:
                continue
            drawn = pseudo_baseline(baseline, random)
            reference = Reference(id="null", dataset="", model="", baseline=drawn)
            watched = {one.name: 1.0 for one in baseline.bins.features if self.tried.watches(one.column)}
            limits = fit_limits(
                drawn,
                smallest_change=self.tried.smallest_change,
                weights=watched if len(watched) < len(baseline.bins.names) else None,
            )
            alerts = Alerts(self.tried, track.watch.service, track.watch.slice)
            windows = null_windows(baseline, length, share, start, random)
            yardstick = replace(track.yardstick, reference=reference, limits=limits)
            for _ in replayed(yardstick, windows, alerts, average_run_length=limit):
                pass
            pages += len(alerts.all())
            made += share
        return Achieved(windows=made, pages=pages, windows_per_quarter=quarter)


def _over(track: Track, lines: Sequence[JudgedWindow]) -> Iterator[KeptWindow]:
    bins = track.yardstick.reference.baseline.bins
    for one in lines:
        try:
            profile = Profile.from_arrow(one.profile, bins)
        except FeatureStoreError:
            return
        yield KeptWindow(start=one.begin.instant, end=one.end, profile=profile)


def _of_checks(policy: MonitorPolicy, checks: Sequence[tuple[str, Check]]) -> list[Page]:
    """Return the pages of what checks found then, by the policy's holding times."""
    pages: list[Page] = []
    for (service, subject), group in groupby(checks, key=lambda one: (one[0], one[1].subject)):
        alerts = Alerts(policy, service)
        for _, check in group:
            found: dict[str, list[Mapping[str, object]]] = {rule: [] for rule in alerts.by_rule}
            for one in check.findings:
                if one.get("verdict") in ("drift", "severe"):
                    found.setdefault(str(one.get("rule", subject)), []).append(one)
            for rule, bad in found.items():
                seen = Observation(alarm=bool(bad), effect=bool(bad), onset=check.at, span=1)
                on = tuple(str(one.get("subject", subject)) for one in bad)
                statistical = any(bool(one.get("statistical", True)) for one in bad)
                alerts.take(rule, seen, on, check.at, statistical=statistical)
        pages += alerts.all()
    return pages


def _named(baseline: str) -> BaselineSource | None:
    """Return the source of a baseline that is a dataset as it was stored; others are found by the policy alone."""
    name, at, version = baseline.partition("@")
    return BaselineSource(dataset=baseline) if name and at and version.isdigit() else None


def _mean(times: Sequence[datetime]) -> timedelta:
    """Return the mean length of windows, from their starts and ends in turn."""
    lengths = [end - start for start, end in zip(times[::2], times[1::2], strict=True)]
    return max(sum(lengths, timedelta(0)) / len(lengths), timedelta(microseconds=1))


def _together(parts: Sequence[Achieved]) -> Achieved:
    """Return the rate of several streams that are judged beside each other: their rates add up."""
    windows, pages = sum(one.windows for one in parts), sum(one.pages for one in parts)
    mean = sum(one.windows_per_quarter for one in parts) / len(parts)
    return Achieved(windows=windows, pages=pages, windows_per_quarter=mean * len(parts))
