"""One window -> one transaction: ledger, detectors, alerts and messages are kept together, or not at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, get_args

import structlog
from sqlalchemy import Connection

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy
from featurestore.errors import MonitorError
from featurestore.profiles import Profile
from monitor.accepted import accepted_sources
from monitor.alerts import message
from monitor.alerts.dispatching import clock_of, dispatch_within
from monitor.alerts.states import Alert, State, worst
from monitor.decisions import Kind
from monitor.detector import DetectorState
from monitor.history import Detector, History, JudgedWindow, Standing, Watch
from monitor.pipeline.judging import Judgement, judge
from monitor.pipeline.reports import NOT_ENOUGH, ServiceReport
from monitor.pipeline.subjects import Track
from monitor.pipeline.telling import Drifted, Reach, Spoken, Teller
from monitor.windows import Position, Window

#: What the detectors of features and predictions are kept under.
FEATURES = "features"

#: Rules that are judged by distributions; alerts of others are none of a window's business.
RULES = frozenset(get_args(Kind))

#: What JSON has, and most of a decision is.
_AS_THEY_ARE = frozenset({str, int, bool, type(None)})

_log = structlog.get_logger("monitor.pipeline")


class OvertakenError(Exception):
    """Somebody has said, while a run was going on, what is normal: the rest is for the next run."""


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """Windows of a track that were judged before, read in the window's own transaction.

    Attributes:
        history: the database.
        connection: the transaction.
        track: whose windows.
        before: the start of the window at hand: what is judged again knows nothing of later ones.
    """

    history: History
    connection: Connection
    track: Track
    before: Position

    def profiles(self, *, since: datetime | None = None, last: int | None = None) -> list[Profile]:
        """See :class:`~monitor.pipeline.judging.Memory`."""
        reference = self.track.yardstick.reference
        tables = self.history.profiles(
            self.connection, self.track.watch, reference.id, since=since, last=last, before=self.before
        )
        return [Profile.from_arrow(table, reference.baseline.bins) for table in tables]

    def rows_since(self, since: datetime) -> int:
        """See :class:`~monitor.pipeline.judging.Memory`."""
        return self.history.rows_since(self.connection, self.track.watch, since, before=self.before)

    def first_start(self) -> datetime | None:
        """See :class:`~monitor.pipeline.judging.Memory`."""
        return self.history.first_start(self.connection, self.track.watch)


@dataclass(frozen=True, kw_only=True)
class Committer:
    """Judges windows and keeps what comes of them.

    Attributes:
        history: the database.
        config: whether it is a rehearsal, and the timers of its messages.
        reach: who hears of alerts.
        now: the wall clock.
    """

    history: History
    config: Config
    reach: Reach
    now: datetime

    def window(
        self,
        tracks: Sequence[Track],
        window: Window,
        profiles: Sequence[Profile],
        report: ServiceReport,
        *,
        run_length: float,
    ) -> ServiceReport:
        """Judge a window of a stream, with its slices, and return the report after it.

        Args:
            tracks: all rows, then the slices.
            window: the window.
            profiles: of its rows, for each track.
            report: so far.
            run_length: windows between false alarms of each track.

        Raises:
            OvertakenError: somebody has said meanwhile what is normal: nothing was kept.
        """
        with self.history.write() as connection:
            self._check_normal(connection, tracks[0])
            spoken, first = Spoken(), None
            for track, current in zip(tracks, profiles, strict=True):
                judgement, said = self._judged(connection, track, window, current, run_length)
                spoken += said
                first = first or judgement
                verdict = _verdict(judgement, window)
                line = JudgedWindow(
                    begin=window.begin,
                    stop=window.stop,
                    end=window.end,
                    baseline=track.yardstick.reference.id,
                    rows=current.rows,
                    profile=current.to_arrow(),
                    verdict=verdict,
                    decision=plain(judgement.decision) | {"rules": [one.rule for one in judgement.seen]},
                )
                self.history.record(connection, track.watch, line, now=self.now)
            head = tracks[0]
            standing = Standing(baseline=head.yardstick.reference.id, position=window.stop)
            self.history.save_standing(connection, head.watch, standing)
            states = self._states(connection, tracks)
            self.rehearse(connection, window.end)
        assert first is not None  # noqa: S101 - there always is the track of all rows
        verdict = _verdict(first, window)
        self._tell(head, window, verdict, spoken)
        return replace(
            report,
            windows=report.windows + 1,
            verdict=verdict,
            state=worst(states),
            fired=report.fired + spoken.fired,
            resolved=report.resolved + spoken.resolved,
            signals=report.signals + spoken.signals,
            log_evidence=first.decision.evidence.log_value,
            log_limit=first.decision.evidence.log_limit,
        )

    def _check_normal(self, connection: Connection, track: Track) -> None:
        """Refuse to judge by what was normal when the run began, where somebody has accepted or revoked since."""
        subject = track.subject
        clock = clock_of(self.history, connection, self.config, self.now)
        if accepted_sources(self.history, connection, subject.watch, clock=clock) != subject.accepted:
            raise OvertakenError

    def again(self, track: Track, line: JudgedWindow, current: Profile, *, run_length: float) -> None:
        """Judge a window of the ledger against a new baseline, for its evidence.

        Its verdict stays, and so do alerts: the past neither ends one nor is worth a page. What it raises waits for
        the next window to show the effect.
        """
        window = Window(subject=track.watch.service, begin=line.begin, stop=line.stop, rows=line.rows)
        with self.history.write() as connection:
            teller = self.teller(track)
            alerts = teller.alerts(connection)
            judgement = self._judge(connection, track, window, current, run_length, {})
            for one in judgement.seen:
                teller.expect(connection, one.rule, one.observation, alerts=alerts)
            renewed = replace(line, profile=current.to_arrow(), baseline=track.yardstick.reference.id)
            self.history.renew(connection, track.watch, renewed)

    def _judged(
        self, connection: Connection, track: Track, window: Window, current: Profile, run_length: float
    ) -> tuple[Judgement, Spoken]:
        teller = self.teller(track)
        alerts = teller.alerts(connection)
        judgement = self._judge(connection, track, window, current, run_length, alerts)
        spoken = Spoken()
        for one in judgement.seen:
            found = Drifted(
                rule=one.rule,
                decision=one.decision,
                reference=track.yardstick.reference.baseline.whole,
                rows=one.rows,
                importances=bool(track.yardstick.importances),
            )
            _, said = teller.take(
                connection, one.rule, one.observation, found, alerts=alerts, at=window.end, now=self.now
            )
            spoken += said
        return judgement, spoken

    def _judge(
        self,
        connection: Connection,
        track: Track,
        window: Window,
        current: Profile,
        run_length: float,
        alerts: Mapping[str, Alert],
    ) -> Judgement:
        judgement = judge(
            track.yardstick,
            self._state(connection, track),
            window.start,
            window.end,
            current,
            average_run_length=run_length,
            alerts={rule: one for rule, one in alerts.items() if rule in RULES},
            memory=Remembered(history=self.history, connection=connection, track=track, before=window.begin),
        )
        kept = Detector(baseline=track.yardstick.reference.id, state=judgement.state.to_dict())
        self.history.save_detector(connection, track.watch, FEATURES, kept)
        return judgement

    def teller(self, track: Track) -> Teller:
        """Return what takes the alerts of a track on."""
        return self.teller_of(track.yardstick.policy, track.watch, track.context)

    def teller_of(self, policy: MonitorPolicy, watch: Watch, context: message.Context) -> Teller:
        """Return what takes the alerts of a watch on, by the numbers of a policy."""
        return Teller(
            history=self.history,
            watch=watch,
            context=context,
            reach=self.reach,
            hold_for=policy.hold_for,
            keep_firing_for=policy.keep_firing_for,
            retrain=policy.retrain,
        )

    def rehearse(self, connection: Connection, at: datetime) -> None:
        """In a rehearsal, write what is due by the clock of its data, in the transaction that moves that clock."""
        if self.config.replay:
            self.history.advance_data_clock(connection, at)
            dispatch_within(self.history, connection, self.config, now=self.now)

    def _state(self, connection: Connection, track: Track) -> DetectorState:
        """Return the detector's state; a fresh one if its limits are others now, or another release wrote it."""
        limits = track.yardstick.limits
        kept = self.history.detector(connection, track.watch, FEATURES)
        if kept is not None and kept.baseline == track.yardstick.reference.id:
            state = restored(kept.state)
            if state is not None and state.limits_id == limits.id:
                return state
        return DetectorState.start(limits)

    def _states(self, connection: Connection, tracks: Sequence[Track]) -> list[State]:
        alerts = [self.history.alerts(connection, track.watch) for track in tracks]
        return [one.state for found in alerts for one in found.values()]

    def _tell(self, track: Track, window: Window, verdict: str, spoken: Spoken) -> None:
        # What people are told is worth a line; that all is well is one only when asked for.
        log = _log.info if spoken != Spoken() else _log.debug
        log(
            "window judged",
            policy=track.watch.policy,
            service=track.watch.service,
            window=window.start.isoformat(),
            rows=window.rows,
            verdict=verdict,
            fired=spoken.fired,
            resolved=spoken.resolved,
        )


def restored(state: Mapping[str, Any]) -> DetectorState | None:
    """Return a detector's state as it was kept; None if another release wrote it in another form."""
    try:
        return DetectorState.from_dict(state)
    except (MonitorError, KeyError, TypeError, ValueError):
        return None


def plain(value: Any) -> Any:
    """Return JSON values: instants as ISO 8601, and null for what is no number."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    # Not asdict, which copies all that is in it first: a decision may be about ten thousand features.
    if is_dataclass(kind):
        return {name: plain(getattr(value, name)) for name in _names(kind)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):  # numpy's
        return None
    return value


@cache
def _names(kind: type) -> tuple[str, ...]:
    """Return the fields of a dataclass."""
    return tuple(one.name for one in fields(kind))


def _verdict(judgement: Judgement, window: Window) -> str:
    if not window.enough and judgement.decision.verdict == "ok":
        return NOT_ENOUGH
    return judgement.decision.verdict
