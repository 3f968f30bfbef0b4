"""Ports that another process has are served as soon as it lets go, and nothing waits for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from featurestore.errors import AddressInUseError, ConfigError
from monitor.ports import Ports


class _Port:
    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.closed = False

    def __call__(self) -> _Port:
        error = self.answers.pop(0)
        if error is not None:
            raise error
        return self

    def close(self) -> None:
        self.closed = True


def _steps(*instants: float) -> Callable[[], float]:
    return iter(instants).__next__


def test_one_that_is_taken_is_said_once_and_opened_when_it_is_free() -> None:
    taken = AddressInUseError("Another process listens on 127.0.0.1:9090.")
    metrics, signals = _Port(taken, taken, None), _Port(None)
    clock = _steps(0.0, 1.0, 2.0, 2.0, 4.0, 4.0)
    with capture_logs() as said, Ports({"metrics": metrics, "signals": signals}, clock=clock) as ports:
        ports.open()  # too soon
        assert len(metrics.answers) == 2
        ports.open()
        ports.open()
        ports.open()  # nothing is left to open
    assert [one["event"] for one in said] == ["port for metrics is taken", "port for metrics is served now"]
    assert metrics.closed
    assert signals.closed


def test_where_no_port_is_named_there_is_none() -> None:
    with Ports({"metrics": lambda: None}) as ports:
        ports.open()


def test_what_no_waiting_mends_is_an_error_and_leaves_no_port() -> None:
    metrics = _Port(None)
    with pytest.raises(ConfigError), Ports({"metrics": metrics, "signals": _Port(ConfigError("no certificate"))}):
        pytest.fail("it was opened")
    assert metrics.closed
