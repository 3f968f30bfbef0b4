"""The command for a person's right: what it prints, and what it refuses without showing a key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

DAY = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def shop(command: Any) -> Any:
    """A shop with three users."""
    command("apply")
    rows = "".join(f"{user},{user}.5,1,{DAY}\n" for user in (17, 18, 19))
    (command.folder / "rows.csv").write_text("user_id,total,orders,event_timestamp\n" + rows)
    assert command("ingest", "spending", str(command.folder / "rows.csv")).code == 0
    return command


def test_a_dry_run_tells_and_an_erasure_does(shop: Any) -> None:
    told = shop("erase", "user", "--key", "user_id=17", "--request", "GDPR-1", "--dry-run")
    assert told.code == 0
    assert "user, 1 key, request GDPR-1: 1 row would be erased" in told.out
    assert "Nothing was changed." in told.out
    done = shop("erase", "user", "--key", "user_id=17", "--request", "GDPR-1", "--yes")
    assert done.code == 0
    assert "user, 1 key, request GDPR-1: 1 row erased" in done.out
    assert "offline tables" in done.out
    assert "not reached: Backups have the rows still" in done.out
    assert "not reached: Files that --out and .write() made may have the rows" in done.out
    assert "not reached: Requests that still ask for a key are logged again" in done.out
    assert "not reached: Models" not in done.out
    again = json.loads(
        shop("erase", "user", "--key", "user_id=17", "--request", "GDPR-1", "--yes", "--format", "json").out
    )
    assert (again["rows"], again["finished"], again["suppressed"]) == (0, True, 0)
    said = shop("ingest", "spending", str(shop.folder / "rows.csv"), "--load-id", "again")
    assert "1 of erased keys dropped" in said.out
    entries = json.loads(shop("audit", "--action", "erase", "--format", "json").out)
    assert [one["details"]["change"] for one in entries] == ["suppress", "erase", "erase"]
    assert not [one for one in entries if "17" in json.dumps(one["details"])]


def test_the_paths_of_sources_that_are_not_reached_are_named(shop: Any) -> None:
    shop.define(
        lambda text: text.replace("FeatureView, Field", "FeatureView, Field, FileSource").replace(
            'name="spending",', 'name="spending", source=FileSource(name="orders", path="orders.csv"),'
        )
    )
    assert shop("apply").code == 0
    told = ("erase", "user", "--key", "user_id=17", "--request", "R", "--dry-run")
    assert 'not reached: The source of view "spending" may have the rows (orders.csv)' in shop(*told).out
    settings = shop.folder / "featurestore.toml"
    settings.write_text(settings.read_text() + '\n[sources.orders]\npath = "/mnt/orders.csv"\n')
    assert 'view "spending" may have the rows (/mnt/orders.csv)' in shop(*told).out


def test_without_a_terminal_nothing_is_erased_unless_yes_is_given(shop: Any) -> None:
    said = shop("erase", "user", "--key", "user_id=17", "--request", "R")
    assert said.code == 1
    assert "1 row would be erased" in said.out
    assert '"Erase these rows for good?" cannot be asked where there is no terminal' in said.err
    assert "--yes" in said.err
    assert json.loads(shop("audit", "--action", "erase", "--format", "json").out) == []
    assert "1 row would be" in shop("erase", "user", "--key", "user_id=17", "--request", "R", "--dry-run").out


def test_a_file_names_many_and_lifting_lets_them_in_again(shop: Any) -> None:
    (shop.folder / "keys.csv").write_text("user_id\n17\n18\n")
    keys = ("--keys-file", str(shop.folder / "keys.csv"))
    assert "user, 2 keys, request R: 2 rows erased" in shop("erase", "user", *keys, "--request", "R", "--yes").out
    lifted = shop("erase", "user", *keys, "--request", "R2", "--lift")
    assert "2 of 2 keys were kept out" in lifted.out
    assert "3 rows written" in shop("ingest", "spending", str(shop.folder / "rows.csv"), "--load-id", "again").out


def test_backups_that_are_configured_are_named(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "backup-monday").mkdir()
    toml = shop.folder / "featurestore.toml"
    toml.write_text(toml.read_text() + f'\n[erasure]\nbackups = ["{tmp_path}/backup-*"]\n')
    done = shop("erase", "user", "--key", "user_id=17", "--request", "R", "--dry-run")
    assert f"The backup {tmp_path}/backup-monday has the rows still" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("user", "--request", "R"), "Name the keys"),
        (("user", "--key", "secret-17", "--request", "R"), "not of the form NAME=VALUE"),
        (("user", "--key", "user_id=secret-17", "--request", "R"), "not Int64"),
        (("user", "--key", "user_id=1", "--key", "user_id=2", "--request", "R"), "twice"),
        (("user", "--key", "name=secret-17", "--request", "R"), 'has no "name"'),
        (("user", "--key", "user_id=17", "--request", " "), "no request"),
        (("customer", "--key", "user_id=17", "--request", "R"), 'There is no entity "customer"'),
        (("user", "--keys-file", "no.csv", "--request", "R"), "There is no file"),
        (("user", "--key", "user_id=17", "--request", "R", "--lift", "--dry-run"), "nothing to try"),
    ],
)
def test_a_mistake_is_one_line_that_shows_no_key(shop: Any, arguments: tuple[str, ...], message: str) -> None:
    said = shop("erase", *arguments)
    assert said.code == 1
    assert message in said.err
    assert "secret-17" not in said.err
    assert "Traceback" not in said.err
