"""A share of the processor."""

from __future__ import annotations

from monitor.pace import Pace


class Machine:
    """A clock and a processor that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 7.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return False


def test_who_has_used_more_than_the_share_waits_until_it_is_the_share() -> None:
    machine = Machine()
    pace = Pace(0.25, clock=lambda: machine.now, used=lambda: machine.used)
    machine.now, machine.used = 101.0, 8.0
    assert pace.owed == 3.0
    assert pace.keep(machine.wait) is False
    assert machine.now == 104.0
    assert max(machine.waits) <= 0.5
    assert pace.owed == 0.0


def test_who_keeps_to_the_share_does_not_wait() -> None:
    machine = Machine()
    pace = Pace(1.0, clock=lambda: machine.now, used=lambda: machine.used)
    machine.now, machine.used = 101.0, 8.0
    pace.keep(machine.wait)
    assert machine.waits == []


def test_a_wait_ends_when_told() -> None:
    machine = Machine()
    pace = Pace(0.01, clock=lambda: machine.now, used=lambda: machine.used)
    machine.used = 107.0
    assert pace.keep(lambda _: True) is True
