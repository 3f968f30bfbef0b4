"""Apprise, to services on this machine."""

from __future__ import annotations

import base64
import json
import logging
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from featurestore.errors import ConfigError
from featurestore.settings.channels import AppriseConfig
from monitor.alerts.base import Kind, Status
from monitor.alerts.channels.apprise import Apprise
from tests.contract.channel_far_sides.base import finding, message
from tests.contract.channel_far_sides.receiving import Receiver, Reply, receiving

_NOW = datetime(2026, 5, 1, tzinfo=UTC)


def _apprise(url: str, **settings: Any) -> Apprise:
    values = {"kind": "apprise", "service_url": url, "allow_private_addresses": True, "timeout_seconds": 5}
    return Apprise("chat", AppriseConfig.model_validate(values | settings))


def _json(receiver: Receiver, **settings: Any) -> Apprise:
    return _apprise(receiver.url.replace("http://", "json://") + "/path-that-is-secret", **settings)


def test_a_service_gets_a_title_a_text_and_the_picture() -> None:
    with receiving(lambda _: Reply(200)) as receiver:
        assert _json(receiver).deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED
        (request,) = receiver.requests
    sent = json.loads(request.body)
    assert sent["title"] == "Incident 12: source weather_csv"
    assert sent["message"].splitlines()[0].startswith("PAGE 12: f@1, null spike: temp is missing")
    assert "acknowledge  featurestore monitor ack 12" in sent["message"]
    assert sent["type"] == "failure"
    (attachment,) = sent["attachments"]
    assert (attachment["filename"], attachment["mimetype"]) == ("plot.png", "image/png")
    assert base64.b64decode(attachment["base64"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("kind", "changes", "notify_type"),
    [
        (Kind.FIRING, {"severity": "ticket"}, "warning"),
        (Kind.RESOLVED, {}, "success"),
        (Kind.ACKNOWLEDGED, {}, "info"),
        (Kind.TEST, {}, "info"),
    ],
)
def test_a_service_may_colour_it(kind: Kind, changes: dict[str, Any], notify_type: str) -> None:
    with receiving(lambda _: Reply(200)) as receiver:
        _json(receiver).deliver(message(kind, **changes), now=_NOW)
        assert json.loads(receiver.requests[0].body)["type"] == notify_type


@pytest.mark.parametrize("status", [302, 400, 403, 410, 500, 503])
def test_a_service_that_does_not_take_it_is_asked_again(status: int) -> None:
    with receiving(lambda _: Reply(status, {"location": "http://127.0.0.1:1/"})) as receiver:
        outcome = _json(receiver).deliver(message(Kind.FIRING), now=_NOW)
        assert len(receiver.requests) == 1
    assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
    assert outcome.reason == f"JSON (through Apprise) answered {status}"


def test_what_apprise_logs_goes_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    passed_on: list[logging.LogRecord] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            passed_on.append(record)

    kept = Kept(level=logging.INFO)
    logging.getLogger().addHandler(kept)
    try:
        with receiving(lambda _: Reply(500)) as receiver:
            _json(receiver).deliver(message(Kind.FIRING), now=_NOW)
        with pytest.raises(ConfigError):
            _apprise("slack://token-that-is-secret")
    finally:
        logging.getLogger().removeHandler(kept)
    assert passed_on == []
    assert "secret" not in "".join(capsys.readouterr())


def test_a_service_that_dawdles_has_the_time_of_an_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def dawdle() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not ended.wait(0.05):
                    connection.sendall(b"y")

        thread = threading.Thread(target=dawdle)
        thread.start()
        begun = time.monotonic()
        url = f"json://127.0.0.1:{listening.getsockname()[1]}/"
        outcome = _apprise(url, timeout_seconds=0.5).deliver(message(Kind.TEST), now=_NOW)
        took = time.monotonic() - begun
        ended.set()
        thread.join()
    assert (outcome.status, outcome.untaken) == (Status.RETRY, False)
    assert outcome.reason == "JSON (through Apprise) did not answer in 0.5 s"
    assert took < 5


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_address_is_only_for_those_who_are_allowed(host: str) -> None:
    with receiving(lambda _: Reply(200)) as receiver:
        url = receiver.url.replace("http://127.0.0.1", f"json://{host}")
        channel = _apprise(url, allow_private_addresses=False)
        for outcome in (channel.deliver(message(Kind.FIRING), now=_NOW), channel.probe(now=_NOW)):
            assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
            assert "127.0.0.1, not a public address" in outcome.reason or "::1, not a public" in outcome.reason
        assert receiver.requests == []
        # Who is allowed is not held up by one who is not, nor is anything else of the process.
        assert _apprise(url).deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))).close()


def test_a_service_of_short_messages_gets_the_first_line() -> None:
    channel = _apprise("ntfys://topic")
    channel._service.body_maxlen, channel._service.title_maxlen = 160, 0
    sent: list[dict[str, Any]] = []

    def notify(**values: Any) -> bool:
        sent.append(values)
        return True

    channel._service.notify = notify
    storm = message(Kind.FIRING, summary="temp " * 400, features=[finding(f"f{number}") for number in range(10_000)])
    assert channel.deliver(storm, now=_NOW).status is Status.DELIVERED
    assert sent[0]["title"] == ""
    assert len(sent[0]["body"]) <= 160
    assert sent[0]["body"].startswith("PAGE 12: temp temp")


def test_whatever_a_service_raises_is_an_outcome() -> None:
    channel = _apprise("ntfys://topic")

    def notify(**_: Any) -> bool:
        raise RuntimeError("a token: secret")

    channel._service.notify = notify
    outcome = channel.deliver(message(Kind.FIRING), now=_NOW)
    assert outcome.status is Status.RETRY
    assert "secret" not in outcome.reason


def test_what_cannot_be_tried_without_a_message_says_so() -> None:
    outcome = _apprise("ntfys://topic").probe(now=_NOW)
    assert outcome.status is Status.DELIVERED
    assert outcome.reason.endswith("cannot be tried without a message: featurestore monitor check --send")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "has no service_url"),
        ("nope://secret", "none that Apprise knows"),
        ("slack://secret", "none that Apprise knows"),
        ("secret", "none that Apprise knows"),
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        _apprise(url)
    assert "secret" not in str(raised.value)


def test_without_the_extra_the_channel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError) as raised:
        _apprise("ntfys://topic")
    assert raised.value.hint == "pip install 'featurestore[apprise]'"
