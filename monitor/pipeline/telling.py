"""What became of an incident -> messages in the outbox, in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection

from featurestore.definitions import RetrainingPolicy
from monitor import retraining
from monitor.alerts import message, outbox
from monitor.alerts.base import Kind
from monitor.alerts.states import Incident, Notification, Observation, State, advance, expected, incident_key
from monitor.decisions import Decision
from monitor.history import History, Watch


class Told(Protocol):
    """What a rule found, in the words of its messages."""

    def alert(self, context: message.Context, incident: Incident, said: Notification, at: datetime) -> dict[str, Any]:
        """Return the alert's payload."""
        ...

    def meaning(self) -> Mapping[str, Any]:
        """Return what it means for training, as :func:`monitor.retraining.consider` takes it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """What the distribution of features or predictions shows."""

    rule: str
    decision: Decision

    def alert(self, context: message.Context, incident: Incident, said: Notification, at: datetime) -> dict[str, Any]:
        """See :class:`Told`."""
        return message.alert(context, self.decision, incident, said, rule=self.rule, decided_at=at)

    def meaning(self) -> Mapping[str, Any]:
        """See :class:`Told`."""
        return {"decision": self.decision}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a check of facts found, as sentences."""

    rule: str
    sentences: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    views: tuple[str, ...] = ()

    def alert(self, context: message.Context, incident: Incident, said: Notification, at: datetime) -> dict[str, Any]:
        """See :class:`Told`."""
        return message.told(context, self.sentences, incident, said, rule=self.rule, decided_at=at)

    def meaning(self) -> Mapping[str, Any]:
        """See :class:`Told`."""
        return {"sentences": self.sentences, "kinds": self.kinds, "views": self.views}


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """What people were told: how often it began, ended, and asked for a new model."""

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
class Teller:
    """Takes incidents on, and says what is due.

    Attributes:
        history: the database.
        watch: policy, stream and slice.
        context: whom it is about.
        channels: where messages go.
        hold_for: see :class:`~featurestore.definitions.MonitorPolicy`.
        keep_firing_for: the same.
        retrain: the same.
    """

    history: History
    watch: Watch
    context: message.Context
    channels: tuple[str, ...]
    hold_for: int
    keep_firing_for: int
    retrain: bool | RetrainingPolicy

    def incidents(self, connection: Connection) -> dict[str, Incident]:
        """Return the incidents of the watch that ever were, by rule."""
        return self.history.incidents(connection, self.watch)

    def take(
        self,
        connection: Connection,
        rule: str,
        seen: Observation,
        found: Told,
        *,
        incidents: Mapping[str, Incident],
        at: datetime,
        now: datetime,
    ) -> tuple[Incident, Spoken]:
        """Take a rule's incident one window on, keep it, and put what is due into the outbox.

        Args:
            connection: the window's transaction.
            rule: the incident's.
            seen: what the window showed.
            found: what its messages say.
            incidents: of the watch, before the window.
            at: the end of the window.
            now: the wall clock.
        """
        before = incidents.get(rule) or Incident(key=self._key(rule))
        incident, said = advance(before, seen, hold_for=self.hold_for, keep_firing_for=self.keep_firing_for)
        if incident == before and incident.state is State.OK:
            return incident, Spoken()
        self.history.save_incident(connection, self.watch, rule, incident)
        retraining.consider(
            connection,
            self.watch,
            self.context,
            rule,
            incident,
            retrain=self.retrain,
            **found.meaning(),
            at=at,
            now=now,
        )
        if said is None:
            return incident, Spoken()
        payload = found.alert(self.context, incident, said, at)
        about: dict[str, Any] = {
            "instance": self.history.instance,
            "project": self.context.project,
            "service": self.context.service,
            "incident": incident,
            "now": now,
        }
        if said is Notification.RESOLVED:
            # Where the alert went, not where the policy routes by now: nothing is resolved that was never sent.
            told = outbox.told(connection, incident)
            outbox.enqueue(connection, channels=told, kind=Kind.RESOLVED, payload=payload, **about)
            return incident, Spoken(resolved=1)
        outbox.enqueue(connection, channels=self.channels, kind=Kind.FIRING, payload=payload, **about)
        return incident, Spoken(fired=1)

    def expect(
        self, connection: Connection, rule: str, seen: Observation, *, incidents: Mapping[str, Incident]
    ) -> None:
        """Keep that windows of the past raised an alarm; nobody is told before the next window shows the effect."""
        before = incidents.get(rule) or Incident(key=self._key(rule))
        incident = expected(before, seen)
        if incident != before:
            self.history.save_incident(connection, self.watch, rule, incident)

    def _key(self, rule: str) -> str:
        context, watch = self.context, self.watch
        return incident_key(context.project, context.replay, watch.service, f"{watch.policy}/{rule}", watch.slice)
