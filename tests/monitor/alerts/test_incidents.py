"""Who is told what of an incident, rule by rule; test_incidents_model.py has them all together."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from featurestore.errors import MonitorError
from featurestore.settings.alerts import AlertsConfig
from monitor.alerts.base import Kind
from monitor.alerts.calendars import Calendar
from monitor.alerts.grouping import Faults, Group
from monitor.alerts.incident_state import Incident, Member, most_urgent
from monitor.alerts.incidents import acknowledged, followed, joined, opened
from monitor.alerts.notices import Around, Change, Timers, due, hushed, quiet
from monitor.alerts.silences import Silence, new_silence
from monitor.alerts.states import Alert, State

_START = datetime(2013, 7, 1, 12, tzinfo=UTC)
_GROUP = Group(key="0123", cause="model flight_delay_ridge@1")
_NIGHTS = Calendar(
    name="nights", days=tuple(range(7)), spans=((20 * 60, 30 * 60),), timezone="UTC", severities=("ticket", "info")
)


def after(minutes: float) -> datetime:
    return _START + timedelta(minutes=minutes)


def test_a_clock_that_is_set_back_keeps_no_news_from_anyone() -> None:
    ahead = 60 * 24 * 3650
    made, said_first = due(
        joined(opened(_GROUP, episode=1, now=after(ahead)), member(at=ahead)), Around(), now=after(ahead + 3)
    )
    assert len(said_first) == 1
    back, nothing = due(made, Around(), now=after(0))  # ten years
    assert nothing == ()
    back = joined(back, member("b", at=1))
    assert due(back, Around(), now=after(59))[1] == ()
    ((_, notices),) = [due(back, Around(), now=after(60))]
    assert [one.change for one in notices] == [Change.ALERT_ADDED]


def member(alert: str = "a", *, at: float = 0, episode: int = 1, severity: str = "page", **about: object) -> Member:
    values: dict[str, object] = {"policy": "flights", "service": "flight_delay@1", "rule": "drift", "routes": ("ops",)}
    return Member(alert=alert, episode=episode, joined_at=after(at), severity=severity, **(values | about))  # type: ignore[arg-type]


def incident(*members: Member, number: int = 12) -> Incident:
    made = replace(opened(_GROUP, episode=1, now=_START), number=number)
    for one in members:
        made = joined(made, one)
    return made


def gone(made: Incident, alert: str = "a", *, at: float, episode: int = 1) -> Incident:
    return followed(made, Alert(key=alert, state=State.RESOLVED, episode=episode), now=after(at))


def silence(*texts: str, since: float = 0, until: float) -> Silence:
    return new_silence(texts, starts_at=after(since), expires_at=after(until), author="ann", reason="a test")


def said(
    made: Incident, *minutes: float, around: Around | None = None
) -> tuple[Incident, list[tuple[float, str, str]]]:
    """Return an incident after some ticks, and what was said at each: minute, channel, change."""
    found = []
    for one in minutes:
        made, notices = due(made, around or Around(), now=after(one))
        found += [(one, notice.channel, str(notice.change)) for notice in notices]
    return made, found


def test_it_is_told_when_the_wait_is_over_and_again_after_a_day() -> None:
    _, found = said(incident(member()), 0, 1.9, 2, 3, 60, 1441, 1442, 1443)
    assert found == [(2, "ops", "fired"), (1442, "ops", "repeated")]


def test_what_breaks_within_the_wait_is_one_message() -> None:
    made, (notice,) = due(incident(member(), member("b", at=1)), Around(), now=after(2))
    assert [one.alert for one in notice.members] == ["a", "b"] == [one.alert for one in notice.fresh]
    assert (notice.kind, notice.sequence, notice.severity) == (Kind.FIRING, "1", "page")
    assert due(made, Around(), now=after(2)) == (made, ())


def test_what_is_over_within_the_wait_is_told_to_nobody() -> None:
    made = gone(incident(member()), at=1)
    assert made.settled
    assert said(made, 1, 2, 3000)[1] == []


def test_who_was_told_hears_that_it_is_over_and_nobody_else() -> None:
    made, found = said(incident(member()), 2)
    made = joined(made, member("b", at=3, routes=("mail",)))
    made = gone(gone(made, at=4), "b", at=4)
    assert made.resolved_at == after(4)
    assert not made.settled
    made, rest = said(made, 4, 5, 6000)
    assert found + rest == [(2, "ops", "fired"), (4, "ops", "resolved")]
    assert made.settled


def test_one_alert_that_ends_is_no_news_while_another_fires() -> None:
    made, _ = said(incident(member(), member("b")), 2)
    made, found = said(gone(made, at=3), 3, 70)
    assert found == []
    assert made.open


def test_a_new_alert_waits_for_the_interval() -> None:
    made, _ = said(incident(member()), 2)
    made = joined(made, member("b", at=5))
    made, notices = due(made, Around(), now=after(61.9))
    assert notices == ()
    made, (notice,) = due(made, Around(), now=after(62))
    assert (notice.kind, notice.change, notice.sequence) == (Kind.UPDATED, Change.ALERT_ADDED, "2")
    assert [one.alert for one in notice.fresh] == ["b"]
    assert [one.alert for one in notice.members] == ["a", "b"]


def test_a_more_urgent_one_waits_for_no_interval() -> None:
    made, _ = said(incident(member(severity="ticket")), 2)
    made = joined(made, member("b", at=5, severity="page"))
    made, found = said(made, 6, 7, 8)
    assert found == [(7, "ops", "alert_added")]
    # Once: the channel knows of a page by now.
    assert said(joined(made, member("c", at=8)), 10, 66)[1] == []


def test_an_alert_that_fires_again_in_an_open_incident_is_told_again() -> None:
    made, _ = said(incident(member(), member("b")), 2)
    made = joined(gone(made, at=10), member(at=90, episode=2))
    assert [one.id for one in made.members] == ["b/1", "a/2"]
    assert said(made, 91, 92)[1] == [(92, "ops", "alert_added")]


def test_what_a_channel_was_told_of_is_not_new_when_it_is_heard_again() -> None:
    around = Around(silences=(silence("policy=other", since=3, until=70),))
    made, _ = said(incident(member(policy="other"), member("b")), 2)
    made = joined(made, member("c", at=5))
    assert said(made, 62, 70, 130, around=around)[1] == [(62, "ops", "alert_added")]


def test_a_channel_that_was_told_of_a_page_has_heard_of_the_worst() -> None:
    made, _ = said(incident(member(), member("b", severity="ticket")), 2)
    made, _ = said(joined(gone(made, at=3), member("c", at=4, severity="ticket")), 62)
    assert said(joined(made, member("d", at=70)), 72, 122)[1] == [(122, "ops", "alert_added")]


def test_a_page_that_others_hear_of_is_none_that_a_channel_was_told_of() -> None:
    made, _ = said(incident(member(), member("b", severity="ticket", routes=("mail",))), 2)
    assert said(joined(made, member("c", at=5, routes=("mail",))), 7)[1] == [(7, "mail", "alert_added")]


def test_the_end_is_told_whatever_episode_an_alert_ended_in() -> None:
    made, _ = said(incident(member(), member("b", routes=())), 2)
    made = gone(joined(gone(made, at=3), member(at=4, episode=2)), at=5, episode=2)
    assert said(gone(made, "b", at=6), 6)[1] == [(6, "ops", "resolved")]


def test_channels_hear_of_what_routes_to_them() -> None:
    made = incident(member(), member("b", routes=("mail", "ops"), severity="ticket"))
    made, notices = due(made, Around(), now=after(2))
    assert [(one.channel, [each.alert for each in one.fresh]) for one in notices] == [
        ("ops", ["a", "b"]),
        ("mail", ["b"]),
    ]
    # All of the incident is shown, and what routes to others only is no reason to write.
    assert [each.alert for each in notices[1].members] == ["a", "b"]
    assert said(joined(made, member("c", at=3)), 62)[1] == [(62, "ops", "alert_added")]


def test_an_alert_that_routes_nowhere_is_told_to_nobody() -> None:
    made, found = said(incident(member(routes=())), 2, 5000)
    assert found == []
    assert gone(made, at=5000).settled


def test_an_acknowledgement_is_told_and_ends_repetition_and_escalation() -> None:
    made, _ = said(incident(member(escalate_after=timedelta(minutes=30), escalate_to=("lead",))), 2)
    made = acknowledged(made, by="ann", now=after(10))
    made, found = said(made, 10, 11, 32, 5000)
    assert found == [(10, "ops", "acknowledged")]
    assert said(gone(made, at=5001), 5001)[1] == [(5001, "ops", "resolved")]


def test_an_alert_that_comes_after_an_acknowledgement_is_told_and_escalates() -> None:
    escalating = {"escalate_after": timedelta(minutes=30), "escalate_to": ("lead",)}
    made, _ = said(incident(member(**escalating)), 2)
    made, _ = said(acknowledged(made, by="ann", now=after(3)), 3)
    made = joined(made, member("b", at=5, **escalating))
    made, found = said(made, 5, 62, 91, 92, 1502)
    assert found == [(62, "ops", "alert_added"), (92, "lead", "escalated"), (1502, "ops", "repeated")]


def test_an_acknowledgement_tells_nobody_of_an_alert() -> None:
    made, _ = said(incident(member()), 2)
    made = acknowledged(joined(made, member("b", at=3)), by="ann", now=after(3))
    made, found = said(made, 3, 62)
    assert found == [(3, "ops", "acknowledged"), (62, "ops", "alert_added")]
    assert [one.told_at for one in made.members] == [after(2), after(62)]


def test_an_acknowledgement_ends_with_the_episode_of_the_alert() -> None:
    made, _ = said(incident(member(), member("b")), 2)
    made = gone(acknowledged(made, by="ann", now=after(3)), at=4)
    made = joined(made, member(at=100, episode=2))
    assert [(one.id, one.acknowledged) for one in made.members] == [("b/1", True), ("a/2", False)]


def test_what_was_acknowledged_before_it_was_told_is_told_as_that() -> None:
    made = acknowledged(incident(member()), by="ann", now=after(1))
    made, notices = due(made, Around(), now=after(2))
    assert [(one.kind, one.sequence) for one in notices] == [(Kind.FIRING, "1"), (Kind.ACKNOWLEDGED, "2")]


def test_who_hears_first_of_what_nobody_works_on_does_not_hear_that_somebody_does() -> None:
    made, _ = said(incident(member()), 2)
    made, _ = said(acknowledged(made, by="ann", now=after(3)), 3)
    made = joined(made, member("b", at=4, routes=("mail",)))
    assert said(made, 6, 7)[1] == [(6, "mail", "fired")]


def test_nobody_acknowledges_what_is_over() -> None:
    with pytest.raises(MonitorError, match="Incident 12 is over since 2013-07-01 12:01"):
        acknowledged(gone(incident(member()), at=1), by="ann", now=after(2))


def test_what_nobody_acknowledges_goes_to_the_channels_of_escalation_once() -> None:
    made = incident(member(escalate_after=timedelta(minutes=15), escalate_to=("lead", "ops")))
    made, found = said(made, 2, 16.9, 17, 18, 300)
    assert found == [(2, "ops", "fired"), (17, "ops", "escalated"), (17, "lead", "escalated")]
    made, (first, second) = due(made, Around(), now=after(1457))
    assert {first.change, second.change} == {Change.REPEATED}
    assert said(gone(made, at=1500), 1500)[1] == [(1500, "ops", "resolved"), (1500, "lead", "resolved")]


def test_a_message_of_something_else_puts_no_escalation_off() -> None:
    made, _ = said(incident(member(escalate_after=timedelta(minutes=90), escalate_to=("lead",))), 2)
    made = joined(made, member("b", at=5))
    assert said(made, 62, 91.9, 92)[1] == [(62, "ops", "alert_added"), (92, "lead", "escalated")]


def test_an_escalation_is_the_first_message_of_a_channel_that_was_not_told() -> None:
    made, _ = said(incident(member(escalate_after=timedelta(minutes=15), escalate_to=("lead", "ops"))), 2)
    _, notices = due(made, Around(), now=after(17))
    assert [(one.channel, one.kind, one.sequence) for one in notices] == [
        ("ops", Kind.UPDATED, "2"),
        ("lead", Kind.FIRING, "1"),
    ]


def test_a_silenced_incident_sends_nothing_and_says_afterwards_what_is_still_so() -> None:
    around = Around(silences=(silence("rule=drift", until=100),))
    assert said(incident(member()), 2, 50, 99.9, 100, around=around)[1] == [(100, "ops", "fired")]


def test_what_ended_under_a_silence_is_told_at_its_end_where_it_began() -> None:
    around = Around(silences=(silence("incident=12", since=10, until=100),))
    made, _ = said(incident(member()), 2)
    made, found = said(gone(made, at=20), 20, 99, 100, 101, around=around)
    assert found == [(100, "ops", "resolved")]
    assert made.settled


def test_neither_an_acknowledgement_nor_an_escalation_passes_a_silence() -> None:
    around = Around(silences=(silence("policy=flights", since=10, until=100),))
    made, _ = said(incident(member(escalate_after=timedelta(minutes=30), escalate_to=("lead",))), 2)
    assert said(made, 50, around=around)[1] == []
    acked = acknowledged(made, by="ann", now=after(20))
    assert said(acked, 20, 99, 100, around=around)[1] == [(100, "ops", "acknowledged")]
    assert said(made, 99, 100, around=around)[1] == [(100, "lead", "escalated")]


def test_a_silence_of_one_alert_leaves_the_others() -> None:
    around = Around(silences=(silence("slice=carrier=AA", until=100),))
    made, (notice,) = due(incident(member(slice="carrier=AA"), member("b")), around, now=after(2))
    assert [one.alert for one in notice.members] == ["b"]
    assert said(made, 62, 100, around=around)[1] == [(100, "ops", "alert_added")]


def test_a_calendar_mutes_what_is_not_urgent_until_it_ends() -> None:
    around = Around(calendars=(_NIGHTS,))
    night, morning = 9 * 60, 18 * 60  # 21:00, 06:00
    ticket = incident(member(at=night, severity="ticket"))
    assert said(ticket, night + 2, morning - 1, morning, around=around)[1] == [(morning, "ops", "fired")]
    assert said(gone(ticket, at=night + 300), morning, around=around)[1] == []
    assert said(joined(ticket, member("b", at=night + 5)), night + 7, around=around)[1] == [(night + 7, "ops", "fired")]


def test_a_fault_mutes_the_drift_of_its_features_until_it_ends() -> None:
    fault = replace(incident(member("f", rule="null spike", features=("temp",))), group="4567")
    drift = incident(member(features=("temp",)), number=13)
    around = Around(faults=Faults([fault, drift]))
    assert said(drift, 2, 100, around=around)[1] == []
    assert quiet(drift, drift.members[0], around, now=after(2)) == "null spike"


def test_a_drift_that_outlasts_its_fault_is_told_and_one_that_does_not_is_not() -> None:
    fault = replace(incident(member("f", rule="null spike", features=("temp",))), group="4567")
    drift = incident(member(features=("temp",)), number=13)
    drift, _ = said(drift, 2, around=Around(faults=Faults([fault, drift])))
    drift, found = said(drift, 101, 200)  # the fault is over
    assert found == []
    assert quiet(drift, drift.members[0], Around(), now=after(200)) == "a fault that is over, until 2013-07-02 13:41"
    drift = joined(drift, member(at=250, features=("temp",), summary="less"))
    assert said(drift, 250, 300)[1] == []
    assert said(gone(drift, at=300), 300, 5000)[1] == []
    # Another fault meanwhile: it settles after that one.
    again, _ = said(drift, 300, around=Around(faults=Faults([fault, drift])))
    assert said(again, 400, 1839, 1840)[1] == [(1840, "ops", "fired")]
    assert said(drift, 1540, 1541, 1600)[1] == [(1541, "ops", "fired")]


def test_a_drift_of_more_than_the_fault_explains_is_told_at_once() -> None:
    fault = replace(incident(member("f", rule="null spike", features=("temp",))), group="4567")
    drift = incident(member(features=("temp",)), number=13)
    around = Around(faults=Faults([fault, drift]))
    drift, _ = said(drift, 2, around=around)
    wider = joined(drift, member(at=50, features=("dewp", "temp")))
    assert said(wider, 50, around=around)[1] == [(50, "ops", "fired")]
    drift, found = said(drift, 101)  # the fault is over
    assert found == []
    assert said(joined(drift, member(at=110, features=("dewp",))), 110)[1] == [(110, "ops", "fired")]


def test_a_drift_that_was_told_before_its_fault_was_seen_is_resolved_and_not_repeated() -> None:
    drift, _ = said(incident(member(features=("temp",))), 2)
    fault = incident(member("f", at=5, rule="null spike", features=("temp",)), number=13)
    around = Around(faults=Faults([fault, drift]))
    drift, found = said(drift, 1500, around=around)
    assert found == []
    assert said(gone(drift, at=1501), 1501, around=around)[1] == [(1501, "ops", "resolved")]


def test_why_nothing_is_said_can_be_asked() -> None:
    made = incident(member(severity="ticket"))
    around = Around(silences=(replace(silence("rule=drift", until=600), id=3),), calendars=(_NIGHTS,))
    assert hushed(made, made.members[0], around, now=after(1)) == "silence 3"
    assert hushed(made, made.members[0], around, now=after(600)) == "calendar nights"
    assert quiet(made, made.members[0], Around(), now=after(1)) == ""


def test_what_becomes_known_of_an_alert_leaves_what_was_told_and_done() -> None:
    made, _ = said(incident(member()), 2)
    made = joined(acknowledged(made, by="ann", now=after(3)), member(at=50, summary="worse", state=State.NO_DATA))
    (one,) = made.members
    assert (one.joined_at, one.told_at, one.acknowledged) == (_START, after(2), True)
    assert (one.summary, one.state) == ("worse", State.NO_DATA)


def test_an_alert_without_data_goes_on() -> None:
    made, _ = said(incident(member()), 2)
    made = followed(made, Alert(key="a", state=State.NO_DATA, before=State.FIRING, episode=1), now=after(5))
    assert made.open
    assert made.members[0].state is State.NO_DATA


def test_another_episode_of_an_alert_is_not_this_one() -> None:
    made = incident(member(episode=2))
    assert gone(made, at=5, episode=1) == made


def test_what_is_over_takes_no_alert() -> None:
    with pytest.raises(ValueError, match="is over"):
        joined(gone(incident(member()), at=1), member("b", at=2))


def test_keys_and_severities() -> None:
    made = incident(member(severity="ticket"), member("b", severity="page"))
    assert (made.key, made.name, made.severity) == ("0123-1", "12", "page")
    assert gone(made, "b", at=1).severity == "ticket"
    assert gone(gone(made, "b", at=1), at=2).severity == "page"
    assert most_urgent([]) == "info"


def test_it_is_kept_as_json() -> None:
    made, _ = said(
        acknowledged(incident(member(escalate_after=timedelta(minutes=7.5), onset=_START)), by="ann", now=after(1)), 2
    )
    assert Incident.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    with pytest.raises(ValueError, match="group"):
        Incident.from_dict({})


def test_timers_come_of_the_settings() -> None:
    assert Timers.of(AlertsConfig()) == Timers()
    assert Timers.of(AlertsConfig(group_wait=timedelta(0))).group_wait == timedelta(0)


def test_thousands_of_alerts_are_one_message_a_channel() -> None:
    many = tuple(member(f"a{n}", features=(f"f{n}",)) for n in range(10_000))
    around = Around(silences=(silence("feature=f1", until=100),))
    made, notices = due(replace(incident(), members=many), around, now=after(2))
    assert [len(one.fresh) for one in notices] == [9_999]
    made, notices = due(made, around, now=after(100))
    assert [[each.alert for each in one.fresh] for one in notices] == [["a1"]]
    assert due(made, around, now=after(101)) == (made, ())
