"""Backups: made while serving goes on, loaded when the store is gone, and true to who was erased meanwhile."""

from __future__ import annotations

import gzip
import json
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from featurestore import FeatureService, FeatureStore
from featurestore import config as configuration
from featurestore.client import FeatureClient
from featurestore.errors import ConfigError
from featurestore.moving import backup
from featurestore.moving.suppressing import check_secret, erase_again
from tests.forking import Forked
from tests.moved_shop import CLICKS, SPENDING, check_whole, clicked, fill, leave, lookups, offline_rows, spent


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backups") / "shop"
    fill(folder)
    create(folder, folder.parent / "backup")
    return folder


@pytest.fixture
def shop(filled: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    shutil.copytree(filled, folder)
    return folder


@pytest.fixture
def made(filled: Path, tmp_path: Path) -> Path:
    """A backup of the store."""
    folder = tmp_path / "backup"
    shutil.copytree(filled.parent / "backup", folder)
    return folder


def create(folder: Path, place: Path) -> Any:
    return backup.create(configuration.load(folder), place, progress=lambda *_: None)


def load(place: Path, folder: Path) -> Any:
    return backup.load(configuration.load(folder), place, progress=lambda *_: None)


def destroy(folder: Path) -> None:
    """Leave of a store what is kept elsewhere: its settings and its secrets."""
    for one in (folder / "data").iterdir():
        if one.name != "keys":
            shutil.rmtree(one) if one.is_dir() else one.unlink()


@contextmanager
def server(folder: Path) -> Iterator[str]:
    process = Forked(
        [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split(",")[0]
    finally:
        process.terminate()
        process.communicate(timeout=30)


class Pushing(threading.Thread):
    """Pushes rows of users of its own, one after the other, and notes when each push was acknowledged."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self._stopped = threading.Event()
        self.acknowledged: dict[int, datetime] = {}
        self.failure: Exception | None = None

    def run(self) -> None:
        user = 1_000
        try:
            with FeatureClient(self._address) as client:
                while not self._stopped.wait(0.005):  # others work beside it
                    client.push("clicks", clicked([user], hours=10))
                    self.acknowledged[user] = datetime.now(UTC)
                    user += 1
        except Exception as error:  # noqa: BLE001 - told of by the test
            self.failure = error

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def test_what_was_acknowledged_before_the_point_is_there_exactly_once_after_the_store_was_destroyed(
    shop: Path, tmp_path: Path
) -> None:
    with (shop / "featurestore.toml").open("a") as out:
        out.write("\n[push]\nflush_seconds = 0.2\n")
    with server(shop) as address:
        pushing = Pushing(address)
        pushing.start()
        while len(pushing.acknowledged) < 20 and pushing.is_alive():
            time.sleep(0.01)
        with FeatureStore(shop) as store:
            store.ingest("spending", spent([5], hours=10), load_id="before")
            store.materialize("spending")
            leave(store)
        report = create(shop, tmp_path / "backup")
        during = len(pushing.acknowledged)
        with FeatureStore(shop) as store:
            store.ingest("spending", spent([6], hours=11), load_id="after")
            leave(store)
        while len(pushing.acknowledged) < during + 20 and pushing.is_alive():
            time.sleep(0.01)
        pushing.stop()
        assert pushing.failure is None
        with FeatureStore(shop) as store:
            before = lookups(store)
            leave(store)
    point = datetime.fromisoformat(report.point)
    early = [user for user, at in pushing.acknowledged.items() if at < point]
    assert 20 <= len(early) < len(pushing.acknowledged)
    assert report.held_seconds < 30
    assert backup.verify(tmp_path / "backup").problems == ()

    destroy(shop)
    assert load(tmp_path / "backup", shop).equal
    with FeatureStore(shop) as store:
        asked = [{"user_id": user} for user in early]
        answers = store.get_online_features(features="scoring", entity_rows=asked).to_dict()
        assert answers["seen"] == [1 + user for user in early]
        assert lookups(store) == before
        store.flush_pushes()
        rows = offline_rows(store, CLICKS)
        counts = Counter({user: count for (user, _, _), count in rows.items() if user >= 1_000})
        assert set(counts.values()) == {1}
        assert set(early) <= set(counts) <= set(pushing.acknowledged)
        loads = [one.load_id for one in store.loads("spending")]
        assert ("before" in loads, "after" in loads) == (True, False)
        check_whole(store)


def test_whoever_was_erased_after_the_backup_is_erased_again_when_it_is_loaded(shop: Path, tmp_path: Path) -> None:
    create(shop, tmp_path / "kept" / "monday.tar")
    with (shop / "featurestore.toml").open("a") as out:
        out.write(f'\n[erasure]\nbackups = ["{tmp_path}/kept/*"]\n')
    with FeatureStore(shop) as store:
        for user in (2, 3):
            report = store.erase("user", {"user_id": user}, request=f"GDPR-{user}")
        assert any("backup load erases them again" in one for one in report.not_reached)
        store.lift_erasure("user", {"user_id": 3}, request="CRM-3")
    assert b'"3"' not in (tmp_path / "kept" / "monday.tar.erased.jsonl").read_bytes()
    destroy(shop)
    load(tmp_path / "kept" / "monday.tar", shop)
    with FeatureStore(shop) as store:
        again = erase_again(store, tmp_path / "kept" / "monday.tar")
        assert again.entered == 3  # entered twice, lifted once
        assert again.rows > 0
        found = store.erase("user", {"user_id": 2}, request="look", dry_run=True)
        assert (found.rows, found.finished) == (0, True)
        assert {user for user, *_ in offline_rows(store, SPENDING)} >= {1, 3}
        assert store.ingest("spending", spent([2, 3], hours=9)).suppressed == 1
        assert store.reproduce_dataset("sales").proved
        assert store.verify_audit().problems == ()
    (shop / "data" / "keys" / "erasure.key").unlink()
    with (
        FeatureStore(shop) as store,
        pytest.raises(ConfigError, match="the secret by which they are known again is gone"),
    ):
        check_secret(store, tmp_path / "kept" / "monday.tar")


def test_whoever_is_erased_while_the_backup_is_made_is_erased_again_too(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def erasing(*given: Any) -> None:
        with FeatureStore(shop) as store:
            store.registry.suppress("user(user_id)", ["00" * 20 + "-0123456789ab"], request="GDPR-9", who="tests")
            leave(store)
        written(*given)

    written = backup._write_manifest
    monkeypatch.setattr(backup, "_write_manifest", erasing)
    create(shop, tmp_path / "backup")
    (noted,) = (tmp_path / "backup.erased.jsonl").read_text().splitlines()
    assert json.loads(noted)["request"] == "GDPR-9"


def test_what_is_damaged_is_named_and_not_loaded(made: Path, shop: Path) -> None:
    assert backup.verify(made).problems == ()
    damaged = next((made / "offline").glob("spending-*/*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    gone = next((made / "offline" / "datasets").rglob("baseline.parquet"))
    gone.unlink()
    (made / "offline" / "more.parquet").write_bytes(b"")
    problems = backup.verify(made).problems
    names = [one.relative_to(made).as_posix() for one in (damaged, gone)]
    told = {f"{names[0]} is not as it was written.", f"{names[1]} is gone."}
    assert set(problems) == told | {"offline/more.parquet does not belong to it."}
    destroy(shop)
    with pytest.raises(ConfigError, match="is damaged"):
        load(made, shop)
    assert [one.name for one in (shop / "data").iterdir()] == ["keys"]
    (made / "backup.json").unlink()
    with pytest.raises(ConfigError, match="is no backup"):
        backup.verify(made)
    with pytest.raises(ConfigError, match="There is no backup"):
        backup.verify(made / "nowhere")


def test_a_backup_has_no_secrets_and_stays_as_it_is_when_it_is_loaded(made: Path, shop: Path) -> None:
    secrets = [one.read_bytes().strip() for one in (shop / "data" / "keys").iterdir()]
    assert len(secrets) == 2
    everything = b"".join(one.read_bytes() for one in made.rglob("*") if one.is_file())
    assert not any(one in everything for one in secrets)
    before = {str(one): one.read_bytes() for one in made.rglob("*") if one.is_file()}
    with FeatureStore(shop) as store:
        store.apply([FeatureService(name="another", features=[CLICKS])])
        leave(store)
    with pytest.raises(ConfigError, match="other data"):
        load(made, shop)
    destroy(shop)
    assert load(made, shop).equal
    assert {str(one): one.read_bytes() for one in made.rglob("*") if one.is_file()} == before
    with FeatureStore(shop) as store:
        check_whole(store)
    assert "nothing was copied" in load(made, shop).notes[0]


def test_a_place_that_is_taken_is_refused_and_a_backup_that_was_killed_is_gone_on_with(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    place = tmp_path / "backup"
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something at"):
        create(shop, place)
    (place / "mine.txt").unlink()
    monkeypatch.setattr(backup, "_write_manifest", killed)
    with pytest.raises(KeyboardInterrupt):
        create(shop, place)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="is no backup") as error:
        backup.verify(place)
    assert "It was not finished" in error.value.hint
    report = create(shop, place)
    assert {one.copied for one in report.parts} == {0}
    assert backup.verify(place).problems == ()
    assert json.loads((place / "backup.json").read_text())["parts"]["registry"]["items"] > 10


def test_nobody_but_its_owner_reads_a_backup_nor_what_is_made_of_one(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    def adding(self: tarfile.TarFile, *given: Any) -> None:
        early.append(mode(tmp_path / ".monday.tar.packing"))
        added(self, *given)

    early: list[int] = []
    added = tarfile.TarFile.add
    monkeypatch.setattr(tarfile.TarFile, "add", adding)
    place = tmp_path / "monday.tar"
    (tmp_path / ".monday.tar.packing").touch(mode=0o644)  # of an earlier release that was killed
    create(shop, place)
    assert mode(place) == 0o600
    assert set(early) == {0o600}
    with tarfile.open(place) as packed:
        assert {one.mode for one in packed} == {0o600}
    (tmp_path / "folder").mkdir(mode=0o755)
    create(shop, tmp_path / "folder")
    assert mode(tmp_path / "folder") == 0o700
    assert {mode(one) for one in (tmp_path / "folder").rglob("*") if one.is_file()} == {0o600}


def test_a_file_that_is_no_backup_or_not_all_of_one_is_said_to_be_so(made: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    with tarfile.open(whole, "w") as out:
        for one in sorted(made.rglob("*")):
            out.add(one, one.relative_to(made).as_posix(), recursive=False)
    with tarfile.open(whole) as packed:
        last = packed.getmembers()[-1]
    assert backup.verify(whole).problems == ()
    content, squeezed = whole.read_bytes(), gzip.compress(whole.read_bytes())
    cut = tmp_path / "cut.tar"
    for some in (content[:20_000], content[: last.offset], content[: last.offset + 100], squeezed[:-1000]):
        cut.write_bytes(some)
        with pytest.raises(ConfigError) as caught:
            backup.verify(cut)
        assert caught.value.message == f"{cut} is cut off, or damaged: its end is not there."
        assert "Copy it again" in caught.value.hint
    cut.write_bytes(squeezed)
    assert backup.verify(cut).problems == (), "somebody has compressed it"
    for some, what in ((b"no backup\n" * 1000, "no tar file"), (content[:100], "no tar file"), (b"", "empty")):
        cut.write_bytes(some)
        with pytest.raises(ConfigError) as caught:
            backup.verify(cut)
        assert str(caught.value) == (
            f"{cut} is no backup: it is {what}.\nHint: Name the folder of one, or the file that ends in .tar."
        )
    assert sorted(one.name for one in tmp_path.iterdir()) == ["backup", "cut.tar", "whole.tar"]
