"""What became of an incident -> messages in the outbox, in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection

from monitor import retraining
from monitor.alerts import message, outbox
from monitor.alerts.base import Kind
from monitor.alerts.states import Incident, Notification, Observation, State, advance, expected, incident_key
from monitor.decisions import Decision
from monitor.history import History, Watch

#: Rules that say the world has changed: a model learns from it. All others say that something is broken, and a model
#: would learn the fault.
WORLD = frozenset({"drift", "performance"})

#: While one of these is open for a stream, its drift sends no retraining signal: the rows are not what they should be.
FAULTS = frozenset({"training_serving_skew", "schema_change", "type_change", "configuration_drift", "null spike"})


class Told(Protocol):
    """What a rule found, in the words of its messages."""

    def alert(self, context: message.Context, incident: Incident, said: Notification, at: datetime) -> dict[str, Any]:
        """Return the alert's payload."""
        ...

    def signal(self, context: message.Context, incident: Incident, now: datetime) -> dict[str, Any] | None:
        """Return the retraining signal's payload; None where none is due."""
        ...


@dataclass(frozen=True, kw_only=True)
class Drifted:
    """What the distribution of features or predictions shows."""

    rule: str
    decision: Decision

    def alert(self, context: message.Context, incident: Incident, said: Notification, at: datetime) -> dict[str, Any]:
        """See :class:`Told`."""
        return message.alert(context, self.decision, incident, said, rule=self.rule, decided_at=at)

    def signal(self, context: message.Context, incident: Incident, now: datetime) -> dict[str, Any] | None:
        """See :class:`Told`."""
        return retraining.retraining_signal(context, self.decision, incident, now=now)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a check of facts found, as sentences."""

    rule: str
    sentences: tuple[str, ...]

    def alert(self, context: message.Context, incident: Incident, said: Notification, at: datetime) -> dict[str, Any]:
        """See :class:`Told`."""
        return message.told(context, self.sentences, incident, said, rule=self.rule, decided_at=at)

    def signal(self, context: message.Context, incident: Incident, now: datetime) -> dict[str, Any] | None:
        """See :class:`Told`."""
        return retraining.told_signal(context, "; ".join(self.sentences), incident, now=now)


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
    retrain: bool

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
        if said is None:
            return incident, Spoken()
        payload = found.alert(self.context, incident, said, at)
        about: dict[str, Any] = {
            "instance": self.history.instance,
            "project": self.context.project,
            "service": self.context.service,
            "incident": f"{incident.key}-{incident.episode}",
            "sequence": str(incident.episode),
            "severity": self.context.severity,
            "now": now,
        }
        if said is Notification.RESOLVED:
            # Where the alert went, not where the policy routes by now: nothing is resolved that was never sent.
            for channel in outbox.told(connection, about["incident"]):
                outbox.enqueue(connection, channel=channel, kind=Kind.RESOLVED, payload=payload, **about)
            return incident, Spoken(resolved=1)
        for channel in self.channels:
            outbox.enqueue(connection, channel=channel, kind=Kind.FIRING, payload=payload, **about)
        return incident, Spoken(fired=1, signals=int(self._signalled(connection, rule, found, incident, about)))

    def expect(
        self, connection: Connection, rule: str, seen: Observation, *, incidents: Mapping[str, Incident]
    ) -> None:
        """Keep that windows of the past raised an alarm; nobody is told before the next window shows the effect."""
        before = incidents.get(rule) or Incident(key=self._key(rule))
        incident = expected(before, seen)
        if incident != before:
            self.history.save_incident(connection, self.watch, rule, incident)

    def _signalled(
        self, connection: Connection, rule: str, found: Told, incident: Incident, about: Mapping[str, Any]
    ) -> bool:
        if not self.retrain or rule.partition(" of ")[0] not in WORLD or self._at_fault(connection):
            return False
        signal = found.signal(self.context, incident, about["now"])
        if signal is None or not self.history.record_signal(connection, self.watch, signal, now=about["now"]):
            return False
        said = {**about, "incident": signal["id"], "severity": "info"}
        for channel in self.channels:
            outbox.enqueue(connection, channel=channel, kind=Kind.RETRAINING, payload=signal, **said)
        return True

    def _at_fault(self, connection: Connection) -> bool:
        """Return whether something is broken of which a model must not learn."""
        firing = self.history.firing_rules(connection, self.context.service)
        return bool(firing & FAULTS)

    def _key(self, rule: str) -> str:
        context, watch = self.context, self.watch
        return incident_key(context.project, context.replay, watch.service, f"{watch.policy}/{rule}", watch.slice)
