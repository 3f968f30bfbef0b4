"""A page that its channel does not take in time also goes to the fallback: once, under its own key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from monitor.alerts.base import Kind, Outcome, Status
from monitor.alerts.outbox import Courier, told
from monitor.alerts.outbox.standing_in import PATIENCE
from tests.monitor.alerts.outbox.conftest import START

_SILENT = Outcome(Status.RETRY, "no answer in time")
_REFUSED = Outcome(Status.RETRY, "500", untaken=True)


@pytest.fixture
def ops(scripted: Callable[..., Any]) -> Any:
    return scripted("ops")


@pytest.fixture
def mail(scripted: Callable[..., Any]) -> Any:
    return scripted("mail")


@pytest.fixture
def courier(box: Any, ops: Any, mail: Any) -> Any:
    with Courier(box.history, {"ops": ops, "mail": mail}, fallbacks={"ops": "mail"}, clock=box.clock) as opened:
        yield opened


def tell_all(box: Any, kind: Kind, sequence: str = "1") -> None:
    """Write what comes of an incident to all that were told of it, as the monitor does."""
    with box.history.read() as connection:
        channels = told(connection, "i-1")
    box.put(kind, sequence=sequence, channels=tuple(channels))


def test_a_page_that_does_not_arrive_goes_to_the_fallback_after_five_minutes_once(
    box: Any, courier: Courier, ops: Any, mail: Any
) -> None:
    ops.script = [_SILENT] * 20
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.clock.now += PATIENCE * 0.99
    courier.deliver_due()
    assert mail.tried == []
    box.clock.now += PATIENCE * 0.01
    assert courier.deliver_due().stood_in == 1
    box.clock.forward(hours=1)
    assert courier.deliver_due().stood_in == 0
    assert mail.said == [("i-1", Kind.FIRING)]
    assert mail.tried[0].key != ops.tried[0].key
    assert {one.stands_in_for for one in box.entries("mail")} == {"ops"}


def test_an_update_does_not_begin_the_five_minutes_anew(box: Any, courier: Courier, ops: Any, mail: Any) -> None:
    ops.script = [_REFUSED] * 20
    box.put(Kind.FIRING)
    courier.deliver_due()
    for minutes in (2, 4):
        box.clock.now = START + timedelta(minutes=minutes)
        box.put(Kind.UPDATED, sequence=str(minutes))
        courier.deliver_due()
    box.clock.now = START + PATIENCE * 0.99
    assert courier.deliver_due().stood_in == 0
    box.clock.now = START + PATIENCE
    assert courier.deliver_due().stood_in == 1
    assert mail.said == [("i-1", Kind.UPDATED)]


def test_they_begin_anew_after_one_that_arrived(box: Any, courier: Courier, ops: Any) -> None:
    box.put(Kind.FIRING)
    courier.deliver_due()
    ops.script = [_REFUSED] * 20
    box.clock.forward(minutes=6)
    box.put(Kind.UPDATED, sequence="2")
    courier.deliver_due()
    box.clock.forward(minutes=4)
    assert courier.deliver_due().stood_in == 0
    box.clock.forward(minutes=1)
    assert courier.deliver_due().stood_in == 1


def test_what_comes_of_it_goes_to_both(box: Any, courier: Courier, ops: Any, mail: Any) -> None:
    ops.script = [_SILENT]
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.clock.now += PATIENCE
    ops.held.set()
    ops.script = [_SILENT]
    courier.deliver_due()
    box.clock.forward(hours=1)
    courier.deliver_due()
    tell_all(box, Kind.RESOLVED)
    courier.deliver_due()
    assert [kind for _, kind in mail.said] == [Kind.FIRING, Kind.RESOLVED]
    assert ops.said[-1] == ("i-1", Kind.RESOLVED)


def test_the_channel_that_never_got_it_hears_nothing_of_its_end(
    box: Any, courier: Courier, ops: Any, mail: Any
) -> None:
    ops.script = [_REFUSED] * 3
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.clock.now += PATIENCE
    courier.deliver_due()
    tell_all(box, Kind.RESOLVED)
    courier.deliver_due()
    assert {kind for _, kind in ops.said} == {Kind.FIRING}
    assert [kind for _, kind in mail.said] == [Kind.FIRING, Kind.RESOLVED]


@pytest.mark.parametrize("outcome", [Outcome(Status.REFUSED, "413"), Outcome(Status.GONE, "410")])
def test_a_page_that_never_will_arrive_goes_to_the_fallback_at_once(
    box: Any, courier: Courier, ops: Any, mail: Any, outcome: Outcome
) -> None:
    ops.script = [outcome]
    box.put(Kind.FIRING)
    assert courier.deliver_due().stood_in == 1
    assert mail.said == [("i-1", Kind.FIRING)]


def test_pages_for_a_disabled_channel_go_to_its_fallback_at_once(
    box: Any, courier: Courier, ops: Any, mail: Any
) -> None:
    ops.script = [Outcome(Status.GONE, "410")]
    box.put(Kind.FIRING, incident="a")
    courier.deliver_due()
    box.put(Kind.FIRING, incident="b")
    box.put(Kind.FIRING, incident="c", severity="ticket")
    courier.deliver_due()
    assert mail.said == [("a", Kind.FIRING), ("b", Kind.FIRING)]


def test_only_pages_have_a_fallback(box: Any, courier: Courier, ops: Any, mail: Any) -> None:
    ops.script = [_REFUSED] * 20
    box.put(Kind.FIRING, severity="ticket")
    box.put(Kind.RETRAINING, incident="s", severity="info")
    courier.deliver_due()
    box.clock.now += PATIENCE * 2
    courier.deliver_due()
    assert mail.tried == []


@pytest.mark.parametrize("kind", [Kind.RESOLVED, Kind.ACKNOWLEDGED])
def test_nobody_is_woken_for_what_is_over_or_in_somebodys_hands(
    box: Any, courier: Courier, ops: Any, mail: Any, kind: Kind
) -> None:
    ops.script = [_SILENT] * 20
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.put(kind)
    box.clock.now += PATIENCE
    courier.deliver_due()
    assert mail.tried == []


def test_the_fallback_gets_the_newest_of_what_did_not_arrive(box: Any, courier: Courier, ops: Any, mail: Any) -> None:
    ops.script = [_SILENT] * 20
    box.put(Kind.FIRING)
    courier.deliver_due()
    box.clock.forward(minutes=2)
    box.put(Kind.UPDATED)
    box.clock.forward(minutes=3)
    courier.deliver_due()
    assert mail.said == [("i-1", Kind.UPDATED)]
    tell_all(box, Kind.UPDATED, "2")
    box.clock.forward(minutes=30)
    courier.deliver_due()
    assert mail.said == [("i-1", Kind.UPDATED), ("i-1", Kind.UPDATED)]
    assert len({one.key for one in mail.tried}) == 2


def test_a_fallback_that_was_told_anyway_is_not_told_twice(box: Any, courier: Courier, ops: Any, mail: Any) -> None:
    ops.script = [_SILENT] * 20
    box.put(Kind.FIRING, channels=("ops", "mail"))
    courier.deliver_due()
    box.clock.now += PATIENCE * 2
    courier.deliver_due()
    assert mail.said == [("i-1", Kind.FIRING)]


def test_a_page_that_nobody_tried_yet_goes_to_its_own_channel_first(
    box: Any, courier: Courier, ops: Any, mail: Any
) -> None:
    """A monitor that begins an hour later finds it."""
    box.put(Kind.FIRING)
    box.clock.forward(hours=1)
    courier.deliver_due()
    assert (len(ops.tried), len(mail.tried)) == (1, 0)


def test_channels_that_stand_in_for_each_other_come_to_an_end(box: Any, ops: Any, mail: Any) -> None:
    ops.script, mail.script = [_REFUSED] * 50, [_REFUSED] * 50
    both = {"ops": "mail", "mail": "ops"}
    with Courier(box.history, {"ops": ops, "mail": mail}, fallbacks=both, clock=box.clock) as courier:
        box.put(Kind.FIRING)
        for _ in range(10):
            courier.deliver_due()
            box.clock.now += PATIENCE * 2
    assert len({one.key for one in (*ops.tried, *mail.tried)}) == 2
