"""Alertmanager: what is sent, and what a real one of Debian's package makes of it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore.errors import ConfigError
from featurestore.settings.channels import AlertmanagerConfig
from monitor.alerts.base import Kind, Message, Status
from monitor.alerts.channels.alertmanager import Alertmanager
from tests.contract.channel_far_sides.alertmanager import recorder
from tests.contract.channel_far_sides.base import message
from tests.contract.channel_far_sides.receiving import Receiver, Reply, receiving

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
#: It tells its receiver of a group at once, and of changes of a group as fast as it can.
_SETTINGS = """
route:
  receiver: people
  group_by: ["incident"]
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: people
    webhook_configs:
      - url: {url}
        send_resolved: true
"""


@dataclass(frozen=True)
class Real:
    """An Alertmanager that runs, and what it tells people."""

    url: str
    people: Receiver

    def firing(self) -> list[dict[str, Any]]:
        """Return the alerts that it has."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=10) as answer:
            found: list[dict[str, Any]] = json.loads(answer.read())
        return found

    def told(self) -> list[tuple[str, str]]:
        """Return (status, severity) of every alert of every notification, in order."""
        sent = [json.loads(one.body) for one in self.people.requests]
        return [(alert["status"], alert["labels"]["severity"]) for one in sent for alert in one["alerts"]]

    def channel(self, **settings: Any) -> Alertmanager:
        values = {"kind": "alertmanager", "url": self.url, "allow_private_addresses": True}
        return Alertmanager("ops", AlertmanagerConfig.model_validate(values | settings))


@pytest.fixture(scope="module")
def real(program: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    binary = program("prometheus-alertmanager", "prometheus-alertmanager")
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    with receiving(lambda _: Reply(200)) as people, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        (folder / "alertmanager.yml").write_text(_SETTINGS.format(url=people.url))
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            found = Real(f"http://127.0.0.1:{port}", people)
            _until(lambda: _answers(found.url))
            yield found
        finally:
            process.terminate()
            process.communicate(timeout=30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def _real_message(kind: Kind, incident: str, **changes: Any) -> Message:
    """Return a message of the present: a real Alertmanager has the real clock."""
    now = datetime.now(UTC)
    made = message(kind, onset=(now - timedelta(hours=1)).isoformat(), **changes)
    return Message(**{**vars(made), "incident": incident, "created_at": now})


def test_a_real_one_has_the_alert_and_tells_people_of_its_beginning_and_its_end(real: Real) -> None:
    channel, seen = real.channel(), len(real.told())
    now = datetime.now(UTC)
    first = channel.deliver(_real_message(Kind.FIRING, "story-1"), now=now)
    assert first.status is Status.DELIVERED
    (alert,) = [one for one in real.firing() if one["labels"]["incident"] == "story-1"]
    assert alert["labels"] | {"replay": ""} == {
        "alertname": "FeatureStoreIncident",
        "project": "default",
        "service": "f@1",
        "incident": "story-1",
        "number": "12",
        "rule": "null_spike",
        "cause": "source weather_csv",
        "severity": "page",
        "replay": "",
    }
    assert alert["annotations"]["summary"].startswith("PAGE 12")
    assert alert["annotations"]["runbook_url"] == "https://runbooks.example.com/weather"
    ends = datetime.fromisoformat(alert["endsAt"]) - now
    assert abs(ends - timedelta(days=2)) < timedelta(minutes=1)
    _until(lambda: real.told()[seen:] == [("firing", "page")])
    # Sent again, and with another summary: the same alert, of which nobody hears twice.
    channel.deliver(_real_message(Kind.UPDATED, "story-1", summary="more", thread=first.reference), now=now)
    time.sleep(1.5)
    assert real.told()[seen:] == [("firing", "page")]
    over = channel.deliver(_real_message(Kind.RESOLVED, "story-1", thread=first.reference), now=datetime.now(UTC))
    assert over.status is Status.DELIVERED
    _until(lambda: real.told()[seen:] == [("firing", "page"), ("resolved", "page")])
    assert [one for one in real.firing() if one["labels"]["incident"] == "story-1"] == []


def test_an_incident_that_grows_keeps_its_labels_and_calls_by_its_new_severity(real: Real) -> None:
    channel, seen = real.channel(), len(real.told())
    now = datetime.now(UTC)
    first = channel.deliver(_real_message(Kind.FIRING, "grows-1", severity="ticket"), now=now)
    grown = _real_message(Kind.UPDATED, "grows-1", rule="drift", cause="", thread=first.reference)
    second = channel.deliver(grown, now=datetime.now(UTC))
    (alert,) = [one for one in real.firing() if one["labels"]["incident"] == "grows-1"]
    assert (alert["labels"]["severity"], alert["labels"]["rule"]) == ("page", "null_spike")
    _until(lambda: {("resolved", "ticket"), ("firing", "page")} <= set(real.told()[seen:]))
    over = _real_message(Kind.RESOLVED, "grows-1", thread=first.reference, latest=second.reference)
    channel.deliver(over, now=datetime.now(UTC))
    _until(lambda: ("resolved", "page") in real.told()[seen:])
    assert [one for one in real.firing() if one["labels"]["incident"] == "grows-1"] == []


def test_a_severity_that_comes_and_goes_leaves_no_alert_behind(real: Real) -> None:
    channel, first, last = real.channel(), "", ""
    for kind, severity in (
        (Kind.FIRING, "info"),
        (Kind.UPDATED, "ticket"),
        (Kind.UPDATED, "page"),
        (Kind.UPDATED, "info"),
        (Kind.RESOLVED, "page"),
    ):
        said = _real_message(kind, "varies-1", severity=severity, thread=first, latest=last)
        last = channel.deliver(said, now=datetime.now(UTC)).reference
        first = first or last
        stands = [one["labels"]["severity"] for one in real.firing() if one["labels"]["incident"] == "varies-1"]
        assert stands == ([] if kind is Kind.RESOLVED else [severity])


def test_an_incident_that_began_after_its_first_message_was_written_is_understood(real: Real) -> None:
    # The clock of what is watched may be ahead of ours, and a rehearsal's is years behind.
    for number, onset in enumerate(("2099-01-01T00:00:00Z", "2013-07-01T00:00:00Z", "", "no instant")):
        for kind in (Kind.FIRING, Kind.RESOLVED):
            odd = message(kind, onset=onset)
            odd = Message(**{**vars(odd), "incident": f"odd-{number}"})
            assert real.channel().deliver(odd, now=datetime.now(UTC)).status is Status.DELIVERED


@pytest.mark.parametrize("kind", [Kind.TEST, Kind.RETRAINING, Kind.ACTION])
def test_what_is_no_incident_ends_by_itself(real: Real, kind: Kind) -> None:
    now = datetime.now(UTC)
    changes = {} if kind is Kind.TEST else {"expiresAt": (now + timedelta(days=1)).isoformat(), "onset": ""}
    made = Message(**{**vars(message(kind, **changes)), "created_at": now})
    assert real.channel().deliver(made, now=now).status is Status.DELIVERED
    (alert,) = [one for one in real.firing() if one["labels"]["alertname"].endswith(kind.rpartition(".")[2].title())]
    expected = timedelta(minutes=5) if kind is Kind.TEST else timedelta(days=1)
    assert abs(datetime.fromisoformat(alert["endsAt"]) - now - expected) < timedelta(minutes=1)


def test_a_probe_of_a_real_one(real: Real) -> None:
    assert real.channel().probe(now=datetime.now(UTC)).status is Status.DELIVERED


def test_a_probe_finds_another_server_at_the_address(real: Real) -> None:
    outcome = real.channel(url=real.people.url).probe(now=datetime.now(UTC))
    assert outcome.status is Status.RETRY
    assert "is no Alertmanager" in outcome.reason


def test_it_proves_who_it_is() -> None:
    with recorder() as (receiver, section):
        channel = Alertmanager("ops", section)
        channel.deliver(message(Kind.FIRING), now=_NOW)
        channel.probe(now=_NOW)
        assert {one.headers["authorization"] for one in receiver.requests} == {
            "Basic bW9uaXRvcjp0aGUgcGFzc3dvcmQgb2YgdGhlIHRlc3Rz"
        }


def test_a_password_that_is_wrong_is_told() -> None:
    with recorder() as (receiver, section):
        receiver.replies.append(Reply(401))
        outcome = Alertmanager("ops", section).probe(now=_NOW)
        assert (outcome.status, "the password" in outcome.reason) == (Status.RETRY, True)


def test_an_alert_that_is_not_understood_is_not_sent_again() -> None:
    with recorder() as (receiver, section):
        receiver.replies.append(Reply(400))
        assert Alertmanager("ops", section).deliver(message(Kind.FIRING), now=_NOW).status is Status.REFUSED


def test_how_long_an_alert_stands_can_be_set() -> None:
    with recorder(expires_seconds=3_600) as (receiver, section):
        Alertmanager("ops", section).deliver(message(Kind.FIRING), now=_NOW)
        (alert,) = json.loads(receiver.requests[0].body)
        assert alert["endsAt"] == "2026-05-01T13:00:00+00:00"


@pytest.mark.parametrize(
    ("settings", "said"),
    [({}, "url"), ({"url": "alertmanager:9093"}, "url"), ({"url": "http://h", "password": "hunter2"}, "no user")],
)
def test_settings_that_cannot_be_right_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        Alertmanager("ops", AlertmanagerConfig.model_validate({"kind": "alertmanager"} | settings))
    assert raised.value.hint
    assert "hunter2" not in str(raised.value)
