"""Channels go at their own pace, a courier that is killed loses nothing, and a fault of one is nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from featurestore.errors import LeadershipLostError
from monitor.alerts.base import Kind, Message, Outcome, Status
from monitor.alerts.outbox import Courier


def test_a_clock_that_is_set_back_holds_no_message_up(box: Any, scripted: Callable[..., Any]) -> None:
    ops = scripted(script=[Outcome(Status.RETRY, "busy", 3_600.0), Outcome(Status.RETRY, "500")])
    now = box.clock()
    with Courier(box.history, {"ops": ops}, clock=box.clock) as courier:
        box.clock.forward(days=3650)
        box.put(Kind.FIRING)
        courier.deliver_due()
        box.put(Kind.FIRING, incident="i-2")
        box.clock.now = now  # it was ten years ahead
        with capture_logs() as said:
            courier.deliver_due()
        assert said[0]["event"] == "the clock was set back"
        assert ops.said == [("i-1", Kind.FIRING), ("i-1", Kind.FIRING), ("i-2", Kind.FIRING)]
        box.clock.forward(seconds=3)
        courier.deliver_due()
        assert len(ops.tried) == 3  # it waits as any other now
        box.clock.forward(minutes=6)
        courier.deliver_due()
    assert box.counted()["delivered"] == 2
    assert {one.created_at for one in box.entries()} == {now}


def test_a_slow_receiver_delays_no_other_channel(
    box: Any, scripted: Callable[..., Any], wait_for: Callable[[Callable[[], bool]], None]
) -> None:
    slow, quick = scripted("slow"), scripted("quick")
    slow.held.clear()
    with Courier(box.history, {"slow": slow, "quick": quick}, clock=box.clock) as courier:
        box.put(Kind.FIRING, channels=("slow", "quick"))
        courier.kick()
        wait_for(lambda: box.counted()["delivered"] == 1)
        box.put(Kind.FIRING, incident="i-2", channels=("slow", "quick"))
        courier.kick()
        wait_for(lambda: box.counted()["delivered"] == 2)
        assert (len(slow.tried), len(quick.tried)) == (1, 2)
        slow.held.set()
        wait_for(lambda: courier.kick() is not None and box.counted()["delivered"] == 4)


def test_more_channels_than_threads_all_get_their_turn(box: Any, scripted: Callable[..., Any]) -> None:
    channels = {f"c{number}": scripted(f"c{number}") for number in range(40)}
    box.put(Kind.FIRING, channels=tuple(channels))
    before = set(threading.enumerate())  # of other tests: some may end meanwhile
    with Courier(box.history, channels, clock=box.clock) as courier:
        assert courier.deliver_due().delivered == 40
        assert 0 < len(set(threading.enumerate()) - before) <= 16
    assert not set(threading.enumerate()) - before


def test_within_a_channel_one_message_goes_at_a_time(
    box: Any, scripted: Callable[..., Any], wait_for: Callable[[Callable[[], bool]], None]
) -> None:
    channel = scripted()
    channel.held.clear()
    with Courier(box.history, {"ops": channel}, clock=box.clock) as courier:
        for number in range(5):
            box.put(Kind.FIRING, incident=f"i-{number}")
            courier.kick()
        wait_for(lambda: len(channel.tried) == 1)
        courier.kick()
        assert len(channel.tried) == 1
        channel.held.set()
        wait_for(lambda: courier.kick() is not None and box.counted()["delivered"] == 5)


def test_when_it_closes_it_finishes_the_message_at_hand_and_begins_no_other(
    box: Any, scripted: Callable[..., Any], wait_for: Callable[[Callable[[], bool]], None]
) -> None:
    channel = scripted()
    channel.held.clear()
    courier = Courier(box.history, {"ops": channel}, clock=box.clock)
    box.put(Kind.FIRING, incident="a")
    box.put(Kind.FIRING, incident="b")
    courier.kick()
    wait_for(lambda: len(channel.tried) == 1)
    closing = threading.Thread(target=courier.close)
    closing.start()
    channel.held.set()
    closing.join()
    assert box.counted() == {"pending": 1, "delivered": 1, "dead": 0, "overtaken": 0}


@dataclass
class Broken:
    """A channel with a fault of its own."""

    url: str
    name: str = "ops"
    rehearsals: bool = True

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        raise KeyError(self.url)

    def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        return Outcome(Status.RETRY)

    def close(self) -> None:
        pass


def test_a_fault_of_a_channel_is_an_attempt_that_failed_and_shows_no_secret(
    box: Any, scripted: Callable[..., Any]
) -> None:
    box.put(Kind.FIRING, channels=("ops", "log"))
    channels = {"ops": Broken("https://hooks.example.com/secret"), "log": scripted("log")}
    with capture_logs() as logs, Courier(box.history, channels, clock=box.clock) as courier:
        report = courier.deliver_due()
    assert (report.delivered, report.delayed) == (1, 1)
    entry = box.entries("ops")[0]
    assert (entry.last_error, entry.doubtful) == ("the channel failed: KeyError", True)
    assert "deliver" in str(logs)
    assert "secret" not in str(logs)


def test_who_may_not_send_sends_nothing(box: Any, scripted: Callable[..., Any]) -> None:
    box.put(Kind.FIRING)
    channel = scripted()
    with Courier(box.history, {"ops": channel}, clock=box.clock, may_send=lambda: False) as courier:
        courier.deliver_due()
    assert channel.tried == []
    assert box.counted()["pending"] == 1


def test_who_has_lost_the_lead_sends_nothing_and_says_so(box: Any, scripted: Callable[..., Any]) -> None:
    def refuse(_: object) -> None:
        raise LeadershipLostError("Another monitor has taken over.")

    box.put(Kind.FIRING)
    channel = scripted()
    box.history.fence = refuse
    with Courier(box.history, {"ops": channel}, clock=box.clock) as courier:
        with pytest.raises(LeadershipLostError):
            courier.deliver_due()
        box.history.fence = None
        assert courier.deliver_due().delivered == 1
    assert len(channel.tried) == 1


def test_a_message_that_was_under_way_when_the_process_ended_goes_again_under_its_key(
    box: Any, scripted: Callable[..., Any]
) -> None:
    """What the database says in the middle of an attempt is what a kill leaves."""
    channel = scripted()
    seen: list[bool] = []

    class Looking:
        name, rehearsals = "ops", True

        def deliver(self, message: Message, *, now: datetime) -> Outcome:
            seen.append(box.entries()[0].doubtful)
            return channel.deliver(message, now=now)  # type: ignore[no-any-return]

        def probe(self, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
            return Outcome(Status.DELIVERED)

        def close(self) -> None:
            pass

    box.put(Kind.FIRING)
    with Courier(box.history, {"ops": Looking()}, clock=box.clock) as courier:
        courier.deliver_due()
    assert seen == [True]
    assert box.entries()[0].doubtful is False
