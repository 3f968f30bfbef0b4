"""Webhooks, against a real receiver and an independent check of the signature."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from featurestore.errors import ConfigError
from featurestore.settings.channels import WebhookConfig
from monitor.alerts.base import Kind, Message, Status
from monitor.alerts.channels.webhook import Webhook

_MESSAGE = Message(
    key="msg_0123",
    kind=Kind.FIRING,
    project="default",
    service="flight_delay@1",
    incident="abc",
    created_at=datetime(2026, 5, 1, 12, 30, tzinfo=UTC),
    payload={"incident": "abc", "summary": "wärmer"},
)


def _now() -> datetime:
    return datetime.now(UTC)


def _webhook(url: str, secret: str, **settings: Any) -> Webhook:
    values = {"kind": "webhook", "url": url, "secret": secret, "allow_private_addresses": True} | settings
    return Webhook("ops", WebhookConfig.model_validate(values))


def test_standardwebhooks_verifies_the_signature_and_the_body_is_a_cloud_event(receiver: Any, secret: str) -> None:
    hook = _webhook(receiver.url, secret)
    assert hook.deliver(_MESSAGE, now=_now()).status is Status.DELIVERED
    hook.close()
    headers, body = receiver.requests[0]
    Verifier(secret).verify(body, headers)
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["host"] in receiver.url
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "msg_0123",
        "source": "/featurestore/default/flight_delay@1",
        "type": "featurestore.v1.alert.firing",
        "subject": "abc",
        "time": "2026-05-01T12:30:00Z",
        "datacontenttype": "application/json",
        "data": {"incident": "abc", "summary": "wärmer"},
    }


def test_another_secret_does_not_verify(receiver: Any, secret: str) -> None:
    hook = _webhook(receiver.url, "whsec_YW5vdGhlcg==")
    hook.deliver(_MESSAGE, now=_now())
    hook.close()
    headers, body = receiver.requests[0]
    with pytest.raises(Exception, match="No matching signature"):
        Verifier(secret).verify(body, headers)


@pytest.mark.parametrize(
    ("status", "headers", "expected", "wait"),
    [
        (500, {}, Status.RETRY, None),
        (429, {"Retry-After": "120"}, Status.RETRY, 120.0),
        (503, {"Retry-After": "Fri, 01 May 2026 12:02:00 GMT"}, Status.RETRY, 120.0),
        (503, {"Retry-After": "soon"}, Status.RETRY, None),
        (400, {}, Status.RETRY, None),
        (413, {}, Status.REFUSED, None),
        (302, {"Location": "http://127.0.0.1:1/"}, Status.RETRY, None),
        (410, {}, Status.GONE, None),
    ],
)
def test_answers_other_than_success(
    receiver: Any, secret: str, status: int, headers: dict[str, str], expected: Status, wait: float | None
) -> None:
    receiver.answers.append((status, headers))
    hook = _webhook(receiver.url, secret)
    outcome = hook.deliver(_MESSAGE, now=datetime(2026, 5, 1, 12, 0, tzinfo=UTC))
    hook.close()
    assert (outcome.status, outcome.retry_after) == (expected, wait)
    assert str(status) in outcome.reason
    assert len(receiver.requests) == 1


def test_a_receiver_that_does_not_answer_in_time_is_tried_again(receiver: Any, secret: str) -> None:
    receiver.delay = 1.0
    hook = _webhook(receiver.url, secret, timeout_seconds=0.1)
    before = _now()
    outcome = hook.deliver(_MESSAGE, now=before)
    assert _now() - before < timedelta(seconds=1)
    hook.close()
    # It may have taken the message all the same.
    assert (outcome.status, outcome.untaken) == (Status.RETRY, False)
    assert "did not answer in 0.1 s" in outcome.reason


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_private_address_is_not_called_unless_allowed(receiver: Any, secret: str, host: str) -> None:
    hook = _webhook(receiver.url.replace("127.0.0.1", host), secret, allow_private_addresses=False)
    outcome = hook.deliver(_MESSAGE, now=_now())
    hook.close()
    assert outcome.status is Status.RETRY
    assert "allow_private_addresses" in outcome.reason
    assert receiver.requests == []


def test_a_name_that_cannot_be_resolved_is_tried_again(secret: str) -> None:
    hook = _webhook("https://nowhere.invalid/hook", secret)
    outcome = hook.deliver(_MESSAGE, now=_now())
    hook.close()
    assert outcome.status is Status.RETRY
    assert "nowhere.invalid" in outcome.reason


def test_no_secret_stands_in_an_outcome_or_an_error(receiver: Any, secret: str) -> None:
    receiver.answers.append((500, {}))
    url = receiver.url.replace("http://", "http://user:hunter2@") + "?token=hunter2"
    hook = _webhook(url, secret)
    reasons = [hook.deliver(_MESSAGE, now=_now()).reason]
    hook.close()
    for bad in ("hunter2", "whsec_hunter2!"):
        with pytest.raises(ConfigError) as raised:
            _webhook(receiver.url, bad)
        reasons.append(str(raised.value))
    assert "hunter2" not in " ".join(reasons)
    assert "hook" not in reasons[0]


@pytest.mark.parametrize("url", ["", "ops.example.com/hook", "ftp://ops.example.com", "http://", "http://[::1"])
def test_a_url_that_is_none_of_http_is_refused(url: str, secret: str) -> None:
    with pytest.raises(ConfigError, match='channel "ops"'):
        _webhook(url, secret)


def test_a_missing_secret_is_refused_with_a_way_to_make_one() -> None:
    with pytest.raises(ConfigError, match="no secret") as raised:
        _webhook("https://ops.example.com", "")
    assert "token_bytes" in raised.value.hint
