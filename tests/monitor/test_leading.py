"""One leads, the next one takes over when it is gone, and who was only stopped finds itself fenced off."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select

from featurestore.errors import LeadershipLostError, MonitorError
from monitor.history import History
from monitor.history.upserting import put
from monitor.leading import next_monitor, sole_monitor
from monitor.lease import Lease
from monitor.schema import meta
from tests import backends
from tests.forking import Forked

#: Long enough for a busy machine to renew it in time.
_SECONDS = 2.0
#: Of one that is to run out.
_SHORT = 1.5

Opened = Callable[[], History]


@pytest.fixture(params=backends.params("monitor", "sqlite", "postgresql"))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        found: str = request.getfixturevalue("postgresql")
        return found.replace("postgresql://", "postgresql+psycopg://")
    return f"sqlite:///{tmp_path}/monitor.db"


@pytest.fixture
def shared(postgresql: str) -> str:
    return postgresql.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def opened() -> Iterator[Callable[[str], History]]:
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(History(url))


def test_a_second_monitor_is_refused_and_told_who_works(url: str, opened: Callable[[str], History]) -> None:
    one, other = opened(url), opened(url)
    with sole_monitor(one) as lead:
        assert lead.valid()
        with pytest.raises(MonitorError, match=f"Another monitor .*{os.getpid()}"), sole_monitor(other):
            pytest.fail("it took over")
    with sole_monitor(other) as lead:
        assert lead.valid()


def test_who_stands_by_takes_over_at_once_from_one_that_ends_well(
    url: str, opened: Callable[[str], History], wait_for: Callable[..., None]
) -> None:
    one, other = opened(url), opened(url)
    stop, waited, leads = threading.Event(), [], threading.Event()

    def stand_by() -> None:
        with next_monitor(other, stop=stop, waiting=waited.append, lease_seconds=600) as lead:
            if lead is not None:
                leads.set()

    thread = threading.Thread(target=stand_by)
    with sole_monitor(one, lease_seconds=600):
        thread.start()
        wait_for(lambda: bool(waited))
        assert not leads.wait(0.5)
    assert leads.wait(30)
    thread.join()
    assert len(waited) == 1
    assert str(os.getpid()) in waited[0]


def test_the_waiting_can_be_ended(url: str, opened: Callable[[str], History]) -> None:
    one, other = opened(url), opened(url)
    stop = threading.Event()
    stop.set()
    with sole_monitor(one), next_monitor(other, stop=stop, waiting=lambda _: None) as lead:
        assert lead is None


def test_only_the_leader_is_fenced_and_commands_write_beside_it(url: str, opened: Callable[[str], History]) -> None:
    one, command = opened(url), opened(url)
    with sole_monitor(one):
        for history in (one, command):
            with history.write() as connection:
                put(connection, meta, {"key": "fact"}, {"value": "1"})
    assert one.fence is None


def test_a_lease_lasts_while_its_holder_lives(shared: str, opened: Callable[[str], History]) -> None:
    one, other = Lease(opened(shared), seconds=_SECONDS), Lease(opened(shared), seconds=_SECONDS)
    assert one.take()
    deadline = time.monotonic() + 1.7 * _SECONDS
    while time.monotonic() < deadline:
        assert not other.take()
        assert one.valid()
        time.sleep(0.1)
    one.close()
    assert other.take()
    assert not one.valid()
    other.close()


def test_of_many_that_want_it_one_gets_it(shared: str, opened: Callable[[str], History]) -> None:
    leases = [Lease(opened(shared), seconds=_SECONDS) for _ in range(6)]
    got: list[bool] = []
    threads = [threading.Thread(target=lambda lease=lease: got.append(lease.take())) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 5 + [True]
    for lease in leases:
        lease.close()


_HOLDER = textwrap.dedent(
    """
    import sys, threading
    from monitor.history import History
    from monitor.history.upserting import put
    from monitor.lease import Lease
    from monitor.schema import meta
    from featurestore.errors import LeadershipLostError, MonitorError
    url, seconds, how = sys.argv[1:]
    with History(url) as history:
        lease = Lease(history, seconds=float(seconds))
        assert lease.take()
        history.fence = lease.fence
        try:
            with history.write() as connection:
                put(connection, meta, {"key": "fact"}, {"value": "old"})
                if how == "in a transaction":
                    print("ready", flush=True)
                    sys.stdin.readline()
            print("ready", flush=True)
            sys.stdin.readline()
            print("valid" if lease.valid() else "not valid", flush=True)
            with history.write() as connection:
                put(connection, meta, {"key": "fact"}, {"value": "old again"})
            print("wrote", flush=True)
        except LeadershipLostError as error:
            print("fenced", lease.lost(), flush=True)
        except MonitorError as error:
            print("broken", flush=True)
    """
)


@pytest.fixture
def holder(shared: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that has the lease."""
    started: list[subprocess.Popen[str]] = []

    def begin(how: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _HOLDER, shared, str(_SHORT), how]
        process = Forked(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _taken(lease: Lease) -> float:
    """Take the lease as soon as it goes, and return how long that took."""
    began = time.monotonic()
    while not lease.take():
        assert time.monotonic() - began < 60
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.parametrize("how", ["between", "in a transaction"])
def test_killed_it_is_followed_within_the_lease(
    shared: str, opened: Callable[[str], History], holder: Callable[..., subprocess.Popen[str]], how: str
) -> None:
    lease = Lease(opened(shared), seconds=_SHORT)
    process = holder(how)
    process.kill()
    assert _taken(lease) < _SHORT + 5
    lease.close()


@pytest.mark.parametrize("how", ["between", "in a transaction"])
def test_stopped_it_is_followed_within_the_lease_and_writes_nothing_when_it_goes_on(
    shared: str, opened: Callable[[str], History], holder: Callable[..., subprocess.Popen[str]], how: str
) -> None:
    history = opened(shared)
    lease = Lease(history, seconds=_SHORT)
    process = holder(how)
    os.kill(process.pid, signal.SIGSTOP)
    assert _taken(lease) < _SHORT + 5
    history.fence = lease.fence
    with history.write() as connection:
        put(connection, meta, {"key": "fact"}, {"value": "new"})
    os.kill(process.pid, signal.SIGCONT)
    said, _ = process.communicate("\n\n", timeout=60)
    # In the middle of a transaction the server has ended it; what it wrote is taken back.
    assert said.split("\n")[:-1] == (["not valid", "fenced True"] if how == "between" else ["broken"])
    with history.read() as connection:
        assert connection.execute(select(meta.c.value).where(meta.c.key == "fact")).scalar_one() == "new"
    history.fence = None
    lease.close()


def test_a_transaction_of_the_leader_is_waited_for(shared: str, opened: Callable[[str], History]) -> None:
    """It has begun in the leader's term, and ends in it: its lease is renewed beside it."""
    history = opened(shared)
    one, other = Lease(history, seconds=_SECONDS), Lease(opened(shared), seconds=_SECONDS)
    assert one.take()
    history.fence = one.fence
    with history.write() as connection:
        put(connection, meta, {"key": "fact"}, {"value": "1"})
        deadline = time.monotonic() + 1.5 * _SECONDS
        while time.monotonic() < deadline:
            assert not other.take()
            time.sleep(0.1)
    assert one.valid()
    history.fence = None
    one.close()


def test_an_old_term_is_refused_by_the_database(shared: str, opened: Callable[[str], History]) -> None:
    history = opened(shared)
    one, other = Lease(history, seconds=_SECONDS), Lease(opened(shared), seconds=_SECONDS)
    assert one.take()
    one.close()
    assert other.take()
    history.fence = one.fence
    with pytest.raises(LeadershipLostError, match="taken over"), history.write():
        pytest.fail("it writes")
    assert one.lost()
    other.close()
