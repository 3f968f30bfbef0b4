"""Stores of every release, opened by this one: brought up to date, and everything in them is as it was."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psycopg
import pytest

from featurestore import FeatureStore
from featurestore.cli.app import run
from featurestore.doctor import State, examine
from featurestore.errors import ConfigError, FeatureStoreError
from featurestore.serving.log_tail import LogTail
from featurestore.streaming import quarantine_of
from featurestore.upgrading import State as Format
from featurestore.upgrading import look, upgrade
from featurestore.upgrading.lock import alone
from monitor.history import History
from tests import forking
from tests.golden.opened import FORMATS, names, unpack

_NEWEST = json.loads(FORMATS.read_text())["golden"]
_OLDER = [one for one in names() if one != _NEWEST]


def command(repo: Path, *arguments: str) -> int:
    """Run a command in this process."""
    return run([*arguments, "--repo", str(repo)], debug=False)


@pytest.mark.parametrize("name", names())
def test_a_store_of_a_release_is_brought_up_to_date_and_keeps_what_it_holds(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = unpack(name, tmp_path)
    assert command(tmp_path, "upgrade", "--check") == (0 if name == _NEWEST else 2), capsys.readouterr().out
    assert command(tmp_path, "upgrade", "--yes") == 0
    said = capsys.readouterr().out
    assert ("The registry is upgraded from" in said) is (name != _NEWEST)
    assert ("featurestore backup create" in said) is (name != _NEWEST)
    assert command(tmp_path, "upgrade", "--check") == 0
    assert command(tmp_path, "upgrade") == 0
    assert capsys.readouterr().out.count("nothing to do.\n") == 2

    assert [one for one in examine(tmp_path) if one.state is State.fault] == []
    with FeatureStore(tmp_path) as store:
        found = store.get_online_features(features="churn", entity_rows=[{"user_id": 1, "amount": 5.0}]).to_dict()
        assert {name: values[0] for name, values in found.items() if name != "user_id"} == expected["served"]
        again = store.reproduce_dataset("first")
        assert (again.proved, again.found) == (True, expected["content_hash"])
        assert len(store.registry.audit()) >= expected["audit_entries"]
        assert command(tmp_path, "audit", "verify") == 0
        assert store.quarantined_rows("profile") == expected["quarantined"]
        assert store.predictions("model").num_rows == store.outcomes("model").num_rows == 20
        assert {row["service"] for row in LogTail(store.config.path("data/log")).newest(99)} == {"churn@1"}
        assert [one.poisoned.message.offset for one in quarantine_of(store.config).messages("clicks")] in ([7], [])

        waiting = expected["waiting"]
        assert store.flush_pushes().rows == waiting["rows"]  # exactly once
        assert store.flush_pushes().rows == 0
        (row,) = store.get_online_features(
            features="churn", entity_rows=[{"user_id": waiting["user_id"], "amount": 5.0}]
        ).to_dict()["count"]
        assert row == waiting["count"]
        clicks = store.registry.feature_view("clicks").definition
        assert sum(one.rows_written for one in store.offline.loads(clicks)) == 5
        # A manifest that is written now says what the golden one says, or more.
        rows = store.get_training_dataset("first").to_arrow()
        asked = rows.select(["user_id", "event_timestamp", "amount", "left"])
        second = store.create_training_dataset("second", entity_df=asked, features="churn", label="left")
        assert set(expected["manifest"]) <= set(second.manifest)
        if name == _NEWEST:
            assert sorted(second.manifest) == expected["manifest"]
    assert command(tmp_path, "monitor", "status") == 0
    assert command(tmp_path, "monitor", "run-once") == 0


#: Dies as one that is killed, in the middle of the monitor's steps, after those of the registry.
_KILLED = """
import os, signal
from monitor import migrating
migrating._STEPS = dict(migrating._STEPS) | {3: lambda connection: os.kill(os.getpid(), signal.SIGKILL)}
from featurestore.upgrading import upgrade
upgrade(".")
"""


@pytest.mark.parametrize("name", _OLDER[:1])
def test_an_upgrade_that_was_killed_is_gone_on_with(name: str, tmp_path: Path) -> None:
    expected = unpack(name, tmp_path)
    ran = forking.run([sys.executable, "-c", _KILLED], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == -9, ran.stderr
    left = {one.store: one for one in look(tmp_path)}
    assert left["registry"].state is Format.current
    assert (left["monitor"].state, left["monitor"].found) == (Format.behind, expected["formats"]["monitor"])
    changed: list[str] = []
    done = upgrade(tmp_path, told=lambda before, _: changed.append(before.store))
    assert changed == ["monitor"]
    assert not {Format.behind, Format.fault} & {one.state for one in done}


@pytest.mark.parametrize("name", _OLDER[:1])
def test_one_upgrade_works_at_a_time_and_looking_changes_nothing(name: str, tmp_path: Path) -> None:
    unpack(name, tmp_path)
    before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    found = look(tmp_path)
    with FeatureStore(tmp_path) as store, alone(store.config), pytest.raises(ConfigError, match="Another process"):
        upgrade(tmp_path)
    after = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
    # The environment's own file of readers; and the lock, which stays.
    assert {one.name for one in after if after[one] != before.get(one)} <= {"lock.mdb", "upgrade.lock"}
    assert look(tmp_path) == found


def test_on_a_server_others_decide_when_and_one_host_upgrades_at_a_time(tmp_path: Path, postgresql: str) -> None:
    url = postgresql.replace("://", "+psycopg://")
    hosts = []
    for name in ("one", "two"):
        repo = tmp_path / name
        repo.mkdir()
        settings = f'registry = "{url}"\n\n[monitor]\ndatabase = "{url}"\n'
        (repo / "featurestore.toml").write_text(settings)
        hosts.append(repo)
    with FeatureStore(hosts[0]) as store, History(url):
        store.registry.list()
        assert [one.state for one in look(hosts[0]) if one.store in ("registry", "monitor")] == [Format.current] * 2
        with alone(store.config), pytest.raises(ConfigError, match="Another process"):
            upgrade(hosts[1])
    assert upgrade(hosts[1])
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("UPDATE meta SET value = '3' WHERE key IN ('schema_version', 'readable_from')")
        connection.execute("UPDATE registry_revision SET version_num = '0004', readable_from = '0004'")
    for opened in (lambda: History(url), lambda: FeatureStore(hosts[0]).registry):
        with pytest.raises(FeatureStoreError, match=r"of an older release; this one, .*, needs") as raised:
            opened()
        assert raised.value.hint.startswith("Bring it up to date first: featurestore upgrade")
    found = {one.store: one.state for one in look(hosts[0])}
    assert (found["registry"], found["monitor"], found["tables"]) == (Format.behind, Format.behind, Format.unseen)


def test_where_nothing_is_yet_nothing_is_to_be_done(tmp_path: Path) -> None:
    FeatureStore.init(tmp_path / "shop").close()
    assert {one.state for one in look(tmp_path / "shop")} == {Format.absent}
    assert {one.state for one in upgrade(tmp_path / "shop")} == {Format.absent}
    assert not (tmp_path / "shop/data/registry.db").exists()
