"""Ctrl-C ends a query at once, whatever it does, and means what it meant before when the query is over."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from featurestore.errors import OfflineStoreError
from featurestore.offline.engine import connect
from featurestore.settings.sections import OfflineConfig

#: Hours of work.
ENDLESS = "SELECT count(*) FROM range(1000000000000000)"
#: Long enough for a slow machine, short enough for whoever waits for a red test.
PATIENCE_SECONDS = 60.0

Query = Callable[[duckdb.DuckDBPyConnection], object]


def _read(connection: duckdb.DuckDBPyConnection) -> object:
    return list(connection.sql(ENDLESS).to_arrow_reader(1))


def _fetch(connection: duckdb.DuckDBPyConnection) -> object:
    return connection.sql(ENDLESS).fetchall()


def _create(connection: duckdb.DuckDBPyConnection) -> object:
    return connection.execute(f"CREATE TABLE counted AS {ENDLESS}")


def _ask(query: Query, outer: duckdb.DuckDBPyConnection, *, nested: bool, spill: Path) -> None:
    with connect(OfflineConfig(), spill, "Counting within") as inner:
        query(inner if nested else outer)


def _press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("query", [_read, _fetch, _create])
@pytest.mark.parametrize("nested", [False, True])
def test_ctrl_c_ends_a_query(query: Query, nested: bool, tmp_path: Path) -> None:
    given_up = threading.Event()
    with connect(OfflineConfig(), tmp_path, "Counting") as outer:

        def give_up() -> None:
            given_up.set()
            outer.interrupt()

        pressing, giving_up = threading.Timer(0.5, _press), threading.Timer(PATIENCE_SECONDS, give_up)
        pressing.start()
        giving_up.start()
        with pytest.raises(KeyboardInterrupt):
            _ask(query, outer, nested=nested, spill=tmp_path)
        giving_up.cancel()
        assert outer.sql("SELECT 1").fetchall() == [(1,)]  # and the connection goes on
    assert not given_up.is_set()


def test_who_was_told_of_signals_before_is_told_still(tmp_path: Path) -> None:
    heard, written = socket.socketpair()
    written.setblocking(False)
    with heard, written:
        before = signal.set_wakeup_fd(written.fileno())
        try:
            pressing = threading.Timer(0.5, _press)
            pressing.start()
            with pytest.raises(KeyboardInterrupt), connect(OfflineConfig(), tmp_path, "Counting") as connection:
                _create(connection)
            assert heard.recv(8) == bytes([signal.SIGINT])
        finally:
            assert signal.set_wakeup_fd(before) == written.fileno()


def test_a_loop_that_has_gone_without_a_word_stands_in_no_way(tmp_path: Path) -> None:
    heard, written = socket.socketpair()
    written.setblocking(False)
    before = signal.set_wakeup_fd(written.fileno())
    heard.close()
    written.close()
    try:
        pressing = threading.Timer(0.5, _press)
        pressing.start()
        with pytest.raises(KeyboardInterrupt), connect(OfflineConfig(), tmp_path, "Counting") as connection:
            _create(connection)
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(before)


def test_another_s_handler_is_left_in_its_place(tmp_path: Path) -> None:
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        with connect(OfflineConfig(), tmp_path, "Counting") as connection:
            _press()
            assert connection.sql("SELECT 1").fetchall() == [(1,)]
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_a_query_in_another_thread_is_not_ended_by_ctrl_c(tmp_path: Path) -> None:
    found: list[object] = []

    def work() -> None:
        with connect(OfflineConfig(), tmp_path, "Counting") as connection:
            found.extend(connection.sql("SELECT count(*) FROM range(100000000)").fetchall())

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _press()
    thread.join()
    assert found == [(100_000_000,)]


def test_an_error_of_a_query_stays_one(tmp_path: Path) -> None:
    with (
        pytest.raises(OfflineStoreError, match=r"Counting failed: .*nowhere"),
        connect(OfflineConfig(), tmp_path, "Counting") as connection,
    ):
        connection.sql("SELECT * FROM nowhere")
