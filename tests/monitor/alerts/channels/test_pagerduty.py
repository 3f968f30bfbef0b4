"""PagerDuty: incidents by their deduplication key, and what wakes nobody as change events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from featurestore.errors import ConfigError
from featurestore.settings.channels import PagerDutyConfig
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.channels.pagerduty import PagerDuty
from tests.contract.channel_far_sides.base import finding, message
from tests.contract.channel_far_sides.pagerduty import KEY, service
from tests.contract.channel_far_sides.receiving import Reply

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def _told(section: PagerDutyConfig, *messages: Message) -> list[Outcome]:
    channel = PagerDuty("ops", section)
    return [channel.deliver(one, now=_NOW) for one in messages]


def test_an_incident_is_triggered_acknowledged_and_resolved_under_one_key() -> None:
    with service() as (duty, section):
        states = []
        for kind in (Kind.FIRING, Kind.UPDATED, Kind.ACKNOWLEDGED, Kind.UPDATED, Kind.RESOLVED):
            _told(section, message(kind))
            states.append(duty.states)
            duty.states = dict(duty.states)
        expected = ["triggered", "triggered", "acknowledged", "acknowledged", "resolved"]
        assert states == [{"abc-1": one} for one in expected]


def test_a_trigger_says_what_people_need() -> None:
    with service() as (duty, section):
        _told(section, message(Kind.FIRING))
        (event,) = duty.events
        payload = event["payload"]
        assert payload["summary"].startswith("PAGE 12")
        assert "fix source weather_csv" in payload["summary"]
        assert (payload["severity"], payload["source"]) == ("critical", "featurestore/default/f@1")
        assert (payload["component"], payload["group"], payload["class"]) == (
            "source weather_csv",
            "default",
            "null_spike",
        )
        assert payload["timestamp"] == "2026-05-01T11:59:00Z"
        assert payload["custom_details"]["key"] == "msg_1"
        assert payload["custom_details"]["features"][0]["feature"] == "temp"
        assert event["links"] == [{"href": "https://runbooks.example.com/weather", "text": "Runbook"}]


@pytest.mark.parametrize(("ours", "theirs"), [("page", "critical"), ("ticket", "warning"), ("info", "info")])
def test_severities(ours: str, theirs: str) -> None:
    with service() as (duty, section):
        _told(section, message(Kind.FIRING, severity=ours))
        assert duty.events[0]["payload"]["severity"] == theirs


@pytest.mark.parametrize("kind", [Kind.RETRAINING, Kind.ACTION])
def test_a_signal_and_an_action_are_change_events_and_open_no_alert(kind: Kind) -> None:
    with service() as (duty, section):
        _told(section, message(kind))
        assert duty.states == {}
        assert duty.changes[0]["payload"]["summary"]


def test_a_test_message_is_over_at_once() -> None:
    with service() as (duty, section):
        (outcome,) = _told(section, message(Kind.TEST))
        assert outcome.status is Status.DELIVERED
        assert duty.states == {"msg_1": "resolved"}
        assert duty.events[0]["payload"]["severity"] == "info"


def test_a_payload_over_the_limit_is_fitted() -> None:
    with service() as (duty, section):
        features = [finding(f"feature_{number}" + "x" * 200) for number in range(2_000)]
        (outcome,) = _told(section, message(Kind.FIRING, features=features, summary="long " * 1_000))
        assert outcome.status is Status.DELIVERED
        details = duty.events[0]["payload"]["custom_details"]
        assert len(details["features"]) + details["featuresLeftOut"] == 2_000
        assert len(duty.events[0]["payload"]["summary"]) <= 1_024


def test_a_runbook_that_is_no_address_is_no_link() -> None:
    with service() as (duty, section):
        _told(section, message(Kind.FIRING, runbook="wiki: weather"))
        assert "links" not in duty.events[0]


@pytest.mark.parametrize(
    ("reply", "status", "wait"),
    [
        (Reply(400, body=b'{"errors": ["\'payload.summary\' is missing or blank"]}'), Status.REFUSED, None),
        (Reply(400, body=b'{"errors": ["Invalid routing key"]}'), Status.RETRY, None),
        (Reply(429), Status.RETRY, None),
        (Reply(500, {"retry-after": "9"}), Status.RETRY, 9.0),
        (Reply(413), Status.REFUSED, None),
    ],
)
def test_what_pagerduty_may_answer(reply: Reply, status: Status, wait: float | None) -> None:
    with service() as (duty, section):
        duty.receiver.replies.append(reply)
        (outcome,) = _told(section, message(Kind.FIRING))
        assert (outcome.status, outcome.retry_after) == (status, wait)
        assert KEY not in outcome.reason


def test_a_probe_finds_a_key_that_nobody_knows() -> None:
    with service(routing_key="f" * 32) as (_, section):
        outcome = PagerDuty("ops", section).probe(now=_NOW)
        assert outcome.status is Status.RETRY
        assert "routing_key" in outcome.reason


def test_a_probe_opens_nothing() -> None:
    with service() as (duty, section):
        assert PagerDuty("ops", section).probe(now=_NOW).status is Status.DELIVERED
        assert duty.states == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "routing_key"),
        ({"routing_key": "hunter2"}, "routing_key"),
        ({"routing_key": KEY, "url": "https://events.pagerduty.com/generic/x/create_event.json"}, "/v2/enqueue"),
        ({"routing_key": KEY, "subject_template": "{unknown}"}, "unknown"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        PagerDuty("ops", PagerDutyConfig.model_validate({"kind": "pagerduty"} | settings))
    assert raised.value.hint
    assert "hunter2" not in json.dumps(str(raised.value))
