"""Windows that were judged once, judged by a policy that is at hand: what it would have paged, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from featurestore.definitions import MonitorPolicy
from featurestore.profiles import Profile
from monitor.alerts.states import Alert, Notification, Observation, advance
from monitor.decisions import Decision
from monitor.detector import DetectorState
from monitor.pipeline.judging import Seen, Yardstick, judge


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page that would have gone out.

    Attributes:
        service: the stream.
        slice: which rows; "" for all.
        rule: what was looked for.
        at: the end of the window that raised it.
        onset: start of the first window that is likely different.
        resolved: the end of the window that ended it; None while it lasts.
        on: what it names: features, or reasons.
        statistical: whether chance can raise it.
    """

    service: str
    slice: str
    rule: str
    at: datetime
    onset: datetime | None
    resolved: datetime | None
    on: tuple[str, ...]
    statistical: bool = True


@dataclass(frozen=True, kw_only=True)
class KeptWindow:
    """A window of the ledger: its first instant, the first after it, and the profile of its rows."""

    start: datetime
    end: datetime
    profile: Profile


class Kept:
    """The windows that were replayed so far; a :class:`~monitor.pipeline.judging.Memory`.

    Args:
        longest: how many are kept at most: as many as an alert spans.
    """

    def __init__(self, longest: int = 10_000) -> None:
        self._windows: list[KeptWindow] = []
        self._longest = longest
        self._first: datetime | None = None

    def add(self, window: KeptWindow) -> None:
        """Keep one more."""
        self._first = self._first or window.start
        self._windows.append(window)
        if len(self._windows) > self._longest:
            del self._windows[0]

    def profiles(self, *, since: datetime | None = None, last: int | None = None) -> list[Profile]:
        """See :class:`~monitor.pipeline.judging.Memory`."""
        found = [one.profile for one in reversed(self._windows) if since is None or one.start >= since]
        return found if last is None else found[:last]

    def rows_since(self, since: datetime) -> int:
        """See :class:`~monitor.pipeline.judging.Memory`."""
        total = 0
        for one in reversed(self._windows):
            if one.start < since:
                break
            total += one.profile.rows
        return total

    def first_start(self) -> datetime | None:
        """See :class:`~monitor.pipeline.judging.Memory`."""
        return self._first


class Alerts:
    """The alerts of one stream or slice, taken on window by window, and the pages that come of it.

    Args:
        policy: how long alarms are held, and kept.
        service: the stream.
        slice_: which rows.
    """

    def __init__(self, policy: MonitorPolicy, service: str, slice_: str = "") -> None:
        self._policy = policy
        self._service = service
        self._slice = slice_
        self._open: dict[str, Page] = {}
        self.by_rule: dict[str, Alert] = {}
        self.pages: list[Page] = []

    def take(self, rule: str, seen: Observation, on: tuple[str, ...], at: datetime, *, statistical: bool) -> None:
        """Take a rule's alert one window on."""
        policy = self._policy
        before = self.by_rule.get(rule) or Alert(key=rule)
        alert, said = advance(before, seen, hold_for=policy.hold_for, keep_firing_for=policy.keep_firing_for)
        self.by_rule[rule] = alert
        if said is Notification.FIRING:
            page = Page(
                service=self._service,
                slice=self._slice,
                rule=rule,
                at=at,
                onset=alert.onset,
                resolved=None,
                on=on,
                statistical=statistical,
            )
            self._open[rule] = page
        elif said is Notification.RESOLVED and rule in self._open:
            page = self._open.pop(rule)
            self.pages.append(_resolved(page, at))

    def all(self) -> list[Page]:
        """Return every page, in the order in which they would have gone out."""
        return sorted([*self.pages, *self._open.values()], key=lambda one: (one.at, one.rule))


def replayed(
    yardstick: Yardstick,
    windows: Iterable[KeptWindow],
    alerts: Alerts,
    *,
    average_run_length: Mapping[datetime, float] | float,
) -> Iterator[tuple[KeptWindow, Decision]]:
    """Judge windows in order, and yield each with what was decided of it.

    Args:
        yardstick: what they are held against.
        windows: profiles over the bins of its baseline, the oldest first.
        alerts: taken on.
        average_run_length: windows between false alarms, one number or by the start of the window.
    """
    state, kept = DetectorState.start(yardstick.limits), Kept()
    for window in windows:
        limit = average_run_length if isinstance(average_run_length, (int, float)) else average_run_length[window.start]
        judged = judge(
            yardstick,
            state,
            window.start,
            window.end,
            window.profile,
            average_run_length=limit,
            alerts=alerts.by_rule,
            memory=kept,
        )
        state = judged.state
        kept.add(window)
        for one in judged.seen:
            by_chance = not any(finding.certain for finding in one.decision.findings)
            alerts.take(one.rule, one.observation, named(one), window.end, statistical=by_chance)
        yield window, judged.decision


def named(seen: Seen) -> tuple[str, ...]:
    """Return the features that a rule's finding names, those that matter most first."""
    return tuple(one.feature for one in seen.decision.findings if one.verdict in ("drift", "severe"))


def _resolved(page: Page, at: datetime) -> Page:
    return replace(page, resolved=at)
