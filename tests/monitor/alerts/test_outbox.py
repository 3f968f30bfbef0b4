"""The outbox: at least once, in order, under one key, with patience."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.outbox import BACKOFF, JITTER, Courier, counts, enqueue, told
from monitor.alerts.states import Alert, State
from monitor.history import History
from monitor.schema import outbox

_START = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass
class Scripted:
    """A channel that answers as told; delivered when the script is over."""

    name: str = "ops"
    rehearsals: bool = True
    script: list[Outcome] = field(default_factory=list)
    tried: list[Message] = field(default_factory=list)

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        self.tried.append(message)
        return self.script.pop(0) if self.script else Outcome(Status.DELIVERED)

    def close(self) -> None:
        pass


@dataclass
class Clock:
    """A clock that a test moves."""

    now: datetime = _START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(f"sqlite:///{tmp_path}/monitor.db") as opened:
        yield opened


def put(
    history: History, kind: Kind, *, key: str = "i", episode: int = 1, channels: tuple[str, ...] = ("ops",)
) -> None:
    with history.write() as connection:
        enqueue(
            connection,
            instance=history.instance,
            channels=channels,
            kind=kind,
            project="default",
            service="f@1",
            incident=Alert(key=key, state=State.FIRING, episode=episode),
            payload={"summary": f"{kind} of {key}"},
            now=_START,
        )


def counted(history: History) -> dict[str, int]:
    with history.read() as connection:
        return counts(connection)


def test_messages_are_delivered_once_and_in_order(history: History) -> None:
    for kind in (Kind.FIRING, Kind.RETRAINING, Kind.RESOLVED):
        put(history, kind)
    channel = Scripted()
    courier = Courier(history, {"ops": channel}, clock=Clock())
    assert courier.deliver_due().delivered == 3
    assert courier.deliver_due().delivered == 0
    assert [one.kind for one in channel.tried] == [Kind.FIRING, Kind.RETRAINING, Kind.RESOLVED]
    assert len({one.key for one in channel.tried}) == 3
    assert counted(history) == {"pending": 0, "delivered": 3, "dead": 0}


def test_a_message_keeps_its_key_over_retries_and_waits_longer_each_time(history: History) -> None:
    put(history, Kind.FIRING)
    channel = Scripted(script=[Outcome(Status.RETRY, "500")] * 20)
    clock = Clock()
    courier = Courier(history, {"ops": channel}, clock=clock, chance=random.Random(1))
    for wait in BACKOFF:
        report = courier.deliver_due()
        assert (report.delayed, report.dead) == (1, 0)
        clock.now += timedelta(seconds=wait) - timedelta(milliseconds=1)
        assert courier.deliver_due().delayed == 0
        clock.now += timedelta(seconds=wait * JITTER + 0.002)
    assert courier.deliver_due().dead == 1
    assert len(channel.tried) == len(BACKOFF) + 1
    assert len({one.key for one in channel.tried}) == 1
    assert counted(history) == {"pending": 0, "delivered": 0, "dead": 1}


def test_a_receiver_that_asks_for_more_time_gets_it(history: History) -> None:
    put(history, Kind.FIRING)
    channel = Scripted(script=[Outcome(Status.RETRY, "429", retry_after=600.0)])
    clock = Clock()
    courier = Courier(history, {"ops": channel}, clock=clock)
    courier.deliver_due()
    clock.now += timedelta(seconds=599)
    assert courier.deliver_due().delivered == 0
    clock.now += timedelta(seconds=1)
    assert courier.deliver_due().delivered == 1


def test_what_follows_in_an_incident_waits_and_other_incidents_do_not(history: History) -> None:
    put(history, Kind.FIRING, key="a")
    put(history, Kind.RESOLVED, key="a")
    put(history, Kind.FIRING, key="b")
    channel = Scripted(script=[Outcome(Status.RETRY, "500")])
    clock = Clock()
    courier = Courier(history, {"ops": channel}, clock=clock)
    courier.deliver_due()
    clock.now += timedelta(minutes=1)
    courier.deliver_due()
    assert [(one.incident, one.kind) for one in channel.tried] == [
        ("a", Kind.FIRING),
        ("b", Kind.FIRING),
        ("a", Kind.FIRING),
        ("a", Kind.RESOLVED),
    ]


def test_one_channel_does_not_wait_for_another(history: History) -> None:
    put(history, Kind.FIRING, channels=("ops", "log"))
    slow, quick = Scripted(script=[Outcome(Status.RETRY, "500")]), Scripted(name="log")
    report = Courier(history, {"ops": slow, "log": quick}, clock=Clock()).deliver_due()
    assert (report.delivered, report.delayed) == (1, 1)
    assert slow.tried[0].key != quick.tried[0].key


def test_a_receiver_that_is_gone_for_good_gets_nothing_more_of_what_waits(history: History) -> None:
    put(history, Kind.FIRING, key="a")
    put(history, Kind.FIRING, key="b")
    channel = Scripted(script=[Outcome(Status.GONE, "410")])
    Courier(history, {"ops": channel}, clock=Clock()).deliver_due()
    assert len(channel.tried) == 1
    assert counted(history) == {"pending": 0, "delivered": 0, "dead": 2}


def test_nothing_is_resolved_whose_alert_was_never_delivered(history: History) -> None:
    put(history, Kind.FIRING)
    channel = Scripted(script=[Outcome(Status.GONE, "410")])
    courier = Courier(history, {"ops": channel}, clock=Clock())
    courier.deliver_due()
    put(history, Kind.RESOLVED)
    courier.deliver_due()
    assert [one.kind for one in channel.tried] == [Kind.FIRING]
    assert counted(history)["dead"] == 2


def test_a_channel_that_is_not_configured_keeps_its_messages(history: History) -> None:
    put(history, Kind.FIRING)
    clock = Clock()
    assert Courier(history, {}, clock=clock).deliver_due().delayed == 1
    clock.now += timedelta(minutes=1)
    assert Courier(history, {"ops": Scripted()}, clock=clock).deliver_due().delivered == 1


def test_told_names_the_channels_of_the_present_episode(history: History) -> None:
    put(history, Kind.FIRING, episode=1, channels=("ops", "log"))
    put(history, Kind.FIRING, episode=2, channels=("log",))
    with history.read() as connection:
        assert told(connection, Alert(key="i", episode=1)) == ["ops", "log"]
        assert told(connection, Alert(key="i", episode=2)) == ["log"]
        assert told(connection, Alert(key="j", episode=1)) == []


def test_a_message_is_taken_back_with_the_transaction_that_wrote_it(history: History) -> None:
    def fail() -> None:
        with history.write() as connection:
            enqueue(
                connection,
                instance=history.instance,
                channels=["ops"],
                kind=Kind.FIRING,
                project="default",
                service="f@1",
                incident=Alert(key="i", episode=1),
                payload={},
                now=_START,
            )
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert counted(history) == {"pending": 0, "delivered": 0, "dead": 0}


_WORKER = textwrap.dedent(
    """
    import sys
    from featurestore.settings.channels import WebhookConfig
    from monitor.alerts.outbox import Courier
    from monitor.alerts.channels.webhook import Webhook
    from monitor.history import History
    database, url, secret = sys.argv[1:]
    config = {"kind": "webhook", "url": url, "secret": secret, "allow_private_addresses": True}
    channel = Webhook("ops", WebhookConfig.model_validate(config))
    with History("sqlite:///" + database) as history:
        print("ready", flush=True)
        Courier(history, {"ops": channel}).deliver_due()
    """
)


def test_a_courier_killed_at_any_moment_loses_nothing_and_doubles_no_key_out_of_order(
    history: History, receiver: Any, secret: str, wait_for: Callable[[Callable[[], bool]], None]
) -> None:
    """Short form: killed six times in the middle of a delivery, then left to finish."""
    count = 40
    for number in range(count):
        put(history, Kind.FIRING, episode=number + 1)
    receiver.delay = 0.02
    command = [sys.executable, "-c", _WORKER, str(history.path), receiver.url, secret]
    for kills in range(6):
        worker = subprocess.Popen(command, stdout=subprocess.PIPE)
        seen = len(receiver.requests)
        wait_for(lambda seen=seen, kills=kills: len(receiver.requests) > seen + kills % 3)
        os.kill(worker.pid, signal.SIGKILL)
        worker.communicate()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    with history.read() as connection:
        expected = list(connection.execute(select(outbox.c.key).order_by(outbox.c.id)).scalars())
    keys = [json.loads(body)["id"] for _, body in receiver.requests]
    assert list(dict.fromkeys(keys)) == expected
    assert counted(history) == {"pending": 0, "delivered": count, "dead": 0}
