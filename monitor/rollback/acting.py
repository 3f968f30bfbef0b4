"""From an incident to what is done about it, and back."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from featurestore.config import Config
from featurestore.definitions import MonitorPolicy
from featurestore.errors import FeatureStoreError, LeadershipLostError, MonitorError
from featurestore.registry.records import Registered
from featurestore.store import FeatureStore
from monitor.history import History
from monitor.rollback import ledger
from monitor.rollback.deeds import carry_out, take_back
from monitor.rollback.facts import outlook
from monitor.rollback.rules import why_held
from monitor.rollback.telling import announce, line
from monitor.rollback.values import UNDOABLE, Action, ActionState, Opened, Outlook

#: How often an action is tried: what another process holds for a moment is free at the next run.
ATTEMPTS = 3

#: Held while an action is begun and done: the jobs of several policies run at once, and one process alone leads.
_AT_WORK = threading.Lock()

_log = structlog.get_logger("monitor.rollback")


class Actions:
    """What the monitor does by itself.

    Args:
        store: the store, as a person would open it.
        history: the monitor's database.
    """

    def __init__(self, store: FeatureStore, history: History) -> None:
        self._store = store
        self._history = history

    def outlook(
        self, policy: Registered[MonitorPolicy], opened: Opened, *, now: datetime, ill: Collection[str] = ()
    ) -> Outlook:
        """Return what an alert justifies; nothing is written, and nothing is done.

        Args:
            policy: the alert's.
            opened: the alert.
            now: the wall clock; of a rehearsal, the data's.
            ill: services that have a firing alert of the same rule.

        Raises:
            OfflineStoreError: rows cannot be read.
        """
        return outlook(self._store, policy.definition, opened, ill=frozenset(ill), now=now)

    def of(self, opened: Opened) -> Action | None:
        """Return the action that an alert's incident has; None if none."""
        with self._history.read() as connection:
            return ledger.of_incident(connection, opened.key)

    def held(self, policy: Registered[MonitorPolicy], found: Outlook, *, now: datetime) -> str:
        """Return why a proposal would not be carried out now; "" if it would."""
        with self._history.read() as connection:
            return self._held(connection, policy, found, now)

    def consider(
        self, policy: Registered[MonitorPolicy], opened: Opened, *, now: datetime, ill: Collection[str] = ()
    ) -> Action | None:
        """Look at an alert of an open incident, and do what it justifies, or say what would be done.

        It may be called at every run for every alert of every open incident: an incident that has an action is passed
        over, and evidence that is not there yet may be there at the next run.

        Args:
            policy: the alert's.
            opened: the alert.
            now: the wall clock; of a rehearsal, the data's.
            ill: services that have a firing alert of the same rule.

        Returns:
            The action as it is then; None if the incident has one already, or justifies none.

        Raises:
            MonitorError: the database refuses.
            OfflineStoreError: rows cannot be read.
        """
        with self._history.read() as connection:
            if ledger.of_incident(connection, opened.key) is not None or ledger.looked(connection, opened):
                return None
        found = self.outlook(policy, opened, now=now, ill=ill)
        if found.proposal is None:
            with self._history.write() as connection:
                ledger.note_look(connection, opened)
            return None
        channels = _routes(self._store.config, policy)
        with _AT_WORK:
            with self._history.write() as connection:
                if ledger.of_incident(connection, opened.key) is not None:  # another one was faster
                    return None
                held = self._held(connection, policy, found, now)
                wanted = str(found.proposal.deed) in policy.definition.actions
                action = ledger.add(
                    connection,
                    opened,
                    found.proposal,
                    policy=policy.name,
                    severity=policy.definition.severity,
                    # Who never asked for actions need not be told of each that there could be; the timeline has it.
                    channels=channels if wanted else (),
                    held=held,
                    now=now,
                )
                if held:
                    self._tell(connection, action, now)
            return action if held else self._carry_out(action, now)

    def resume(self, *, now: datetime) -> tuple[Action, ...]:
        """Take up what was begun and not ended: by a monitor that died, or at a moment when the store refused.

        What is not allowed any more is given up.

        Raises:
            MonitorError: the database refuses.
        """
        if not _AT_WORK.acquire(blocking=False):
            return ()  # what another job of this process has begun and not ended, it is doing
        try:
            with self._history.read() as connection:
                begun = ledger.in_state(connection, ActionState.BEGUN)
            return tuple(self._resumed(one, now) for one in begun)
        finally:
            _AT_WORK.release()

    def undo(self, number: int, *, reason: str, now: datetime) -> tuple[Action, str]:
        """Take back what an action did.

        Args:
            number: the action's.
            reason: why.
            now: the wall clock.

        Returns:
            The action as it is then, and what a person has to do still; "" if nothing.

        Raises:
            MonitorError: there is no such action, it was never begun, or somebody has moved what it is about since.
            FeatureStoreError: the store refuses; doing it again goes on with it.
        """
        who = self._store.who()
        with self._history.write() as connection:
            action = ledger.find(connection, number)
            before = ActionState.DONE if action.state is ActionState.UNDOING else action.state
            if before not in UNDOABLE:
                raise MonitorError(
                    f"Action {number} is {action.state}: there is nothing to undo.",
                    hint="List them: featurestore monitor actions",
                )
            action = ledger.change(connection, action, ActionState.UNDOING)
        try:
            left = take_back(self._store, action, reason=reason)
        except FeatureStoreError as error:
            with self._history.write() as connection:
                ledger.change(connection, action, before, error=error.message)
            raise
        with self._history.write() as connection:
            action = ledger.change(connection, action, ActionState.UNDONE, undone_at=now, undone_by=who, error="")
            self._tell(connection, action, now, who=who, details={"reason": reason})
        return action, left

    def _held(self, connection: Connection, policy: Registered[MonitorPolicy], found: Outlook, now: datetime) -> str:
        assert found.proposal is not None  # noqa: S101 - it is asked for proposals alone
        return why_held(
            found.proposal.deed,
            allowed=policy.definition.actions,
            enabled=self._store.config.actions.enabled,
            replay=self._store.config.replay,
            done_today=ledger.done_in_a_day(connection, policy.name, now),
            per_day=policy.definition.actions_per_day,
            undone_by=ledger.undone_by(connection, found.proposal.subject),
        )

    def _resumed(self, action: Action, now: datetime) -> Action:
        registry = self._store.registry
        known = action.policy in {one.name for one in registry.list("monitor_policy")}
        why = why_held(
            action.kind,
            allowed=registry.policy(action.policy).definition.actions if known else (),
            enabled=self._store.config.actions.enabled,
            replay=self._store.config.replay,
            # It counted when it was begun.
            done_today=0,
            per_day=1,
            undone_by="",
        )
        if not why:
            return self._carry_out(action, now)
        with self._history.write() as connection:
            return self._given_up(connection, action, f"{why}.", now)

    def _carry_out(self, action: Action, now: datetime) -> Action:
        with self._history.write() as connection:  # which only who leads may do
            if action.attempts >= ATTEMPTS:
                return self._given_up(connection, action, action.error or "each monitor that began it has died.", now)
            # Counted before it is tried: what ends the process must not be tried for ever.
            action = ledger.change(connection, action, ActionState.BEGUN, attempts=action.attempts + 1)
        try:
            carry_out(self._store, action)
        except LeadershipLostError:
            raise
        except FeatureStoreError as error:
            return self._failed(action, error.message, now, for_good=isinstance(error, MonitorError))
        except Exception as error:  # noqa: BLE001 - what is unforeseen is told too, and ends no other job
            _log.exception("action failed", action=action.id)
            return self._failed(action, f"an unforeseen {type(error).__name__}, see the monitor's log.", now)
        with self._history.write() as connection:
            action = ledger.change(connection, action, ActionState.DONE, ended_at=now, error="")
            self._tell(connection, action, now, who=self._store.who())
        _log.warning("acted", action=action.id, kind=str(action.kind), target=action.target)
        return action

    def _failed(self, action: Action, error: str, now: datetime, *, for_good: bool = False) -> Action:
        _log.error("action failed", action=action.id, error=error, tried=action.attempts)
        with self._history.write() as connection:
            if for_good or action.attempts >= ATTEMPTS:
                return self._given_up(connection, action, error, now)
            return ledger.change(connection, action, ActionState.BEGUN, error=error)

    def _given_up(self, connection: Connection, action: Action, error: str, now: datetime) -> Action:
        action = ledger.change(connection, action, ActionState.FAILED, error=error, ended_at=now)
        self._tell(connection, action, now)
        return action

    def _tell(
        self,
        connection: Connection,
        action: Action,
        now: datetime,
        *,
        who: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Put what became of an action into the outbox and into its incident's timeline."""
        config = self._store.config
        undone = action.state is ActionState.UNDONE
        announce(
            connection,
            action,
            instance=self._history.instance,
            project=config.project,
            replay=config.replay,
            now=now,
        )
        self._history.note(
            connection,
            "undone" if undone else "action",
            # The timeline has a column for who it was; the reason is only here.
            _undone(action, details or {}) if undone else line(action),
            incident=action.incident_number,
            who=who,
            at=now,
            now=now,
            details={"action": action.number, "state": str(action.state), **(details or {})},
        )


def _undone(action: Action, details: Mapping[str, Any]) -> str:
    reason = details.get("reason")
    return f"{action.summary}; undone as {reason}" if reason else action.summary


def _routes(config: Config, policy: Registered[MonitorPolicy]) -> tuple[str, ...]:
    """Return the channels that hear of a policy's actions; from a rehearsal, those that take its messages."""
    known = (name for name in policy.definition.routes if name in config.channels)
    return tuple(name for name in known if not config.replay or config.channels[name].rehearsals)
