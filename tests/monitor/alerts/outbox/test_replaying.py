"""What was given up can be sent again, as far as it is still true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from featurestore.errors import MonitorError
from monitor.alerts.base import Kind, Outcome, Status
from monitor.alerts.outbox import Courier, MessageState, Replayed, disabled, replay_dead, replay_one

_TOO_LARGE = Outcome(Status.REFUSED, "413")
_GONE = Outcome(Status.GONE, "410")


@pytest.fixture
def channel(scripted: Callable[..., Any]) -> Any:
    return scripted()


@pytest.fixture
def courier(box: Any, channel: Any) -> Any:
    with Courier(box.history, {"ops": channel}, clock=box.clock) as opened:
        yield opened


def replayed(box: Any, key: str = "", channel: str = "") -> Replayed:
    with box.history.write() as connection:
        if key:
            return replay_one(connection, key, now=box.clock())
        return replay_dead(connection, channel=channel, now=box.clock())


def test_a_dead_message_goes_again_under_its_key(box: Any, courier: Courier, channel: Any) -> None:
    channel.script = [_TOO_LARGE]
    box.put(Kind.FIRING)
    courier.deliver_due()
    (entry,) = box.entries()
    assert replayed(box, entry.key[:10]).again == (entry.key,)
    assert courier.deliver_due().delivered == 1
    assert [one.key for one in channel.tried] == [entry.key] * 2
    assert box.entries()[0].attempts == 0


def test_a_channel_that_was_gone_takes_messages_again(box: Any, courier: Courier, channel: Any) -> None:
    channel.script = [_GONE]
    box.put(Kind.FIRING, incident="a")
    box.put(Kind.FIRING, incident="b")
    courier.deliver_due()
    done = replayed(box)
    assert (len(done.again), done.enabled) == (2, ("ops",))
    assert courier.deliver_due().delivered == 2
    with box.history.read() as connection:
        assert disabled(connection) == {}


def test_only_those_of_one_channel(box: Any, courier: Courier, channel: Any) -> None:
    channel.script = [_TOO_LARGE]
    box.put(Kind.FIRING)
    courier.deliver_due()
    assert replayed(box, channel="other") == Replayed()
    assert box.counted()["dead"] == 1


def test_what_is_over_meanwhile_is_not_sent(box: Any, courier: Courier, channel: Any) -> None:
    channel.script = [_TOO_LARGE]
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.put(Kind.RESOLVED)
    courier.deliver_due()
    firing, resolved = box.entries()
    with pytest.raises(MonitorError, match="is of the past") as raised:
        replayed(box, firing.key)
    assert resolved.key in raised.value.hint
    with pytest.raises(MonitorError, match="nothing to say"):
        replayed(box, resolved.key)
    assert replayed(box).overtaken == (firing.key,)
    courier.deliver_due()
    assert len(channel.tried) == 1
    assert [one.state for one in box.entries()] == [MessageState.OVERTAKEN] * 2


def test_what_may_have_arrived_before_the_receiver_was_gone_goes_again_before_what_waits(
    box: Any, courier: Courier, channel: Any
) -> None:
    channel.script = [Outcome(Status.RETRY, "no answer in time"), _GONE]
    box.put(Kind.FIRING)
    box.put(Kind.FIRING, incident="i-2")
    courier.deliver_due()
    box.put(Kind.RESOLVED)
    assert replayed(box).enabled == ("ops",)
    courier.deliver_due()
    assert [kind for incident, kind in channel.said if incident == "i-1"] == [Kind.FIRING, Kind.FIRING, Kind.RESOLVED]


def test_an_incident_that_is_dead_from_begin_to_end_stays_untold(box: Any, courier: Courier, channel: Any) -> None:
    channel.script = [_GONE]
    box.put(Kind.FIRING, incident="i-0")
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.put(Kind.RESOLVED)
    courier.deliver_due()
    assert box.counted()["dead"] == 3
    assert len(replayed(box).again) == 3
    courier.deliver_due()
    assert channel.said == [("i-0", Kind.FIRING), ("i-0", Kind.FIRING)]


def test_one_that_was_delivered_can_be_sent_again_and_is_resolved_afterwards(
    box: Any, courier: Courier, channel: Any
) -> None:
    box.put(Kind.FIRING)
    courier.deliver_due()
    replayed(box, box.entries()[0].key)
    box.put(Kind.RESOLVED)
    courier.deliver_due()
    assert [kind for _, kind in channel.said] == [Kind.FIRING, Kind.FIRING, Kind.RESOLVED]


def test_one_that_waits_goes_at_once(box: Any, courier: Courier, channel: Any) -> None:
    channel.script = [Outcome(Status.RETRY, "429", retry_after=3600, untaken=True)]
    box.put(Kind.FIRING)
    courier.deliver_due()
    replayed(box, box.entries()[0].key)
    assert courier.deliver_due().delivered == 1


@pytest.mark.parametrize("key", ["msg_", "none", "%", "msg_%"])
def test_a_key_that_names_no_message_or_several_is_refused(box: Any, key: str) -> None:
    box.put(Kind.FIRING, incident="a")
    box.put(Kind.FIRING, incident="b")
    with pytest.raises(MonitorError, match="whose key"):
        replayed(box, key)
