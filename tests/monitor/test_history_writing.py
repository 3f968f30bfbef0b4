"""Rows by their key, and one writer at a time, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from featurestore.errors import LeadershipLostError
from monitor.history import History
from monitor.history.upserting import add, put
from monitor.schema import meta, receivers
from tests import backends


@pytest.fixture(params=backends.params("monitor", "sqlite", "postgresql"))
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[History]:
    url = f"sqlite:///{tmp_path}/monitor.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").replace("postgresql://", "postgresql+psycopg://")
    with History(url) as opened:
        yield opened


def test_a_row_is_put_over_the_one_of_its_key_and_added_only_where_there_is_none(history: History) -> None:
    with history.write() as connection:
        put(connection, receivers, {"channel": "ops"}, {"disabled_at": 1, "reason": "410", "resume_at": 0})
        put(connection, receivers, {"channel": "ops"}, {"disabled_at": None, "reason": "429", "resume_at": 5})
        assert add(connection, meta, {"key": "fact", "value": "1"}) is True
        assert add(connection, meta, {"key": "fact", "value": "2"}) is False
    with history.read() as connection:
        assert connection.execute(select(receivers)).all() == [("ops", None, "429", 5)]
        assert connection.execute(select(meta.c.value).where(meta.c.key == "fact")).scalar_one() == "1"


def test_what_a_writer_has_read_is_still_so_when_it_writes(history: History) -> None:
    """Eight threads add 1 twenty times each, by reading and then writing."""
    with history.write() as connection:
        add(connection, meta, {"key": "count", "value": "0"})

    def count() -> None:
        for _ in range(20):
            with history.write() as connection:
                found = connection.execute(select(meta.c.value).where(meta.c.key == "count")).scalar_one()
                put(connection, meta, {"key": "count"}, {"value": str(int(found) + 1)})

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with history.read() as connection:
        assert connection.execute(select(meta.c.value).where(meta.c.key == "count")).scalar_one() == "160"


def test_readers_do_not_wait_for_who_writes(history: History) -> None:
    with history.write() as writer:
        put(writer, meta, {"key": "fact"}, {"value": "1"})
        started = time.monotonic()
        with history.read() as reader:
            assert reader.execute(select(meta.c.value).where(meta.c.key == "fact")).scalar() is None
        assert time.monotonic() - started < 30


def test_who_is_fenced_off_writes_nothing(history: History) -> None:
    def refuse(_: object) -> None:
        raise LeadershipLostError("Another monitor has taken over.")

    history.fence = refuse
    with pytest.raises(LeadershipLostError), history.write() as connection:
        put(connection, meta, {"key": "fact"}, {"value": "1"})
    history.fence = None
    with history.read() as connection:
        assert connection.execute(select(meta.c.value).where(meta.c.key == "fact")).scalar() is None
