"""The audit log checked against every witness that a store keeps, and the name under which a store acts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.config import OWN_SIGNING_KEY, identity_file
from featurestore.errors import ConfigError, DefinitionError, RegistryError
from featurestore.registry import Head, PrivateKey, current_user
from featurestore.registry.migrating import open_database
from featurestore.registry.signing import generate, write_private
from featurestore.serving.heads import HeadLog
from featurestore.serving.runtime import Runtime
from featurestore.types import Float64, Int64

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
SPENDING = FeatureView(name="spending", entities=[USER], schema=[Field(name="total", dtype=Float64)])
SCORING = FeatureService(name="scoring", features=[SPENDING])
ROW = {"user_id": 1, "total": 10.5, "event_timestamp": NOON}

Tamper = Callable[[str], None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply([SCORING])
        store.ingest("spending", [ROW])
        yield store


@pytest.fixture
def tamper(store: FeatureStore) -> Tamper:
    def run(statement: str) -> None:
        database = open_database(store.config.database_url(store.config.registry))
        with database.write() as connection:
            connection.exec_driver_sql(statement)
        database.close()

    return run


def forget(entries: int) -> list[str]:
    """Return the statements by which a log forgets all but its first entries, leaving nothing that contradicts that."""
    newest = f"(SELECT hash FROM audit WHERE sequence = {entries})"
    return [
        f"DELETE FROM audit WHERE sequence > {entries}",
        f"UPDATE projects SET audit_sequence = {entries}, audit_hash = {newest}",
    ]


def dataset(store: FeatureStore) -> Any:
    entities = [{"user_id": 1, "event_timestamp": NOON}]
    return store.create_training_dataset("buyers", entity_df=entities, features="scoring")


def test_a_dataset_is_a_witness_in_the_registry_and_on_disk(store: FeatureStore, tamper: Tamper) -> None:
    made = dataset(store)
    head = Head.from_json(made.manifest["audit_head"], "manifest")
    assert head.is_authentic
    assert (head.project, head.sequence) == ("shop", 4)
    report = store.verify_audit()
    assert report.is_intact
    assert (report.heads, report.vouched, report.warnings) == (2, 4, ())
    assert report.vouched_by == head.key
    tamper("DELETE FROM datasets")
    for statement in forget(3):
        tamper(statement)
    (problem,) = store.verify_audit().problems
    assert problem.what.startswith("The log ends in entry 3, and entry 4 was signed: its tail was cut off. See ")
    assert "manifest.json" in problem.what
    assert problem.since == head.at


def test_the_servers_log_is_a_witness(store: FeatureStore, tamper: Tamper) -> None:
    runtime = Runtime(store.config)
    heads = HeadLog(store.config.path(store.config.serving.log_path), runtime)
    heads.add()
    store.apply([FeatureService(name="later", features=[SPENDING])])
    heads.add()
    runtime.close()
    report = store.verify_audit()
    assert (report.is_intact, report.heads, report.vouched) == (True, 2, 5)
    for statement in forget(4):
        tamper(statement)
    (problem,) = store.verify_audit().problems
    assert problem.what.endswith(".jsonl:2.")


def test_a_head_kept_elsewhere_is_a_witness_and_so_is_the_key_that_was_noted_down(
    store: FeatureStore, tamper: Tamper, tmp_path: Path
) -> None:
    head = store.audit_head()
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(head.to_json()))
    assert store.verify_audit([kept]).vouched == 4
    assert store.verify_audit([kept], [head.key]).is_intact
    for statement in forget(2):
        tamper(statement)
    # Whoever rewrites all of it may also put a key of their own in place of the store's, and sign with that.
    (store.config.root / OWN_SIGNING_KEY).unlink()
    (problem,) = store.verify_audit().problems  # which they could hide too, by forgetting the service itself
    assert problem.what == "scoring@1 is registered, and the log says nothing of it."
    assert store.audit_head().key != head.key
    assert [one.entry for one in store.verify_audit([kept]).problems] == [3]
    assert [one.entry for one in store.verify_audit([kept], [head.key]).problems] == [3]
    kept.write_text(json.dumps(store.audit_head().to_json()))
    assert "not a known key" in store.verify_audit([kept], [head.key]).problems[0].what


def test_what_cannot_be_read_is_told_of_and_does_not_stop_the_checking(store: FeatureStore) -> None:
    made = dataset(store)
    log = store.config.path(store.config.serving.log_path) / "heads"
    log.mkdir(parents=True)
    (log / "a.jsonl").write_bytes(json.dumps(store.audit_head().to_json()).encode() + b'\n{"format": 1, "pro')
    (log / "b.jsonl").write_bytes(b"\xff\xfe\n[]\n")
    store.config.path(made.manifest["path"]).with_name("manifest.json").write_text("{")
    report = store.verify_audit()
    assert report.is_intact
    assert report.heads == 2
    ends = ["a.jsonl:2 holds no", "b.jsonl:1 holds no", "b.jsonl:2 holds no", "manifest.json is no"]
    assert all(end in warning for end, warning in zip(ends, report.warnings, strict=True))


def test_a_file_that_is_no_head_of_this_project_is_refused(store: FeatureStore, tmp_path: Path) -> None:
    file = tmp_path / "h.json"
    with pytest.raises(RegistryError, match="cannot be read: No such file"):
        store.verify_audit([file])
    file.write_text("hello")
    with pytest.raises(RegistryError, match="holds no head") as raised:
        store.verify_audit([file])
    assert "audit head --out" in raised.value.hint
    file.write_text(json.dumps({**store.audit_head().to_json(), "project": "trains"}))
    with pytest.raises(RegistryError, match='is of project "trains", and this is "shop"'):
        store.verify_audit([file])
    with pytest.raises(DefinitionError, match="is no public key"):
        store.verify_audit([], ["mine"])


def test_checking_makes_no_key(store: FeatureStore) -> None:
    assert store.verify_audit().is_intact
    assert not (store.config.root / OWN_SIGNING_KEY).exists()


# Who acts


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateKey:
    """Let the user of this test have the key of ada in their settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    pem = generate()
    write_private(identity_file("ada"), pem)
    return PrivateKey(pem, "ada")


def test_nobody_in_particular_is_the_systems_user(store: FeatureStore) -> None:
    assert store.who() == current_user()
    assert {entry.who for entry in store.registry.audit()} == {current_user()}


def test_who_proves_a_name_acts_under_it(store: FeatureStore, ada: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    store.registry.add_identity("ada", ada.public, who=current_user())
    monkeypatch.setenv("FEATURESTORE_IDENTITY", "ada")
    with FeatureStore(store.config.root) as hers:
        assert hers.who() == "ada"
        hers.apply([FeatureService(name="later", features=[SPENDING])])
        hers.ingest("spending", [ROW])
        hers.materialize("spending")
        dataset(hers)
    assert [entry.action for entry in store.registry.audit(who="ada")] == ["apply", "ingest", "materialize", "dataset"]


def test_a_name_that_is_claimed_and_not_proved_does_nothing(
    store: FeatureStore, ada: PrivateKey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FEATURESTORE_IDENTITY", "ada")
    before = store.registry.audit()
    with FeatureStore(store.config.root) as claimed:
        with pytest.raises(RegistryError, match='"ada" is not known'):
            claimed.apply([FeatureService(name="later", features=[SPENDING])])
        store.registry.add_identity("ada", ada.public, who=current_user())
    write_private(tmp_path / "other.pem", generate())
    monkeypatch.setenv("FEATURESTORE_IDENTITY_KEY", str(tmp_path / "other.pem"))
    with FeatureStore(store.config.root) as claimed, pytest.raises(RegistryError, match="The key is not that of"):
        claimed.materialize("spending")
    monkeypatch.setenv("FEATURESTORE_IDENTITY_KEY", str(tmp_path / "none.pem"))
    with FeatureStore(store.config.root) as claimed, pytest.raises(ConfigError, match=r"none\.pem cannot be read"):
        claimed.ingest("spending", [ROW])
    assert len(store.registry.audit()) == len(before) + 1


def test_a_name_without_a_key_says_how_to_make_one(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("FEATURESTORE_IDENTITY", "bob")
    with FeatureStore(store.config.root) as claimed, pytest.raises(ConfigError, match='no key of "bob"') as raised:
        claimed.who()
    assert "featurestore identity create bob" in raised.value.hint
