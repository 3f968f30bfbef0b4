"""What a far side forgets is said again, and nothing that is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.alerts.base import Kind, Outcome, Status
from monitor.alerts.outbox import Courier


@pytest.fixture
def forgetful(scripted: Callable[..., Any]) -> Any:
    """A channel whose far side forgets after five minutes."""
    channel = scripted()
    channel.refresh_seconds = 300.0
    return channel


def test_what_is_open_is_said_again_with_its_newest_words_and_its_thread(box: Any, forgetful: Any) -> None:
    forgetful.script = [Outcome(Status.DELIVERED, reference="labels")]
    with Courier(box.history, {"ops": forgetful}, clock=box.clock) as courier:
        box.put(Kind.FIRING)
        box.put(Kind.UPDATED, sequence="2", incident="i-2")
        courier.deliver_due()
        box.put(Kind.ACKNOWLEDGED, sequence="2")
        courier.deliver_due()
        before = len(forgetful.tried)
        box.clock.forward(minutes=5)
        courier.deliver_due()
        again = forgetful.tried[before:]
        assert [(one.incident, one.kind) for one in again] == [("i-2", Kind.UPDATED), ("i-1", Kind.ACKNOWLEDGED)]
        assert again[1].thread == "labels"
        assert again[1].key in {one.key for one in forgetful.tried[:before]}
        box.clock.forward(minutes=4)
        courier.deliver_due()
        assert len(forgetful.tried) == before + 2


def test_a_monitor_that_has_just_begun_says_all_again(box: Any, forgetful: Any) -> None:
    box.put(Kind.FIRING)
    for _ in range(2):
        with Courier(box.history, {"ops": forgetful}, clock=box.clock) as courier:
            courier.deliver_due()
    # Delivered, said again after that, and by the second one.
    assert forgetful.said == [("i-1", Kind.FIRING)] * 3


def test_what_is_over_is_not_said_again(box: Any, forgetful: Any) -> None:
    with Courier(box.history, {"ops": forgetful}, clock=box.clock) as courier:
        box.put(Kind.FIRING)
        courier.deliver_due()
        box.put(Kind.RESOLVED)
        courier.deliver_due()
        before = len(forgetful.tried)
        box.clock.forward(minutes=10)
        courier.deliver_due()
        assert len(forgetful.tried) == before


@pytest.mark.parametrize("answer", [Outcome(Status.REFUSED, "no"), Outcome(Status.RETRY, "no answer in time")])
def test_an_end_that_was_given_up_or_may_have_arrived_is_one(box: Any, forgetful: Any, answer: Outcome) -> None:
    with Courier(box.history, {"ops": forgetful}, clock=box.clock) as courier:
        box.put(Kind.FIRING)
        courier.deliver_due()
        box.put(Kind.RESOLVED)
        forgetful.script = [answer] * 9
        for _ in range(3):
            before = len(forgetful.tried)
            box.clock.forward(minutes=6)
            courier.deliver_due()
            assert Kind.FIRING not in [one.kind for one in forgetful.tried[before:]]


def test_a_signal_a_test_and_what_was_never_delivered_are_not_said_again(box: Any, forgetful: Any) -> None:
    forgetful.script = [Outcome(Status.RETRY, "later", 3_600.0)]
    box.put(Kind.FIRING)
    with Courier(box.history, {"ops": forgetful}, clock=box.clock) as courier:
        courier.deliver_due()
        box.put(Kind.RETRAINING, incident="sig")
        box.put(Kind.TEST, incident="")
        courier.deliver_due()
        before = len(forgetful.tried)
        box.clock.forward(minutes=6)
        courier.deliver_due()
        assert len(forgetful.tried) == before


def test_a_channel_that_does_not_forget_is_told_once(box: Any, scripted: Callable[..., Any]) -> None:
    channel = scripted()
    with Courier(box.history, {"ops": channel}, clock=box.clock) as courier:
        box.put(Kind.FIRING)
        courier.deliver_due()
        box.clock.forward(days=1)
        courier.deliver_due()
    assert len(channel.tried) == 1


def test_a_far_side_that_is_down_is_told_again_five_minutes_later(box: Any, forgetful: Any) -> None:
    with Courier(box.history, {"ops": forgetful}, clock=box.clock) as courier, capture_logs() as logs:
        for number in range(3):
            box.put(Kind.FIRING, incident=f"i-{number}")
        courier.deliver_due()
        before = len(forgetful.tried)
        box.clock.forward(minutes=5)
        forgetful.script = [Outcome(Status.RETRY, "down")]
        courier.deliver_due()
        assert len(forgetful.tried) == before + 1
        assert [(one["event"], one["reason"]) for one in logs] == [("not told again", "down")]
        box.clock.forward(minutes=5)
        courier.deliver_due()
        assert len(forgetful.tried) == before + 4


def test_a_channel_that_is_disabled_is_left_alone(box: Any, forgetful: Any) -> None:
    with Courier(box.history, {"ops": forgetful}, clock=box.clock) as courier:
        box.put(Kind.FIRING)
        courier.deliver_due()
        forgetful.script = [Outcome(Status.GONE, "gone")]
        box.put(Kind.UPDATED, sequence="2")
        courier.deliver_due()
        before = len(forgetful.tried)
        box.clock.forward(minutes=6)
        with capture_logs() as logs:
            courier.deliver_due()
        assert (len(forgetful.tried), logs) == (before, [])
