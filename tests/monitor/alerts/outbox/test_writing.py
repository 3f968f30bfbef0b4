"""Messages are written with what they tell of, once, and never without it."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.alerts.base import Kind
from monitor.alerts.outbox import told


def test_the_same_message_is_written_once(box: Any) -> None:
    assert box.put(Kind.FIRING, channels=("ops", "log")) == [True, True]
    assert box.put(Kind.FIRING, channels=("ops", "log")) == [False, False]
    assert box.put(Kind.UPDATED) == [True]
    assert box.put(Kind.FIRING, sequence="2") == [True]
    keys = [one.key for one in box.entries()]
    assert len(set(keys)) == len(keys) == 4


def test_told_names_the_channels_of_an_incident_the_first_one_first(box: Any) -> None:
    box.put(Kind.FIRING, channels=("ops", "log"))
    box.put(Kind.UPDATED, channels=("boss", "log"))
    box.put(Kind.FIRING, incident="i-2", channels=("log",))
    box.put(Kind.RETRAINING, incident="i-1", channels=("hook",))
    with box.history.read() as connection:
        assert told(connection, "i-1") == ["ops", "log", "boss"]
        assert told(connection, "i-2") == ["log"]
        assert told(connection, "i-3") == []


def test_a_message_is_taken_back_with_the_transaction_that_wrote_it(box: Any) -> None:
    def fail() -> None:
        with box.history.write() as connection:
            box.put_in(connection, Kind.FIRING)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert box.counted() == {"pending": 0, "delivered": 0, "dead": 0, "overtaken": 0}
