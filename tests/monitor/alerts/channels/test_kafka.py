"""Kafka, by a real broker."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from featurestore.errors import ConfigError
from featurestore.settings.channels import KafkaConfig
from monitor.alerts.base import Kind, Message, Status
from monitor.alerts.channels.kafka import Kafka
from tests.contract.channel_far_sides.base import finding, message
from tests.contract.channel_far_sides.kafka import Broker, broker, section
from tests.contract.channel_far_sides.receiving import certificate_file, receiving
from tests.monitor.alerts.channels.between import between

_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_PASSWORD = "the password of the tests"


@pytest.fixture
def tansu(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as found:
        yield found


def _kafka(port: int, **settings: Any) -> Kafka:
    return Kafka("stream", section(port, **settings))


def _free() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_record_is_a_cloud_event_in_binary_mode(tansu: Broker) -> None:
    said = message(Kind.FIRING, summary="Gl\u00fcck")
    assert _kafka(tansu.port).deliver(said, now=_NOW).status is Status.DELIVERED
    (record,) = tansu.records()
    assert json.loads(record.value) == said.payload
    assert record.key == b"abc-1"
    assert dict(record.headers) == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_id": b"msg_1",
        "ce_source": b"/featurestore/default/f@1",
        "ce_type": b"featurestore.v1.alert.firing",
        "ce_subject": b"abc-1",
        "ce_time": b"2026-05-01T12:00:00Z",
        "ce_partitionkey": b"abc-1",
    }


def test_the_messages_of_an_incident_are_in_one_partition_in_their_order(tansu: Broker) -> None:
    channel = _kafka(tansu.port)
    kinds = (Kind.FIRING, Kind.UPDATED, Kind.ACKNOWLEDGED, Kind.RESOLVED)
    incidents = [f"incident-{number}" for number in range(6)]
    for kind in kinds:
        for incident in incidents:
            said = Message(**{**vars(message(kind, key=f"{incident}-{kind}")), "incident": incident})
            assert channel.deliver(said, now=_NOW).status is Status.DELIVERED
    records = tansu.records()
    for incident in incidents:
        ours = [one for one in records if one.key == incident.encode()]
        assert len({one.partition for one in ours}) == 1
        assert [dict(one.headers)["ce_type"].decode() for one in ours] == [str(kind) for kind in kinds]
    assert len({one.partition for one in records}) > 1


def test_a_message_of_no_incident_has_a_key_too(tansu: Broker) -> None:
    _kafka(tansu.port).deliver(message(Kind.TEST), now=_NOW)
    (record,) = tansu.records()
    assert record.key == b"msg_1"
    assert "ce_subject" not in dict(record.headers)


def test_a_record_whose_answer_is_lost_is_there_once(tansu: Broker) -> None:
    with between(tansu.port) as way:
        way.lost = 1
        assert _kafka(way.port).deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED
        assert len(way.produced) == 2
        assert _kafka(way.port).probe(now=_NOW).reason == ""
    assert len(tansu.records()) == 1


def test_where_no_producer_ids_are_given_out_it_may_be_there_twice_and_the_probe_says_so(tansu: Broker) -> None:
    with between(tansu.port, translating=False) as way:
        way.lost = 1
        assert _kafka(way.port).deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED
        assert "gives out no producer ids" in _kafka(way.port).probe(now=_NOW).reason
    assert [dict(one.headers)["ce_id"] for one in tansu.records()] == [b"msg_1", b"msg_1"]


def test_an_answer_that_never_comes_leaves_open_whether_the_record_is_there(tansu: Broker) -> None:
    with between(tansu.port) as way:
        way.lost = 10_000
        begun = time.monotonic()
        outcome = _kafka(way.port, timeout_seconds=1).deliver(message(Kind.FIRING), now=_NOW)
        assert time.monotonic() - begun < 10
    assert (outcome.status, outcome.untaken) == (Status.RETRY, False)
    assert len(tansu.records()) == 1


def test_the_brokers_that_a_broker_names_are_checked_too(tansu: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first server is public, as it were; the one that it names is not."""
    from monitor.alerts.channels import addresses

    public = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2" or public(address))
    outcome = _kafka(tansu.port, timeout_seconds=1, allow_private_addresses=False).deliver(
        message(Kind.FIRING), now=_NOW
    )
    assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
    assert "127.0.0.1, not a public address" in outcome.reason
    with between(tansu.port, host="127.0.0.2") as way:
        settings = {"servers": [f"127.0.0.2:{way.port}"], "timeout_seconds": 1, "allow_private_addresses": False}
        outcome = _kafka(way.port, **settings).deliver(message(Kind.FIRING), now=_NOW)
    assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
    assert outcome.reason.startswith("127.0.0.1 is at 127.0.0.1, not a public address")
    assert tansu.records() == []


def test_one_server_of_several_is_enough(tansu: Broker) -> None:
    channel = _kafka(tansu.port, servers=[f"127.0.0.1:{_free()}", f"127.0.0.1:{tansu.port}"])
    assert channel.deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED


def test_a_server_that_cannot_be_reached_says_which() -> None:
    port = _free()
    for outcome in (_kafka(port).deliver(message(Kind.FIRING), now=_NOW), _kafka(port).probe(now=_NOW)):
        assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
        assert outcome.reason.startswith(f"no connection to 127.0.0.1:{port}")
    nowhere = _kafka(port, servers=["kafka.invalid:9092"]).probe(now=_NOW)
    assert nowhere.reason.startswith("kafka.invalid cannot be resolved")


def test_a_server_that_says_nothing_has_the_time_of_an_attempt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        outcome = _kafka(silent.getsockname()[1], timeout_seconds=0.3).deliver(message(Kind.FIRING), now=_NOW)
    assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
    assert outcome.reason.endswith("did not answer in 0.3 s")


def test_a_certificate_is_of_today_and_known(tmp_path: Path) -> None:
    past = certificate_file(tmp_path, until=datetime.now(UTC) - timedelta(hours=1))
    with receiving(certificate=past) as https:
        port = int(https.url.rpartition(":")[2])
        outcome = _kafka(port, security="tls", ca_file=str(past)).probe(now=_NOW)
        assert outcome.status is Status.RETRY
        assert outcome.reason == f"127.0.0.1:{port}: its certificate is not accepted: certificate has expired"


def test_a_record_that_is_too_large_is_refused_for_good(tansu: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    from monitor.alerts.channels import kafka

    monkeypatch.setattr(kafka, "_LARGEST_REQUEST", 1_000)
    outcome = _kafka(tansu.port).deliver(message(Kind.FIRING), now=_NOW)
    assert outcome.status is Status.REFUSED
    assert outcome.reason.endswith("message size too large")


def test_a_storm_fits_even_if_nobody_has_cut_it(tansu: Broker) -> None:
    storm = message(Kind.FIRING, features=[finding(f"feature_{number}") for number in range(10_000)])
    assert _kafka(tansu.port).deliver(storm, now=_NOW).status is Status.DELIVERED
    (record,) = tansu.records()
    kept = json.loads(record.value)
    assert len(kept["features"]) + kept["featuresLeftOut"] == 10_000


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"servers": []}, "names no broker"),
        ({"servers": ["kafka.example.com"]}, "is not HOST:PORT"),
        ({"servers": ["kafka.example.com:0"]}, "is not HOST:PORT"),
        ({"servers": ["kafka.example.com:http"]}, "is not HOST:PORT"),
        ({"topic": ""}, "names no topic"),
        ({"security": "none", "user": "u"}, "would go over the network as it is"),
        ({"ca_file": "/nowhere.pem"}, "ca_file"),
    ],
)
def test_a_section_that_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    values = {"kind": "kafka", "servers": ["kafka.example.com:9093"], "topic": "alerts", "security": "tls"}
    with pytest.raises(ConfigError, match=said):
        Kafka("stream", KafkaConfig.model_validate(values | settings))


def test_without_the_extra_the_channel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with pytest.raises(ConfigError) as raised:
        _kafka(9092)
    assert raised.value.hint == "pip install 'featurestore[kafka]'"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_file(tmp_path_factory.mktemp("kafka"))


def test_a_password_goes_over_tls_and_is_checked(tansu: Broker, certificate: Path) -> None:
    with between(tansu.port, certificate=certificate, password=_PASSWORD) as way:
        settings = {"security": "tls", "ca_file": str(certificate), "user": "monitor", "mechanism": "plain"}
        wrong = _kafka(way.port, **settings, password="wrong")
        for outcome in (wrong.deliver(message(Kind.FIRING), now=_NOW), wrong.probe(now=_NOW)):
            assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
            assert outcome.reason == f"127.0.0.1:{way.port} does not accept the user or the password"
        assert tansu.records() == []
        right = _kafka(way.port, **settings, password=_PASSWORD)
        assert right.deliver(message(Kind.FIRING), now=_NOW).status is Status.DELIVERED
        assert right.probe(now=_NOW).status is Status.DELIVERED
        other = _kafka(way.port, **(settings | {"mechanism": "scram-sha-512"}), password=_PASSWORD).probe(now=_NOW)
        assert other.reason.endswith("does not know the mechanism by which the password is shown")
    assert len(tansu.records()) == 1


@pytest.mark.parametrize("mechanism", ["scram-sha-256", "scram-sha-512"])
def test_a_user_that_the_broker_does_not_know_may_be_mended(tmp_path: Path, certificate: Path, mechanism: str) -> None:
    with broker(tmp_path, "--authentication") as locked, between(locked.port, certificate=certificate) as way:
        settings = {"security": "tls", "ca_file": str(certificate), "user": "nobody", "password": _PASSWORD}
        outcome = _kafka(way.port, **settings, mechanism=mechanism).deliver(message(Kind.FIRING), now=_NOW)
    assert (outcome.status, outcome.untaken) == (Status.RETRY, True)
    assert outcome.reason == f"127.0.0.1:{way.port} does not accept the user or the password"
