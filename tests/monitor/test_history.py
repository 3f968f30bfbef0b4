"""The monitor's database: what it keeps, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import select, update

from featurestore.errors import MonitorError
from monitor import schema
from monitor.alerts.states import Alert, State
from monitor.history import Check, Detector, History, JudgedWindow, Standing, Watch
from monitor.windows import Position
from tests.forking import Forked

_START = datetime(2013, 7, 1, tzinfo=UTC)
_WATCH = Watch(policy="drift", policy_version=1, service="f@1")


def _window(number: int, *, baseline: str = "d@1", rows: int = 10) -> JudgedWindow:
    start = _START + timedelta(hours=number)
    return JudgedWindow(
        begin=Position(start),
        stop=Position(start + timedelta(hours=1)),
        end=start + timedelta(hours=1),
        baseline=baseline,
        rows=rows,
        profile=pa.table({"n": [number]}).replace_schema_metadata({"layout": "1"}),
        verdict="ok",
        decision={"evidence": None},
    )


def _fire(history: History) -> None:
    with history.write() as connection:
        history.save_alert(connection, _WATCH, "drift", Alert(key="k", state=State.FIRING, episode=1))
        history.record(connection, _WATCH, _window(0), now=_START)


def test_what_is_kept_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/deep/monitor.db"
    detector = Detector(baseline="d@1", state={"x": [1.5, None]})
    standing = Standing(baseline="d@1", position=Position(_START, 3))
    alert = Alert(key="k", state=State.FIRING, episode=2, onset=_START, span=3, held=2, quiet=1)
    with History(url) as history, history.write() as connection:
        assert history.detector(connection, _WATCH, "features") is None
        assert history.standing(connection, _WATCH) is None
        assert history.alert(connection, "k") == Alert(key="k")
        history.save_standing(connection, _WATCH, Standing(baseline="", position=None))
        history.save_standing(connection, _WATCH, standing)
        history.save_detector(connection, _WATCH, "features", Detector(baseline="", state={}))
        history.save_detector(connection, _WATCH, "features", detector)
        history.save_alert(connection, _WATCH, "drift", alert)
        history.record(connection, _WATCH, _window(0), now=_START)
        instance = history.instance
    with History(url) as history, history.read() as connection:
        assert history.instance == instance
        assert history.detector(connection, _WATCH, "features") == detector
        assert history.detector(connection, replace(_WATCH, slice="a=1"), "features") is None
        assert history.standing(connection, _WATCH) == standing
        assert history.alerts(connection, _WATCH) == {"drift": alert}
        assert history.alerts(connection, replace(_WATCH, slice="a=1")) == {}
        assert history.alert(connection, "k") == alert
        (profile,) = history.profiles(connection, _WATCH, "d@1")
        assert profile.equals(_window(0).profile, check_metadata=True)


def test_profiles_come_newest_first_and_of_one_baseline_only(tmp_path: Path) -> None:
    with History(f"sqlite:///{tmp_path}/monitor.db") as history:
        with history.write() as connection:
            for number in range(5):
                history.record(connection, _WATCH, _window(number, baseline=f"d@{1 + number // 3}"), now=_START)
        with history.read() as connection:

            def numbers(baseline: str, **which: object) -> list[int]:
                found = history.profiles(connection, _WATCH, baseline, **which)  # type: ignore[arg-type]
                return [table.column("n")[0].as_py() for table in found]

            assert numbers("d@1") == [2, 1, 0]
            assert numbers("d@1", since=_START + timedelta(hours=1)) == [2, 1]
            assert numbers("d@1", last=1) == [2]
            assert numbers("d@1", last=0) == []
            assert numbers("d@2") == [4, 3]
            assert history.rows_since(connection, _WATCH, _START + timedelta(hours=3)) == 20
            assert history.first_start(connection, _WATCH) == _START


def test_a_window_cannot_be_recorded_twice_and_takes_back_all_that_came_with_it(tmp_path: Path) -> None:
    with History(f"sqlite:///{tmp_path}/monitor.db") as history:
        with history.write() as connection:
            history.record(connection, _WATCH, _window(0), now=_START)
        with pytest.raises(MonitorError, match=r"monitor\.db"):
            _fire(history)
        with history.read() as connection:
            assert history.alert(connection, "k").state is State.OK


def test_the_ledger_of_several_versions_of_a_policy_has_each_window_once(tmp_path: Path) -> None:
    newer = replace(_WATCH, policy_version=2)
    with History(f"sqlite:///{tmp_path}/monitor.db") as history, history.write() as connection:
        for number in range(4):
            history.record(connection, _WATCH, _window(number), now=_START)
        history.record(connection, newer, replace(_window(3), verdict="drift"), now=_START)
        history.record(connection, newer, _window(4), now=_START)
        history.record(connection, replace(newer, slice="a=1"), _window(4), now=_START)
        found = list(history.ledger(connection, replace(_WATCH, policy_version=0)))
        assert [(one.begin.instant.hour, one.verdict) for one in found] == [
            (0, "ok"),
            (1, "ok"),
            (2, "ok"),
            (3, "drift"),
            (4, "ok"),
        ]
        since = _START + timedelta(hours=1)
        assert len(list(history.ledger(connection, _WATCH, since=since, until=since + timedelta(hours=2)))) == 2
        assert [one.slice for one in history.watched(connection, "drift")] == ["", "a=1"]
        assert history.counts(connection, _WATCH, since=since) == [
            (_START + timedelta(hours=number), 10) for number in range(1, 5)
        ]


def test_windows_of_one_instant_are_told_apart_by_their_place(tmp_path: Path) -> None:
    with History(f"sqlite:///{tmp_path}/monitor.db") as history, history.write() as connection:
        for offset in (0, 5):
            one = replace(_window(offset), begin=Position(_START, offset), stop=Position(_START, offset + 5))
            history.record(connection, _WATCH, one, now=_START)
        assert len(list(history.ledger(connection, _WATCH))) == 2
        (earlier,) = history.profiles(connection, _WATCH, "d@1", before=Position(_START, 5))
        assert earlier.column("n")[0].as_py() == 0
        history.note_late_rows(connection, _WATCH, Position(_START, 5), 7)
        history.note_late_rows(connection, _WATCH, Position(_START, 5), 3)
        assert [one.late_rows for one in history.ledger(connection, _WATCH)] == [0, 7]


def test_a_check_looks_at_an_instant_once(tmp_path: Path) -> None:
    check = Check(subject="quality", at=_START, verdict="drift", findings=[{"rule": "volume_drop"}])
    with History(f"sqlite:///{tmp_path}/monitor.db") as history:
        with history.write() as connection:
            assert history.checked_until(connection, _WATCH, "quality") is None
            history.record_check(connection, _WATCH, check, now=_START)
            assert history.checked_until(connection, _WATCH, "quality") == _START
            assert history.checked_until(connection, _WATCH, "skew") is None
            assert history.checks(connection, "drift") == [("f@1", check)]
        with pytest.raises(MonitorError, match=r"monitor\.db"), history.write() as connection:
            history.record_check(connection, _WATCH, check, now=_START)


def test_a_new_version_of_a_policy_resumes_where_the_old_one_stood(tmp_path: Path) -> None:
    newer = Watch(policy="drift", policy_version=2, service="f@1")
    with History(f"sqlite:///{tmp_path}/monitor.db") as history, history.write() as connection:
        assert history.resume_from(connection, newer) is None
        history.save_standing(connection, _WATCH, Standing(baseline="d@1", position=Position(_START, 2)))
        assert history.resume_from(connection, newer) == Position(_START, 2)
        assert history.resume_from(connection, Watch(policy="drift", policy_version=2, service="f@2")) is None


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/monitor.db"
    with History(url) as history, history.write() as connection:
        for key, value in {"schema_version": "99", "readable_from": "98", "release": "9.0.0"}.items():
            connection.execute(update(schema.meta).where(schema.meta.c.key == key).values(value=value))
    with pytest.raises(MonitorError, match=r"has format 99, of release 9\.0\.0; this one, ") as raised:
        History(url)
    assert raised.value.hint == "Upgrade the featurestore package here to 9.0.0, or a later one."


@pytest.mark.parametrize("url", ["", "mysql://host/db", "sqlite://", "monitor.db"])
def test_a_url_that_is_none_of_sqlite_is_refused_with_a_hint(url: str) -> None:
    with pytest.raises(MonitorError) as raised:
        History(url)
    assert "sqlite:///data/monitor.db" in raised.value.hint


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    file = tmp_path / "monitor.db"
    file.write_text("not a database, but long enough to look at" * 20)
    with pytest.raises(MonitorError, match=r"monitor\.db cannot be"):
        History(f"sqlite:///{file}")


def test_processes_that_open_a_new_database_at_once_agree_on_it(database: str) -> None:
    code = "import sys; from monitor.history import History; print(History(sys.argv[1]).instance)"
    command = [sys.executable, "-c", code, database]
    started = [Forked(command, stdout=subprocess.PIPE, text=True) for _ in "12"]
    names = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(names) == 1
    assert all(process.returncode == 0 for process in started)
    with History(database) as history, history.read() as connection:
        assert len(connection.execute(select(schema.meta)).all()) == 4
        if history.path is not None:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
