"""What became of an alert: kept with its finding, followed in its incident, weighed as a reason to retrain.

All in the transaction of the window that changed it. Who is told of the incident, and when, is
:mod:`monitor.alerts.dispatching`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection

from featurestore.definitions import RetrainingPolicy
from featurestore.profiles import Profile
from monitor import retraining
from monitor.alerts import message
from monitor.alerts.about import About
from monitor.alerts.drawing import histograms_of
from monitor.alerts.incident_state import Incident
from monitor.alerts.states import Alert, Notification, Observation, State, advance, alert_key, closed, expected, unseen
from monitor.alerts.taking import Change, take
from monitor.decisions import Decision
from monitor.history import History, Kept, Watch


class Told(Protocol):
    """What a rule found, in the words of its messages."""

    @property
    def features(self) -> tuple[str, ...]:
        """Those that it is about, as the service names them, those that matter most first."""
        ...

    def finding(self, context: message.Context, alert: Alert, at: datetime) -> dict[str, Any]:
        """Return the message of this alert alone."""
        ...

    def meaning(self) -> Mapping[str, Any]:
        """Return what it means for training, as :func:`monitor.retraining.consider` takes it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """What the distribution of features or predictions shows.

    Attributes:
        rule: what was looked for.
        decision: what was found.
        reference: the baseline's profile.
        rows: the profile of what was judged.
        importances: whether the importances of features are the model's own.
    """

    rule: str
    decision: Decision
    reference: Profile
    rows: Profile
    importances: bool

    @property
    def features(self) -> tuple[str, ...]:
        """See :class:`Told`."""
        return tuple(dict.fromkeys(message.column_of(one.feature) for one in message.moved(self.decision)))

    def finding(self, context: message.Context, alert: Alert, at: datetime) -> dict[str, Any]:
        """See :class:`Told`."""
        shown = [one.feature for one in message.moved(self.decision)[: message.SHOWN]]
        return message.finding_of(
            context,
            self.decision,
            alert,
            rule=self.rule,
            decided_at=at,
            histograms=histograms_of(self.reference, self.rows, shown, pii=context.pii),
            importances=self.importances,
        )

    def meaning(self) -> Mapping[str, Any]:
        """See :class:`Told`."""
        return {"decision": self.decision}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a check of facts found, as sentences.

    Attributes:
        rule: what was looked for.
        sentences: what was found, the worst first.
        features: that it is about.
        kinds: what the findings are of: ``feature``, ``model`` ...
        views: the stored views upstream of them.
    """

    rule: str
    sentences: tuple[str, ...]
    features: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    views: tuple[str, ...] = ()

    def finding(self, context: message.Context, alert: Alert, at: datetime) -> dict[str, Any]:
        """See :class:`Told`."""
        return message.finding_of_facts(
            context, self.sentences, alert, rule=self.rule, decided_at=at, features=self.features
        )

    def meaning(self) -> Mapping[str, Any]:
        """See :class:`Told`."""
        return {"sentences": self.sentences, "kinds": self.kinds, "views": self.views}


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What is to be told to people: how often it began, ended, and asked for a new model."""

    fired: int = 0
    resolved: int = 0
    signals: int = 0

    def __add__(self, other: Spoken) -> Spoken:
        return Spoken(
            fired=self.fired + other.fired,
            resolved=self.resolved + other.resolved,
            signals=self.signals + other.signals,
        )


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Who hears of the alerts of a policy: of a rehearsal, only channels that take its messages.

    Attributes:
        routes: channels.
        escalate_after: how long nobody may say that they work on it; None for ever.
        escalate_to: channels that hear of it then.
    """

    routes: tuple[str, ...]
    escalate_after: timedelta | None = None
    escalate_to: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Teller:
    """Takes the alerts of a watch on.

    Attributes:
        history: the database.
        watch: policy, stream and slice.
        context: whom it is about.
        reach: who hears of it.
        hold_for: see :class:`~featurestore.definitions.MonitorPolicy`.
        keep_firing_for: the same.
        retrain: the same.
    """

    history: History
    watch: Watch
    context: message.Context
    reach: Reach
    hold_for: int
    keep_firing_for: int
    retrain: bool | RetrainingPolicy

    def alerts(self, connection: Connection) -> dict[str, Alert]:
        """Return the alerts of the watch that ever were, by rule."""
        return self.history.alerts(connection, self.watch)

    def take(
        self,
        connection: Connection,
        rule: str,
        seen: Observation,
        found: Told,
        *,
        alerts: Mapping[str, Alert],
        at: datetime,
        now: datetime,
    ) -> tuple[Alert, Spoken]:
        """Take a rule's alert one window on, and keep what comes of it.

        Args:
            connection: the window's transaction.
            rule: the alert's.
            seen: what the window showed.
            found: what its messages say.
            alerts: of the watch, before the window.
            at: the end of the window.
            now: the wall clock.
        """
        before = self.before(rule, alerts)
        alert, said = advance(before, seen, hold_for=self.hold_for, keep_firing_for=self.keep_firing_for)
        if alert == before and alert.state is State.OK:
            return alert, Spoken()
        kept = self._kept(rule, alert, found, at) if alert.firing and (seen.effect or said) else None
        incident = self._save(connection, rule, before, alert, kept, at=at, now=now)
        if alert.firing and not seen.effect:
            # It recovers: what it was about is known, and whether it is over is not.
            return alert, Spoken()
        retraining.consider(
            connection,
            self.watch,
            self.context,
            rule,
            alert,
            retrain=self.retrain,
            **found.meaning(),
            incident=incident.key if incident is not None else "",
            name=incident.name if incident is not None else "",
            at=at,
            now=now,
        )
        return alert, Spoken(fired=int(said is Notification.FIRING), resolved=int(said is Notification.RESOLVED))

    def see_nothing(
        self,
        connection: Connection,
        rule: str,
        why: State,
        *,
        alert: Alert,
        since: datetime,
        at: datetime,
        now: datetime,
        found: Told | None = None,
        tell_after: int = 0,
    ) -> tuple[Alert, Spoken]:
        """Keep that a look showed nothing: an alert that fires goes on, and may fire for that alone.

        Args:
            connection: the transaction.
            rule: the alert's.
            why: ``NO_DATA`` or ``ERROR``.
            alert: before the look.
            since: from when on nothing has been seen.
            at: up to when it was looked for.
            now: the wall clock.
            found: what its messages say, where it may fire for that alone.
            tell_after: see :func:`monitor.alerts.states.unseen`.
        """
        after, said = unseen(alert, why, since=since, tell_after=tell_after)
        kept = None if found is None or said is None else self._kept(rule, after, found, at)
        self._save(connection, rule, alert, after, kept, at=at, now=now)
        return after, Spoken(fired=int(said is Notification.FIRING))

    def close(self, connection: Connection, rule: str, alert: Alert, *, why: str, at: datetime, now: datetime) -> Alert:
        """Keep that nobody looks after an alert any more, and why: its incident goes on without it."""
        after, _ = closed(alert)
        self._save(connection, rule, alert, after, None, at=at, now=now, ended=why)
        retraining.ends(connection, alert.key, at)
        return after

    def expect(self, connection: Connection, rule: str, seen: Observation, *, alerts: Mapping[str, Alert]) -> None:
        """Keep that windows of the past raised an alarm; nobody is told before the next window shows the effect."""
        before = self.before(rule, alerts)
        alert = expected(before, seen)
        if alert != before:
            self.history.save_alert(connection, self.watch, rule, alert)

    def before(self, rule: str, alerts: Mapping[str, Alert]) -> Alert:
        """Return a rule's alert as it was; one that never was is ok."""
        return alerts.get(rule) or Alert(key=self._key(rule))

    def _kept(self, rule: str, alert: Alert, found: Told, at: datetime) -> Kept:
        context, features = self.context, found.features
        about = About(
            project=context.project,
            replay=context.replay,
            policy=self.watch.policy,
            service=context.service,
            model=context.model,
            rule=rule,
            slice=context.slice,
            features=features,
            views={one: context.views[one] for one in features if one in context.views},
            sources={one: context.sources_of(one) for one in features},
            severity=context.severity,
            routes=self.reach.routes,
            escalate_after=self.reach.escalate_after,
            escalate_to=self.reach.escalate_to,
            runbook=context.runbook,
        )
        return Kept(finding=found.finding(context, alert, at), about=about.to_dict())

    def _save(
        self,
        connection: Connection,
        rule: str,
        before: Alert,
        after: Alert,
        kept: Kept | None,
        *,
        at: datetime,
        now: datetime,
        ended: str = "",
    ) -> Incident | None:
        """Keep an alert and what became of its incident; return that, where it goes on."""
        self.history.save_alert(connection, self.watch, rule, after, kept, at=at, now=now)
        if not before.firing and not after.firing:
            return None
        clock = at if self.context.replay else now
        return take(
            self.history,
            connection,
            Change(before=before, after=after, kept=kept, at=at, clock=clock, now=now, ended=ended),
        )

    def _key(self, rule: str) -> str:
        context, watch = self.context, self.watch
        return alert_key(context.project, context.replay, watch.service, f"{watch.policy}/{rule}", watch.slice)
