"""Whatever alerts, people, receivers and the clock do: the rules hold, and nothing is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from featurestore import RetrainingPolicy
from featurestore.registry.signing import PrivateKey, generate
from monitor.alerts.base import Kind
from monitor.alerts.message import Context
from monitor.alerts.states import Alert, State
from monitor.history import History, Watch
from monitor.retraining import accept, consider, review
from monitor.retraining import store as signals
from monitor.retraining.asking import ask, decide
from monitor.retraining.gates import QUARTER
from monitor.retraining.states import SignalState
from monitor.schema import alert_episodes, outbox

_START = datetime(2026, 5, 1, tzinfo=UTC)
_WATCH = Watch(policy="flight_drift", policy_version=1, service="flight_delay@1")
_DRIFTS = st.sampled_from([f"performance of {one}@1" for one in "abcdef"])
_FAULTS = st.sampled_from(["null spike", "training_serving_skew"])
COOLDOWN, BUDGET, EXPIRES = timedelta(hours=20), 3, timedelta(days=2)


class Life(RuleBasedStateMachine):
    """A service over a year: alerts come and go, people decide or do not, and reviews come at any time."""

    scene: Any
    approval: bool
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.history = History("sqlite://" + "/" + self.url + f"/{id(self)}-{datetime.now(UTC).timestamp()}.db")
        self.now = _START
        self.alerts: dict[str, Alert] = {}
        self.accepted: set[str] = set()
        self.sent_while_broken: list[str] = []
        self.context = Context(
            project="default",
            replay="",
            service="flight_delay@1",
            baseline="delays@1",
            model="",
            views={},
        )
        self.rules = RetrainingPolicy(approval=self.approval, cooldown=COOLDOWN, budget=BUDGET, expires_after=EXPIRES)
        self.scene.apply(retrain=self.rules)
        self.policy = self.scene.policy

    def teardown(self) -> None:
        self.history.close()

    @rule(name=_DRIFTS)
    def does_worse(self, name: str) -> None:
        self._fires(name)

    @rule(name=_FAULTS)
    def breaks(self, name: str) -> None:
        self._fires(name)

    def _fires(self, name: str) -> None:
        before = self.alerts.get(name, Alert(key=name))
        episode = before.episode + (not before.firing)
        self._save(name, replace(before, state=State.FIRING, episode=episode, onset=before.onset or self.now))

    @rule(name=_FAULTS | _FAULTS | _DRIFTS)
    def resolves(self, name: str) -> None:
        before = self.alerts.get(name)
        if before is not None and before.firing:
            self._save(name, replace(before, state=State.RESOLVED))

    @rule(name=_FAULTS)
    def is_accepted(self, name: str) -> None:
        if name in self.alerts and self.alerts[name].firing:
            with self.history.write() as connection:
                accept(connection, name, now=self.now)
            self.alerts[name] = replace(self.alerts[name], state=State.RESOLVED)

    @rule(hours=st.sampled_from([0, 1, 13, 30, 60, 24 * 40]))
    def time_passes_and_it_is_reviewed(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        before = self._approved()
        faults: list[Any] = []
        review(self.scene, self.history, self.policy, now=self.now, faults=faults)
        assert faults == []
        self._check_sent(before)
        # Looked at again at the same moment there is nothing left to do.
        with self.history.read() as connection:
            cursor = signals.latest_cursor(connection)
        assert review(self.scene, self.history, self.policy, now=self.now, faults=faults) == {}
        with self.history.read() as connection:
            assert signals.latest_cursor(connection) == cursor

    @rule(yes=st.booleans())
    def somebody_decides(self, yes: bool) -> None:
        before = self._approved()
        for one in self._listed():
            if one.state is SignalState.PENDING and one.expires_at is not None and one.expires_at > self.now:
                decide(self.scene, self.history, one.id, approve=yes, reason="so", who="ada", now=self.now)
        self._check_sent(before)

    @rule(state=st.sampled_from([SignalState.RUNNING, SignalState.FAILED, SignalState.DONE]))
    def a_receiver_speaks(self, state: SignalState) -> None:
        with self.history.write() as connection:
            for one in self._listed():
                if one.state in (SignalState.APPROVED, SignalState.RUNNING):
                    signals.acknowledge(connection, one.id, state, who="w", now=self.now)

    @rule(reason=st.sampled_from(["fares", "routes"]))
    def somebody_asks(self, reason: str) -> None:
        before = self._approved()
        ask(self.scene, self.history, "flight_delay", reason=reason, who="bob", now=self.now)
        self._check_sent(before)

    @invariant()
    def each_cause_that_stands_is_known_and_what_waits_says_why(self) -> None:
        found = self._listed()
        for name, alert in self.alerts.items():
            if alert.firing and name.startswith("performance"):
                assert any(one.subject == name for one in found)
        assert all(bool(one.held) == (one.state is SignalState.HELD) for one in found)
        assert len({one.id for one in found}) == len(found)

    @invariant()
    def who_was_told_of_one_is_told_where_it_stands_and_of_others_nobody_is(self) -> None:
        with self.history.read() as connection:
            events = signals.signal_events(connection, limit=signals.ALL)
        told = {one.signal: one.state for one in events}
        for one in self._listed():
            if one.state is not SignalState.HELD:
                assert told.get(one.id, SignalState.LAPSED) is one.state
            elif one.id in told:
                assert one.approved_by, "it waits, although somebody was asked and agreed to nothing"

    @invariant()
    def by_itself_it_keeps_to_cooldown_and_budget(self) -> None:
        cause = {one.id: one.cause for one in self._listed()}
        with self.history.read() as connection:
            events = signals.signal_events(connection, limit=signals.ALL)
        went: dict[str, datetime] = {}
        for one in events:
            if one.state not in (SignalState.PENDING, SignalState.APPROVED):
                continue
            if one.signal not in went and cause[one.signal] != "request":
                recent = [at for at in went.values() if one.at - at < QUARTER]
                assert len(recent) < BUDGET
                assert all(one.at - at >= COOLDOWN for at in recent)
            went[one.signal] = one.at

    @invariant()
    def each_is_told_once_in_each_state_and_approved_by_somebody_where_that_is_asked(self) -> None:
        with self.history.read() as connection:
            rows = connection.execute(select(outbox.c.payload).where(outbox.c.kind == Kind.RETRAINING)).scalars()
            told = [(one["id"], one["state"]) for one in map(json.loads, rows)]
        assert len(set(told)) == len(told)
        for one in self._listed():
            if (one.id, "SIGNAL_STATE_APPROVED") in told and self.approval:
                assert one.approved_by == "ada"

    def _save(self, name: str, alert: Alert) -> None:
        self.alerts[name] = alert
        with self.history.write() as connection:
            for _ in range(2):  # said twice it is said once
                consider(
                    connection,
                    _WATCH,
                    self.context,
                    name,
                    alert,
                    retrain=self.rules,
                    sentences=("it does worse",),
                    at=self.now,
                    now=self.now,
                )

    def _listed(self) -> list[signals.StoredSignal]:
        with self.history.read() as connection:
            return signals.list_signals(connection)

    def _approved(self) -> set[str]:
        with self.history.read() as connection:
            events = signals.signal_events(connection, limit=signals.ALL)
        return {one.signal for one in events if one.state is SignalState.APPROVED}

    def _check_sent(self, before: set[str]) -> None:
        """Nothing is sent while something is broken, and nothing whose cause is gone."""
        new = self._approved() - before
        if not new:
            return
        with self.history.read() as connection:
            rows = connection.execute(select(alert_episodes).where(alert_episodes.c.fault == 1)).all()
        assert [one.alert for one in rows if one.ended_at is None] == []
        assert not any(alert.firing for name, alert in self.alerts.items() if not name.startswith("performance"))


@pytest.mark.parametrize("approval", [False, True])
def test_whatever_happens_the_rules_hold(scene: Any, tmp_path: Any, approval: bool) -> None:
    scene.train()
    for name in ("ada", "bob"):
        scene.registry.add_identity(name, PrivateKey(generate(), name).public, who="ada" if name == "bob" else "tests")
    Life.scene, Life.approval, Life.url = scene, approval, str(tmp_path)
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
