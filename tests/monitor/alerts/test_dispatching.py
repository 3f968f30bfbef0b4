"""From an alert that fires to what channels are told: incidents, in the database, on both of its kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from featurestore.config import Config
from featurestore.settings.alerts import AlertsConfig
from featurestore.settings.channels import ConsoleConfig
from monitor import schema
from monitor.alerts.about import About
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.dispatching import Dispatched, dispatch
from monitor.alerts.incidents import acknowledged
from monitor.alerts.message import Context, finding_of_facts
from monitor.alerts.outbox import Courier
from monitor.alerts.silences import new_silence
from monitor.alerts.states import Alert, Observation, State, advance, alert_key, unseen
from monitor.alerts.taking import Change, take
from monitor.history import History, Kept, Watch

START = datetime(2026, 5, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass
class Night:
    """A database, a clock, and alerts that fire and end in it."""

    history: History
    config: Config
    now: datetime = START
    alerts: dict[str, tuple[Alert, Watch, str]] = field(default_factory=dict)

    def see(self, rule: str, effect: bool = True, *, service: str = "flight_delay@1", **about: Any) -> Alert:
        """Let a rule see its effect in one more window, or see it gone; a single window ends an alert."""
        key = alert_key("p", self.config.replay, service, f"watch/{rule}")
        watch = Watch(policy="watch", policy_version=1, service=service)
        with self.history.write() as connection:
            before = self.history.alert(connection, key)
            seen = Observation(alarm=effect, effect=effect, onset=self.now - HOUR, span=1)
            after, _ = advance(before, seen, keep_firing_for=1)
            self.keep(connection, before, after, watch, rule, about)
        return after

    def see_nothing(self, rule: str, *, service: str = "flight_delay@1") -> Alert:
        key = alert_key("p", self.config.replay, service, f"watch/{rule}")
        watch = Watch(policy="watch", policy_version=1, service=service)
        with self.history.write() as connection:
            before = self.history.alert(connection, key)
            after, _ = unseen(before, State.NO_DATA, since=self.now)
            self.keep(connection, before, after, watch, rule, {})
        return after

    def keep(
        self, connection: Any, before: Alert, after: Alert, watch: Watch, rule: str, about: dict[str, Any]
    ) -> None:
        values: dict[str, Any] = {
            "project": "p",
            "replay": self.config.replay,
            "policy": "watch",
            "service": watch.service,
            "rule": rule,
            "routes": ("ops",),
        } | about
        told = About(**values)
        context = Context(
            project="p",
            replay=self.config.replay,
            service=watch.service,
            baseline="d@1",
            model=told.model,
            views={},
            severity=told.severity,
        )
        finding = finding_of_facts(context, [f"{rule} was found"], after, rule=rule, decided_at=self.now)
        kept = Kept(finding=finding, about=told.to_dict())
        self.history.save_alert(connection, watch, rule, after, kept, at=self.now, now=self.now)
        change = Change(before=before, after=after, kept=kept, at=self.now, clock=self.now, now=self.now)
        take(self.history, connection, change)

    def wait(self, time: timedelta) -> Dispatched:
        """Let time pass, and tell what is due."""
        self.now += time
        return dispatch(self.history, self.config, now=self.now)

    def said(self) -> list[tuple[str, Kind, dict[str, Any]]]:
        with self.history.read() as connection:
            rows = connection.execute(select(schema.outbox).order_by(schema.outbox.c.id)).all()
        return [(row.channel, Kind(row.kind), json.loads(row.payload)) for row in rows]

    def incident(self, number: int = 1) -> Any:
        with self.history.read() as connection:
            return self.history.incident(connection, number)

    def lines(self, number: int = 1) -> list[str]:
        with self.history.read() as connection:
            return [one.what for one in self.history.timeline(connection, number)]


@pytest.fixture
def night(database: str, tmp_path: Path) -> Iterator[Night]:
    channels = {"ops": ConsoleConfig(), "boss": ConsoleConfig(), "log": ConsoleConfig()}
    with History(database) as history:
        yield Night(history, Config(root=tmp_path, channels=channels))


def test_what_breaks_together_is_told_together_once(night: Night) -> None:
    night.see("null spike", features=("temp",), sources={"temp": ("weather_csv",)})
    night.see("stale_features", features=("wind",), sources={"wind": ("weather_csv",)})
    assert night.wait(MINUTE).messages == 0
    assert night.wait(MINUTE).messages == 1
    ((channel, kind, told),) = night.said()
    assert (channel, kind, told["change"]) == ("ops", Kind.FIRING, "ALERT_CHANGE_FIRED")
    assert told["cause"] == "source weather_csv"
    assert [one["rule"] for one in told["members"]] == ["null spike", "stale_features"]
    assert told["summary"].startswith("source weather_csv: null spike (temp), stale features (wind) in flight_delay@1")
    assert told["summary"].endswith('check source "weather_csv"')
    assert 'source "weather_csv"' in told["suggestedAction"]
    assert (told["name"], told["incident"]) == ("1", night.incident().key)
    # Nothing is new: nothing is written, however often it is asked.
    assert night.wait(MINUTE).incidents == 0


def test_features_of_different_sources_are_incidents_of_their_own(night: Night) -> None:
    night.see("null spike", features=("temp",), sources={"temp": ("weather_csv",)})
    night.see("constant", features=("age",), sources={"age": ("planes_csv",)})
    night.wait(2 * MINUTE)
    assert [told["cause"] for _, _, told in night.said()] == ["source weather_csv", "source planes_csv"]


def test_what_drifts_because_of_a_fault_joins_the_faults_incident_and_pages_nobody(night: Night) -> None:
    night.see("null spike", features=("temp",), sources={"temp": ("weather_csv",)})
    night.wait(2 * MINUTE)
    night.see("drift", features=("temp",), model="ridge@1")
    night.wait(2 * HOUR)
    assert [kind for _, kind, _ in night.said()] == [Kind.FIRING]
    assert [one.rule for one in night.incident().members] == ["null spike", "drift"]
    night.see("drift", features=("wind",), model="ridge@1", service="flight_delay@2")
    night.wait(2 * MINUTE)
    assert night.incident(2).cause == "model ridge@1"


def test_only_who_was_told_hears_that_it_is_over_and_the_next_time_is_another_incident(night: Night) -> None:
    night.see("drift")
    night.wait(2 * MINUTE)
    night.see("drift", effect=False)
    assert night.wait(MINUTE).messages == 1
    (_, _, first), (_, kind, over) = night.said()
    assert (kind, over["state"], over["change"]) == (Kind.RESOLVED, "ALERT_STATE_RESOLVED", "ALERT_CHANGE_RESOLVED")
    assert over["incident"] == first["incident"]
    assert [one["name"] for one in over["commands"]] == ["show"]
    night.see("drift")
    night.wait(2 * MINUTE)
    (_, _, again) = night.said()[-1]
    assert (again["name"], again["incident"] == first["incident"]) == ("2", False)
    assert again["incident"].endswith("-2")
    assert night.lines(1) == ["onset", "fired", "recovered", "resolved"]


def test_what_is_over_before_anyone_was_told_is_told_to_nobody(night: Night) -> None:
    night.see("drift")
    night.wait(MINUTE)
    night.see("drift", effect=False)
    night.wait(HOUR)
    assert night.said() == []
    assert not night.incident().open


def test_who_looks_once_does_not_wait_unless_the_settings_say_so(night: Night) -> None:
    night.see("drift")
    given = night.config.model_copy(update={"alerts": AlertsConfig(group_wait=5 * MINUTE)})
    assert dispatch(night.history, given, now=night.now, wait=False).messages == 0
    assert dispatch(night.history, night.config, now=night.now, wait=False).messages == 1


def test_it_is_repeated_until_somebody_works_on_it(night: Night) -> None:
    night.see("drift")
    night.wait(2 * MINUTE)
    night.wait(24 * HOUR)
    assert night.said()[-1][2]["change"] == "ALERT_CHANGE_REPEATED"
    with night.history.write() as connection:
        taken = acknowledged(night.incident(), by="ada", now=night.now)
        night.history.save_incident(connection, taken)
    night.wait(MINUTE)
    _, kind, told = night.said()[-1]
    assert (kind, told["acknowledgedBy"]) == (Kind.ACKNOWLEDGED, "ada")
    assert "acknowledge" not in [one["name"] for one in told["commands"]]
    count = len(night.said())
    night.wait(72 * HOUR)
    assert len(night.said()) == count


def test_what_nobody_takes_on_goes_to_others(night: Night) -> None:
    night.see("drift", escalate_after=30 * MINUTE, escalate_to=("boss",))
    night.wait(2 * MINUTE)
    night.wait(31 * MINUTE)
    assert [(channel, told["change"]) for channel, _, told in night.said()][-1] == ("boss", "ALERT_CHANGE_ESCALATED")


def test_a_silence_holds_its_tongue_and_what_is_still_wrong_then_is_told_then(night: Night) -> None:
    silence = new_silence(
        ["rule=drift"], starts_at=night.now, expires_at=night.now + HOUR, author="ada", reason="a move"
    )
    with night.history.write() as connection:
        number = night.history.add_silence(connection, silence, now=night.now)
        (kept,) = night.history.silences(connection)
    assert kept == replace(silence, id=number)
    night.see("drift")
    night.wait(50 * MINUTE)
    assert night.said() == []
    night.wait(10 * MINUTE)
    assert [kind for _, kind, _ in night.said()] == [Kind.FIRING]
    with night.history.write() as connection:
        assert not night.history.end_silence(connection, number, by="ada", now=night.now)


def test_an_alert_that_sees_nothing_goes_on_and_says_so(night: Night) -> None:
    night.see("drift")
    night.wait(2 * MINUTE)
    night.see_nothing("drift")
    night.wait(24 * HOUR)
    _, kind, told = night.said()[-1]
    assert (kind, told["state"]) == (Kind.UPDATED, "ALERT_STATE_NO_DATA")
    assert "gets no rows any more" in told["summary"]
    assert "no_data" in night.lines()


def test_a_pass_that_dies_is_done_again_and_says_nothing_twice(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    night.see("drift")
    night.now += 2 * MINUTE
    import monitor.alerts.dispatching as module

    def dies(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "enqueue", dies)
        with pytest.raises(KeyboardInterrupt):
            dispatch(night.history, night.config, now=night.now)
    assert night.said() == []
    assert night.incident().told == ()
    dispatch(night.history, night.config, now=night.now)
    assert len(night.said()) == 1


def test_a_rehearsal_waits_for_nothing_and_repeats_nothing(night: Night) -> None:
    night.config = night.config.model_copy(update={"replay": "july"})
    night.see("drift", replay="july")
    assert night.wait(timedelta(0)).messages == 1
    assert night.said()[0][2]["summary"].startswith("REPLAY july: ")
    assert night.said()[0][2]["commands"][0]["text"] == "featurestore monitor incident 1 --replay july"
    night.wait(240 * HOUR)
    assert len(night.said()) == 1


def test_a_line_of_an_alert_is_one_of_its_incident(night: Night) -> None:
    alert = night.see("drift")
    with night.history.write() as connection:
        night.history.note(
            connection, "signal", "s", alert=alert.key, episode=alert.episode, at=night.now, now=night.now
        )
        night.history.note(connection, "action", "a", incident=1, who="ada", at=night.now, now=night.now)
        night.history.note(connection, "signal", "of an older one", alert=alert.key, episode=7, at=night.now, now=START)
        found = night.history.incident_of(connection, alert.key)
    assert night.lines() == ["onset", "fired", "signal", "action"]
    assert found is not None
    assert (found.number, found.key) == (1, night.incident().key)


def test_a_storm_is_one_message_a_cause_small_enough_for_every_receiver(night: Night) -> None:
    names = tuple(f"feature_{number:05}" for number in range(10_000))
    for service in range(30):
        night.see(
            "null spike",
            service=f"service_{service}@1",
            features=names[service::30],
            sources=dict.fromkeys(names[service::30], ("everything",)),
        )
    assert night.wait(2 * MINUTE).messages == 1
    ((_, _, told),) = night.said()
    assert told["cause"] == "source everything"
    assert len(json.dumps(told)) < 200_000
    assert "and 9,997 more" in told["summary"]
    assert "in 30 services" in told["summary"]


class Silent:
    """A channel whose far side takes nothing."""

    name, rehearsals = "ops", True

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        return Outcome(Status.RETRY, "no connection", untaken=True)

    def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        return Outcome(Status.DELIVERED)

    def close(self) -> None:
        pass


def stands_in(night: Night) -> None:
    """Let five minutes pass in which ``ops`` takes nothing, so that ``boss`` is told as well."""
    with Courier(night.history, {"ops": Silent()}, fallbacks={"ops": "boss"}, clock=lambda: night.now) as courier:
        courier.deliver_due()
        night.now += 5 * MINUTE
        courier.deliver_due()


def test_a_fallback_that_stood_in_hears_the_rest(night: Night) -> None:
    night.see("drift")
    night.wait(2 * MINUTE)
    stands_in(night)
    night.see("performance")
    night.wait(HOUR)
    night.wait(24 * HOUR)
    night.see("drift", effect=False)
    night.see("performance", effect=False)
    night.wait(MINUTE)
    told = [
        (kind, told["change"].removeprefix("ALERT_CHANGE_"))
        for channel, kind, told in night.said()
        if channel == "boss"
    ]
    assert told == [
        (Kind.FIRING, "FIRED"),
        (Kind.UPDATED, "ALERT_ADDED"),
        (Kind.UPDATED, "REPEATED"),
        (Kind.RESOLVED, "RESOLVED"),
    ]
    assert night.incident().settled


def test_what_a_fallback_hears_for_itself_is_not_lost_because_it_stood_in(night: Night) -> None:
    night.see("drift")
    night.wait(2 * MINUTE)
    stands_in(night)
    night.see("performance", routes=("boss",))
    night.wait(HOUR)
    heard = [[one["rule"] for one in told["members"]] for channel, _, told in night.said() if channel == "boss"]
    assert heard == [["drift"], ["drift", "performance"]]


def test_an_escalation_reaches_a_fallback_that_stood_in(night: Night) -> None:
    night.see("drift", escalate_after=30 * MINUTE, escalate_to=("boss",))
    night.wait(2 * MINUTE)
    stands_in(night)
    night.wait(30 * MINUTE)
    changes = [told["change"] for channel, _, told in night.said() if channel == "boss"]
    assert changes == ["ALERT_CHANGE_FIRED", "ALERT_CHANGE_ESCALATED"]


def test_nobody_stands_in_for_what_is_over_though_its_end_is_not_written_yet(night: Night) -> None:
    night.see("drift")
    night.wait(2 * MINUTE)
    night.see("drift", effect=False)
    stands_in(night)
    assert [channel for channel, _, _ in night.said()] == ["ops"]
