"""A signal that goes to another state -> the event and its messages, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy, RetrainingPolicy
from monitor.alerts import outbox
from monitor.alerts.base import Kind
from monitor.retraining import store
from monitor.retraining.routing import routes_of, told_before
from monitor.retraining.states import SignalState
from monitor.retraining.wording import standing


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where signals leave from.

    Attributes:
        config: channels, and whether it is a rehearsal.
        instance: the name of the monitor's database.
        policy: the monitor policy that the signal is of; None where none watches the service.
        rules: of its retraining.
        now: the wall clock.
    """

    config: Config
    instance: str
    policy: MonitorPolicy | None
    rules: RetrainingPolicy
    now: datetime

    def send(
        self,
        connection: Connection,
        signal: store.StoredSignal,
        state: SignalState,
        *,
        reason: str,
        who: str = "",
        request: Mapping[str, Any] | None = None,
        expires_at: datetime | None = None,
        approved_by: str = "",
    ) -> store.StoredSignal:
        """Bring a signal to a state that receivers see, and tell them.

        Args:
            connection: the transaction.
            signal: as it was read in this transaction.
            state: where it goes.
            reason: why.
            who: who did it; "" for the monitor.
            request: what to train on; None leaves what is there.
            expires_at: until when somebody may agree.
            approved_by: who has.

        Raises:
            MonitorError: it cannot go there, or a route names no channel.
        """
        channels = (
            told_before(connection, self.config, signal.id)
            if state.called_off
            else routes_of(self.config, self.policy, self.rules, state)
        )
        payload = standing(signal.payload, state, replay=self.config.replay, request=request, expires_at=expires_at)
        if signal.state is SignalState.PENDING or state.called_off:
            decided = f"{state} by {who}: {reason}" if who else reason
            payload["reason"] = f"{payload['reason']}; {decided}"
        moved = store.move(
            connection,
            signal,
            state,
            who=who,
            reason=reason,
            now=self.now,
            payload=payload,
            expires_at=expires_at,
            approved_by=approved_by,
        )
        self._enqueue(connection, moved, channels)
        return moved

    def _enqueue(self, connection: Connection, signal: store.StoredSignal, channels: Sequence[str]) -> None:
        # A signal is said once in each state: the same state again is the same message, under the same key.
        for channel in channels:
            outbox.enqueue(
                connection,
                instance=self.instance,
                channel=channel,
                kind=Kind.RETRAINING,
                project=self.config.project,
                service=signal.service,
                incident=signal.id,
                sequence=str(list(SignalState).index(signal.state)),
                severity="ticket" if signal.state is SignalState.PENDING else "info",
                payload=signal.payload,
                now=self.now,
            )
