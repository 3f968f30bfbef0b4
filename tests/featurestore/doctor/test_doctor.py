"""The doctor says of each thing what is wrong and what to do, changes nothing, and one fault hides no other."""

from __future__ import annotations

import json
import re
import socket
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.definitions import storage_id
from featurestore.doctor import Finding, Patient, State, examine, well
from featurestore.doctor.extras import NEEDS
from featurestore.doctor.probes import PROBES
from featurestore.errors import RegistryError
from featurestore.online.keys import KeyLayout
from featurestore.types import Int64

ROOT = Path(__file__).parent.parent.parent.parent
VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="seen", dtype=Int64)],
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    with FeatureStore.init(folder, project="shop") as store:
        store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
        load(store)
        store.materialize("clicks")
    settings = folder / "featurestore.toml"
    settings.write_text(settings.read_text().replace("port = 6566", f"port = {free_port()}"))
    return folder


def load(store: FeatureStore) -> None:
    store.ingest("clicks", [{"user_id": 1, "seen": 1, "event_timestamp": datetime.now(UTC) - timedelta(hours=1)}])


def add(shop: Path, text: str) -> None:
    with (shop / "featurestore.toml").open("a") as file:
        file.write(text)


def found(shop: Path, *probes: str, **settings: Any) -> dict[str, Finding]:
    wanted = {name: PROBES[name] for name in probes} if probes else None
    return {one.about: one for one in examine(shop, probes=wanted, **settings)}


def bytes_of(shop: Path) -> dict[Path, bytes]:
    """Return what the files of definitions and tables hold; the online store's own say when they were last read."""
    kept = (one for one in shop.rglob("*") if one.is_file() and "online" not in one.parts and ".db-" not in one.name)
    return {one: one.read_bytes() for one in kept}


def test_a_store_that_is_well_is_told_so_and_left_as_it_is(shop: Path) -> None:
    with FeatureStore(shop) as store:
        held = store.online.status()
    before = bytes_of(shop)
    said = found(shop)
    assert {one.state for one in said.values()} == {State.well}, said
    assert {"configuration", "secrets", "registry", "online store", "offline tables", "materialization"} <= set(said)
    assert bytes_of(shop) == before
    with FeatureStore(shop) as store:
        after = store.online.status()
    assert {name: one for name, one in after.items() if one.rows} == held


def test_a_folder_in_which_nothing_was_done_yet_has_warnings_and_nothing_is_made(tmp_path: Path) -> None:
    with FeatureStore.init(tmp_path / "new"):
        pass
    said = found(tmp_path / "new", "registry", "online store", "offline tables", "materialization", "clock")
    assert said["registry"].hint == "featurestore apply makes it."
    assert said["online store"].hint == "featurestore materialize makes it."
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["featurestore.toml"]
    (only,) = found(tmp_path / "none").values()
    assert (only.about, only.state) == ("configuration", State.fault)


def test_each_fault_is_told_beside_the_others(shop: Path) -> None:
    port = re.search(r"port = (\d+)", (shop / "featurestore.toml").read_text())
    assert port
    with FeatureStore(shop) as store:
        load(store)
        store.push("clicks", [{"user_id": 2, "seen": 1, "event_timestamp": datetime.now(UTC)}])
        (file,) = store.offline.table(VIEW).files()[-1:]
        store._pusher.flusher._end()  # as a process that dies: nobody brings the row in
        store.__dict__.pop("_pusher")
    Path(file).write_bytes(b"PAR1")
    add(
        shop,
        f"""
[streaming]
metrics_port = {port[1]}
[channels.ops]
kind = "webhook"
url = "https://ops.example.com/"
secret = "${{NO_SUCH_SECRET}}"
[streams.clicks]
view = "clickz"
servers = ["127.0.0.1:{free_port()}"]
topic = "clicks"
security = "none"
""",
    )
    names = [name for name in PROBES if name not in ("disks", "clock")]
    said = found(shop, *names, now=datetime.now(UTC) + timedelta(hours=1))
    assert "NO_SUCH_SECRET" in said["secrets of channel ops"].what
    assert said["table of clicks@1"].what == "A file of it cannot be read: ArrowInvalid."
    assert (said["view clicks@1"].state, said["view clicks@1"].hint) == (
        State.warning,
        "featurestore materialize clicks",
    )
    assert said["view clicks@1"].what == "1 load is not online yet."
    assert said["push log"].what.startswith("1 rows wait for the offline store since ")
    assert "no connection to 127.0.0.1" in said["stream clicks"].what
    assert said[f"port {port[1]}"].what == "serving.port and streaming.metrics_port are the same."
    assert said["online store"].state is State.well


def test_loads_are_counted_and_pushed_rows_are_online_since_they_were_pushed(shop: Path) -> None:
    with FeatureStore(shop) as store:
        store.push("clicks", [{"user_id": 2, "seen": 7, "event_timestamp": datetime.now(UTC)}])
    with FeatureStore(shop) as store:
        assert [one.load_id.startswith("push-") for one in store.offline.loads(VIEW)] == [False, True]
        assert store.get_online_features("scoring", [{"user_id": 2}]).to_dict()["seen"] == [7]
    looked = ("registry", "online store", "offline tables", "materialization")
    said = found(shop, *looked)
    assert {one.state for one in said.values()} == {State.well}, said
    assert said["materialization"].what == "1 view is online up to the last load"
    with FeatureStore(shop) as store:
        table = storage_id(VIEW)
        store.online.delete(table, KeyLayout(VIEW.keys).encode([[2]]))
    lost = found(shop, *looked)["view clicks@1"]
    assert lost.what == "Not online: 1 of 1 keys of pushed rows that were looked up."
    with FeatureStore(shop) as store:
        store.materialize("clicks")
    assert found(shop, *looked)["materialization"].what == "1 view is online up to the last load"
    with FeatureStore(shop) as store:
        load(store)
    assert found(shop, *looked)["view clicks@1"].what == "1 load is not online yet."
    with FeatureStore(shop) as store:
        load(store)
        store.push("clicks", [{"user_id": 2, "seen": 8, "event_timestamp": datetime.now(UTC)}])
    assert found(shop, *looked)["view clicks@1"].what == "2 loads are not online yet."


def test_object_storage_that_is_away_is_one_fault_whatever_the_number_of_tables(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FeatureStore(shop) as store:
        store.apply([VIEW, *(replace(VIEW, name=f"clicks_{number}") for number in range(3))])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-4c1d")
    path = f"""path = "s3://features/shop"
[offline.storage]
endpoint = "http://127.0.0.1:{free_port()}"
region = "us-east-1"
retries = 0
retry_seconds = 0
"""
    settings = shop / "featurestore.toml"
    settings.write_text(settings.read_text().replace('path = "data/offline"', path))
    said = found(shop)
    faults = {about: one.what for about, one in said.items() if one.state is State.fault}
    assert list(faults) == ["offline tables"]
    assert "s3://features/shop" in faults["offline tables"]
    assert "it does not answer" in faults["offline tables"]
    assert faults["offline tables"].endswith(" 4 tables were not looked at.")
    assert len(faults["offline tables"]) < 250
    assert said["materialization"].what == "Not looked at: 4 tables that cannot be read."
    assert said["clock"].state is State.well
    assert "hidden" not in str(said)


def test_a_table_that_cannot_be_opened_is_one_fault_and_the_others_are_looked_at(shop: Path) -> None:
    with FeatureStore(shop) as store:
        store.apply([VIEW, other := replace(VIEW, name="others")])
        load(store)
        store.ingest("others", [{"user_id": 1, "seen": 1, "event_timestamp": datetime.now(UTC) - timedelta(hours=1)}])
        store.materialize("others")
    for log in (shop / "data/offline" / storage_id(other) / "_delta_log").glob("*.json"):
        log.write_text("{")
    said = found(shop)
    assert [about for about, one in said.items() if one.state is State.fault] == ["table of others@1"]
    assert said["view clicks@1"].what == "1 load is not online yet."
    assert said["materialization"].what == "0 views are online up to the last load"
    assert said["clock"].state is State.well


def test_an_extra_that_is_needed_and_lacks_is_named(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from featurestore.doctor import extras

    add(shop, '[channels.phone]\nkind = "apprise"\nservice_url = "json://localhost"\n')
    assert found(shop, "extras")["extra apprise"].state is State.well
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    said = found(shop, "extras")
    assert list(said) == ["configuration", "extra apprise"]
    assert said["extra apprise"].hint == "pip install 'featurestore[apprise]'"
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {one.extra for one in NEEDS} <= set(declared)


def test_a_registry_of_another_release_is_not_opened(shop: Path) -> None:
    engine = create_engine(f"sqlite:///{shop}/data/registry.db")
    for revision, state in (("9999", State.fault), ("0001", State.warning)):
        with engine.begin() as connection:
            said_by = text("UPDATE registry_revision SET version_num = :revision, readable_from = :revision")
            connection.execute(said_by, {"revision": revision})
        said = found(shop, "registry", "offline tables")
        assert (said["registry"].state, "offline tables" in said) == (state, False)
        assert f"schema {revision}" in said["registry"].what
    engine.dispose()


def test_a_port_that_somebody_has_and_a_clock_that_was_set_back_are_told_of(shop: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        add(shop, f"[streaming]\nmetrics_port = {port}\n")
        assert found(shop, "ports")[f"port {port}"].state is State.warning
    late = datetime.now(UTC) - timedelta(minutes=1)
    said = found(shop, "registry", "clock", now=late)["clock"]
    assert (said.state, "still to come" in said.what) == (State.fault, True)


def test_a_probe_that_fails_says_no_more_than_that_and_the_next_one_runs(shop: Path) -> None:
    def fails(_: Patient) -> Iterator[Finding]:
        raise ZeroDivisionError("a secret")

    def refuses(_: Patient) -> Iterator[Finding]:
        raise RegistryError("It is away.", hint="Wait.")

    def goes_on(_: Patient) -> Iterator[Finding]:
        yield well("last", "it is there")

    said = examine(shop, probes={"one": fails, "two": refuses, "three": goes_on})
    assert [(one.about, one.what, one.hint) for one in said[1:]] == [
        ("one", "It cannot be looked at: ZeroDivisionError.", ""),
        ("two", "It is away.", "Wait."),
        ("last", "it is there", ""),
    ]


def test_the_monitor_looks_at_its_own(shop: Path) -> None:
    from monitor.doctor import probes

    add(shop, '[channels.ops]\nkind = "webhook"\nurl = "nowhere"\n')
    said = {one.about: one for one in examine(shop, probes={"registry": PROBES["registry"], **probes()})}
    assert said["channel ops"].state is State.fault
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared["featurestore.probes"] == {"monitor": "monitor.doctor:probes"}


def test_the_command_exits_with_one_for_a_fault_and_speaks_json(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from featurestore.cli.app import run

    assert run(["doctor", "--json", "--repo", str(shop)], debug=False) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["faults"], said["warnings"]) == (0, 0)
    assert {"about", "state", "what", "hint"} == set(said["findings"][0])
    add(shop, '[channels.ops]\nkind = "webhook"\nurl = "https://x.invalid/"\nsecret = "file:none"\n')
    assert run(["doctor", "--repo", str(shop)], debug=False) == 1
    assert "fault    secrets of channel ops: " in capsys.readouterr().out
