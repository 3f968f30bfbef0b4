"""Whose turn it is: in order, under one key, with patience, and nothing of what is over."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from monitor.alerts.base import Kind, Outcome, Status
from monitor.alerts.outbox import Courier, MessageState, disabled
from monitor.alerts.outbox.turns import BACKOFF, JITTER

_REFUSED = Outcome(Status.RETRY, "500", untaken=True)
_SILENT = Outcome(Status.RETRY, "no answer in time")


@pytest.fixture
def channel(scripted: Callable[..., Any]) -> Any:
    return scripted()


@pytest.fixture
def courier(box: Any, channel: Any) -> Any:
    with Courier(box.history, {"ops": channel}, clock=box.clock, chance=random.Random(1)) as opened:
        yield opened


def test_messages_are_delivered_once_and_in_order(box: Any, courier: Courier, channel: Any) -> None:
    for kind in (Kind.FIRING, Kind.UPDATED, Kind.RESOLVED):
        box.put(kind)
        assert courier.deliver_due().delivered == 1
        assert courier.deliver_due().delivered == 0
    assert [kind for _, kind in channel.said] == [Kind.FIRING, Kind.UPDATED, Kind.RESOLVED]
    assert len({one.key for one in channel.tried}) == 3
    assert {one.severity for one in channel.tried} == {"page"}
    assert box.counted() == {"pending": 0, "delivered": 3, "dead": 0, "overtaken": 0}


def test_a_message_keeps_its_key_over_retries_and_waits_longer_each_time(
    box: Any, courier: Courier, channel: Any
) -> None:
    box.put(Kind.FIRING)
    channel.script = [_REFUSED] * 20
    for wait in BACKOFF:
        report = courier.deliver_due()
        assert (report.delayed, report.dead) == (1, 0)
        box.clock.forward(seconds=wait - 0.001)
        assert courier.deliver_due().delayed == 0
        box.clock.forward(seconds=wait * JITTER + 0.002)
    assert courier.deliver_due().dead == 1
    assert len(channel.tried) == len(BACKOFF) + 1
    assert len({one.key for one in channel.tried}) == 1
    (entry,) = box.entries()
    assert (entry.state, entry.attempts, entry.last_error) == (MessageState.DEAD, len(BACKOFF) + 1, "500")


def test_a_receiver_that_asks_for_more_time_gets_it_for_all_its_messages(
    box: Any, courier: Courier, channel: Any
) -> None:
    box.put(Kind.FIRING)
    channel.script = [Outcome(Status.RETRY, "429", retry_after=600.0, untaken=True)]
    courier.deliver_due()
    box.put(Kind.FIRING, incident="i-2")
    box.clock.forward(seconds=599)
    assert courier.deliver_due().delivered == 0
    box.clock.forward(seconds=1)
    assert courier.deliver_due().delivered == 2
    assert [one for one, _ in channel.said] == ["i-1", "i-1", "i-2"]


def test_a_receiver_cannot_ask_for_ever(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING)
    channel.script = [Outcome(Status.RETRY, "503", retry_after=1e12, untaken=True)]
    courier.deliver_due()
    box.clock.forward(days=1)
    assert courier.deliver_due().delivered == 1


def test_what_may_have_arrived_goes_again_before_what_follows_and_other_incidents_do_not_wait(
    box: Any, courier: Courier, channel: Any
) -> None:
    box.put(Kind.FIRING)
    channel.script = [_SILENT]
    courier.deliver_due()
    box.put(Kind.RESOLVED)
    box.put(Kind.FIRING, incident="i-2")
    courier.deliver_due()
    box.clock.forward(seconds=6)
    courier.deliver_due()
    assert channel.said == [
        ("i-1", Kind.FIRING),
        ("i-2", Kind.FIRING),
        ("i-1", Kind.FIRING),
        ("i-1", Kind.RESOLVED),
    ]
    assert channel.tried[0].key == channel.tried[2].key


def test_nobody_hears_of_what_was_over_before_anything_arrived(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING)
    box.put(Kind.UPDATED)
    box.put(Kind.RESOLVED)
    assert courier.deliver_due().overtaken == 3
    assert channel.tried == []
    firing, updated, resolved = box.entries()
    assert firing.overtaken_by == updated.overtaken_by == resolved.key
    assert (resolved.overtaken_by, resolved.last_error) == ("", "its incident was over before anyone was told")
    assert box.counted() == {"pending": 0, "delivered": 0, "dead": 0, "overtaken": 3}


def test_an_attempt_that_surely_failed_does_not_hold_up_the_news(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING)
    channel.script = [_REFUSED]
    courier.deliver_due()
    box.put(Kind.RESOLVED)
    assert courier.deliver_due().overtaken == 2
    assert [kind for _, kind in channel.said] == [Kind.FIRING]


def test_one_doubt_is_enough_whatever_the_attempts_after_it_say(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING)
    channel.script = [_SILENT, _REFUSED]
    courier.deliver_due()
    box.clock.forward(seconds=6)
    courier.deliver_due()
    box.put(Kind.RESOLVED)
    box.clock.forward(minutes=7)
    courier.deliver_due()
    assert [kind for _, kind in channel.said] == [Kind.FIRING, Kind.FIRING, Kind.FIRING, Kind.RESOLVED]


def test_an_update_that_finds_its_alert_waiting_takes_its_place(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING)
    box.put(Kind.UPDATED, sequence="1")
    box.put(Kind.UPDATED, sequence="2")
    report = courier.deliver_due()
    assert (report.delivered, report.overtaken) == (1, 2)
    box.put(Kind.RESOLVED)
    courier.deliver_due()
    assert [kind for _, kind in channel.said] == [Kind.UPDATED, Kind.RESOLVED]


def test_what_is_over_is_told_to_whom_anything_arrived(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.put(Kind.UPDATED)
    box.put(Kind.RESOLVED)
    courier.deliver_due()
    assert [kind for _, kind in channel.said] == [Kind.FIRING, Kind.RESOLVED]


def test_signals_and_actions_are_never_overtaken_and_keep_their_order(box: Any, courier: Courier, channel: Any) -> None:
    channel.script = [_REFUSED]
    for sequence in "123":
        box.put(Kind.RETRAINING, incident="s", sequence=sequence, severity="info")
    box.put(Kind.TEST, incident="", sequence="a")
    box.put(Kind.TEST, incident="", sequence="b")
    courier.deliver_due()
    box.clock.forward(seconds=6)
    courier.deliver_due()
    keys = [one.key for one in box.entries()]
    signals = [one.key for one in channel.tried if one.incident == "s"]
    assert signals == keys[:3]
    assert box.counted()["delivered"] == 5


def test_pages_go_first(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING, incident="a", severity="info")
    box.put(Kind.FIRING, incident="b", severity="ticket")
    box.put(Kind.FIRING, incident="c", severity="page")
    courier.deliver_due()
    assert [one for one, _ in channel.said] == ["c", "b", "a"]


def test_a_message_that_is_refused_is_dead_and_the_channel_goes_on(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING)
    channel.script = [Outcome(Status.REFUSED, "413")]
    assert courier.deliver_due().dead == 1
    box.put(Kind.RESOLVED)
    courier.deliver_due()
    # There is nothing to resolve: the alert never arrived.
    assert [kind for _, kind in channel.said] == [Kind.FIRING]
    box.put(Kind.FIRING, incident="i-2")
    assert courier.deliver_due().delivered == 1


def test_a_receiver_that_is_gone_gets_nothing_more_and_says_why(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING, incident="a")
    box.put(Kind.FIRING, incident="b")
    channel.script = [Outcome(Status.GONE, "answered 410")]
    courier.deliver_due()
    box.put(Kind.FIRING, incident="c")
    assert courier.deliver_due().dead == 1
    assert len(channel.tried) == 1
    assert {(one.state, one.last_error) for one in box.entries()} == {(MessageState.DEAD, "answered 410")}
    with box.history.read() as connection:
        assert disabled(connection) == {"ops": "answered 410"}


def test_later_messages_know_what_the_channel_called_the_first(box: Any, courier: Courier, channel: Any) -> None:
    channel.script = [Outcome(Status.DELIVERED, reference="170.5"), Outcome(Status.DELIVERED, reference="171.6")]
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.put(Kind.FIRING, incident="i-2")
    box.put(Kind.UPDATED)
    courier.deliver_due()
    box.put(Kind.RESOLVED)
    courier.deliver_due()
    threads = {(one.incident, one.kind): one.thread for one in channel.tried}
    assert threads == {
        ("i-1", Kind.FIRING): "",
        ("i-2", Kind.FIRING): "",
        ("i-1", Kind.UPDATED): "170.5",
        ("i-1", Kind.RESOLVED): "170.5",
    }


def test_a_channel_that_is_not_configured_keeps_its_messages(box: Any, channel: Any) -> None:
    box.put(Kind.FIRING)
    with Courier(box.history, {}, clock=box.clock) as nowhere:
        assert nowhere.deliver_due().delayed == 1
    (entry,) = box.entries()
    assert (entry.doubtful, entry.last_error) == (False, 'there is no channel "ops" in featurestore.toml')
    box.clock.forward(minutes=1)
    with Courier(box.history, {"ops": channel}, clock=box.clock) as courier:
        assert courier.deliver_due().delivered == 1


def test_what_a_receiver_says_is_kept_whatever_is_in_it(box: Any, courier: Courier, channel: Any) -> None:
    box.put(Kind.FIRING)
    channel.script = [
        Outcome(Status.RETRY, "no\x00thing ' \" \N{SNOWMAN}"),
        Outcome(Status.DELIVERED, reference="a\x00b"),
    ]
    courier.deliver_due()
    assert box.entries()[0].last_error == "nothing ' \" \N{SNOWMAN}"
    box.clock.forward(seconds=6)
    courier.deliver_due()
    assert box.entries()[0].reference == "ab"
