"""A place in a bucket answers as pathlib does; an object is there whole or not at all; no key is ever shown."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa
import pytest

from featurestore.errors import ConfigError, FeatureStoreError, OfflineStoreError, TableConflictError
from featurestore.offline import engine
from featurestore.offline.tables.table import OfflineTable
from featurestore.settings.sections import OfflineConfig, StorageConfig
from featurestore.storage import ObjectPath, StoragePath, locks
from featurestore.storage.conditional import check_conditional_writes
from featurestore.storage.credentials import s3_credentials
from featurestore.storage.failures import plain
from featurestore.storage.locks import alone
from featurestore.storage.parquet import ParquetWriter, parquet_file, read_metadata, read_table, write_table
from featurestore.storage.places import (
    append_text,
    copy_file,
    listed,
    local_file,
    located,
    make_young,
    move_file,
    remove_tree,
)
from tests import backends

SECRET = "tests-secret-2f81"


class ObjectStorage(Protocol):
    """What the fixture of that name gives."""

    endpoint: str
    url: str


@pytest.fixture
def bucket(object_storage: ObjectStorage) -> ObjectPath:
    return located(object_storage.url, StorageConfig(endpoint=object_storage.endpoint, retries=1, retry_seconds=1))


@pytest.fixture(params=backends.params("storage", "disk", "s3"))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    return tmp_path if request.param == "disk" else request.getfixturevalue("bucket")


def test_names_are_those_of_pathlib(folder: StoragePath) -> None:
    file = folder / "a" / "part-1.parquet"
    assert (file.name, file.suffix, file.parent, str(file)) == (
        "part-1.parquet",
        ".parquet",
        folder / "a",
        f"{folder}/a/part-1.parquet",
    )
    assert file.with_name("b") == folder / "a" / "b"
    assert file.is_relative_to(str(folder))
    assert str(file.relative_to(str(folder))) == "a/part-1.parquet"


def test_files_are_written_found_moved_and_removed(folder: StoragePath) -> None:
    for name in ("t/one.parquet", "t/.hidden.7", "t/_delta_log/0.json", "two.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("grün", encoding="utf-8")
    table = folder / "t"
    assert [one.name for one in listed(table, "*.parquet")] == ["one.parquet"]
    assert [one.name for one in listed(table, "[!.]*")] == ["_delta_log", "one.parquet"]
    assert [str(one.relative_to(str(folder))) for one in listed(folder, "*/.*")] == ["t/.hidden.7"]
    assert [one.name for one in listed(folder, "t/_delta_log/*.json")] == ["0.json"]
    assert sorted(one.name for one in table.iterdir()) == [".hidden.7", "_delta_log", "one.parquet"]
    assert (table.exists(), table.is_dir(), (table / "one.parquet").is_dir()) == (True, True, False)
    assert (folder / "t" / "one.parquet").read_text(encoding="utf-8") == "grün"
    assert (folder / "two.parquet").stat().st_size == len("grün".encode())
    before = (folder / "two.parquet").stat().st_mtime
    make_young(folder / "two.parquet")
    assert (folder / "two.parquet").stat().st_mtime >= before
    move_file(folder / "two.parquet", table / "one.parquet")
    assert not (folder / "two.parquet").exists()
    append_text(table / "diary", "a\n")
    append_text(table / "diary", "b\n")
    assert (table / "diary").read_bytes() == b"a\nb\n"
    remove_tree(table)
    assert not table.exists()
    with pytest.raises(FileNotFoundError):
        (table / "one.parquet").read_bytes()
    with pytest.raises(FileNotFoundError):
        (table / "one.parquet").unlink()
    (table / "one.parquet").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        make_young(table / "one.parquet")


def test_a_parquet_file_is_the_same_wherever_it_lies(folder: StoragePath, tmp_path: Path) -> None:
    rows = pa.table({"a": range(300_000), "b": ["x", None, "z"] * 100_000})
    (tmp_path / "here").mkdir()
    for file in (folder / "t.parquet", tmp_path / "here" / "t.parquet"):
        writer = ParquetWriter(file, rows.schema, compression="zstd")
        writer.write_table(rows, row_group_size=100_000)
        writer.close()
    assert (folder / "t.parquet").read_bytes() == (tmp_path / "here" / "t.parquet").read_bytes()
    assert read_table(folder / "t.parquet").equals(rows)
    assert read_table(folder / "t.parquet", ["b"]).column_names == ["b"]
    assert read_metadata(folder / "t.parquet").num_row_groups == 3
    with parquet_file(folder / "t.parquet") as opened:
        assert sum(batch.num_rows for batch in opened.iter_batches(columns=["a"])) == 300_000


def test_an_object_in_the_making_is_not_there(bucket: ObjectPath) -> None:
    rows = pa.table({"a": range(10)})
    for end, there in ((ParquetWriter.discard, False), (ParquetWriter.close, True)):
        writer = ParquetWriter(bucket / "t.parquet", rows.schema)
        writer.write_table(rows)
        assert not (bucket / "t.parquet").exists()
        end(writer)
        assert (bucket / "t.parquet").exists() is there


def test_duckdb_reads_the_columns_and_row_groups_that_a_query_needs(bucket: ObjectPath, tmp_path: Path) -> None:
    wide = pa.table({name: [float(row) for row in range(200_000)] for name in "abcdefgh"})
    write_table(wide, bucket / "t.parquet", row_group_size=50_000, compression="none", use_dictionary=False)
    size, read = (bucket / "t.parquet").stat().st_size, list[int]()
    config = OfflineConfig(path=str(bucket), storage=bucket.bucket._settings, threads=1)
    with engine.connect(config, tmp_path, "a query") as connection:
        connection.execute("SET enable_external_file_cache = false")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("featurestore.storage.filesystem._Remembering.read", counting(read))
            query = f"SELECT sum(b), count(*) FROM {engine.parquet_scan([str(bucket / 't.parquet')])} WHERE a >= 150000"
            assert connection.sql(query).fetchall() == [(sum(map(float, range(150_000, 200_000))), 50_000)]
    assert 0 < sum(read) < size / 8, "two columns of one row group of four are a sixteenth"


def counting(read: list[int]) -> Callable[..., bytes]:
    from featurestore.storage.object_files import ObjectReader

    def counted(self: ObjectReader, size: int | None = -1) -> bytes:
        found = ObjectReader.read(self, size)
        read.append(len(found))
        return found

    return counted


def test_a_file_is_uploaded_and_fetched_whole(bucket: ObjectPath, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(bytes(range(256)) * 50_000)
    copy_file(tmp_path / "here", bucket / "there")
    with local_file(bucket / "there", tmp_path / "scratch") as file:
        assert file.read_bytes() == (tmp_path / "here").read_bytes()
    assert list((tmp_path / "scratch").iterdir()) == []
    with local_file(tmp_path / "here", tmp_path / "scratch") as file:
        assert file == tmp_path / "here"


# What goes wrong


def failing(bucket: ObjectPath, **settings: Any) -> Iterator[Callable[[], object]]:
    """Yield everything that reaches for a bucket, each in its own way."""
    place = located(str(bucket), bucket.bucket._settings.model_copy(update=settings)) / "weather-1"
    config = OfflineConfig(path=str(bucket), storage=place.bucket._settings)

    def query() -> None:
        with engine.connect(config, Path("/tmp/none"), "a query") as connection:
            connection.sql(f"SELECT * FROM {engine.parquet_scan([str(place / 't.parquet')])}").fetchall()

    yield OfflineTable(place).version
    yield lambda: (place / "t.parquet").write_bytes(b"1")
    yield lambda: read_table(place / "t.parquet")
    yield lambda: listed(place, "*")
    yield query


def said_by(does: Callable[[], object]) -> str:
    with pytest.raises(OfflineStoreError) as caught:
        does()
    text = f"{caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert SECRET not in text
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def test_a_store_that_is_away_is_named_with_the_table_and_what_to_do(bucket: ObjectPath) -> None:
    for does in failing(bucket, endpoint="http://127.0.0.1:9"):
        said = said_by(does)
        assert "does not answer" in said
        assert "weather-1" in said
        assert "endpoint" in said
        assert "max_retries" not in said


def test_wrong_keys_are_said_and_never_shown(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody-knows-it")
    for number, does in enumerate(failing(bucket)):
        said = said_by(does)
        # HEAD has no body that could say more than 403.
        assert "does not accept the credentials" in said or (number in (2, 4) and "refuses access" in said)
        assert "nobody-knows-it" not in said


def test_a_bucket_that_is_not_there_is_said(bucket: ObjectPath) -> None:
    nowhere = located("s3://no-such-bucket/offline", bucket.bucket._settings)
    for number, does in enumerate(failing(nowhere)):
        if number not in (2, 4):  # HEAD says no more than 404
            assert "no such bucket" in said_by(does)


def test_a_file_that_is_gone_is_named_by_a_query(bucket: ObjectPath, tmp_path: Path) -> None:
    config = OfflineConfig(path=str(bucket), storage=bucket.bucket._settings)
    with (
        pytest.raises(OfflineStoreError, match=r"There is no .*/gone\.parquet in object storage"),
        engine.connect(config, tmp_path, "a query") as connection,
    ):
        connection.sql(f"SELECT * FROM {engine.parquet_scan([str(bucket / 'gone.parquet')])}").fetchall()
    with engine.connect(config, tmp_path, "a query") as connection, pytest.raises(duckdb.Error):
        connection.sql("SELECT nothing")


def test_a_store_that_overlooks_conditions_is_refused(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    check_conditional_writes(bucket)
    assert not listed(bucket, "*")
    write = ObjectPath.write_bytes
    monkeypatch.setattr(ObjectPath, "write_bytes", lambda self, data, **_: write(self, data))
    with pytest.raises(OfflineStoreError, match="overlooks conditions"):
        check_conditional_writes(bucket)


def test_a_url_is_a_bucket_and_a_path_without_keys() -> None:
    for wrong in ("http://a/b", "s3:///path", "s3://me:pass-word@bucket/x", "s3://bucket/x?key=pass-word"):
        with pytest.raises(ConfigError) as caught:
            located(wrong, StorageConfig())
        assert "pass-word" not in str(caught.value)
    assert str(located("s3://bucket/a/b/", StorageConfig())) == "s3://bucket/a/b"
    with pytest.raises(ValueError, match="without a path or a key"):
        StorageConfig(endpoint="https://me:pass-word@s3.example.com")
    with pytest.raises(ValueError, match="environment variable"):
        StorageConfig(options={"aws_secret_access_key": "x"})


@pytest.mark.parametrize("package", ["obstore", "fsspec"])
def test_without_its_packages_it_says_which_extra_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    config = OfflineConfig(path="s3://bucket/x")
    with pytest.raises(ConfigError, match=r"pip install 'featurestore\[s3\]'"):
        located(config.path, config.storage)
    with pytest.raises(ConfigError, match=r"\[s3\]"), engine.connect(config, tmp_path, "a query"):
        pass


def test_keys_are_those_of_a_profile_the_environment_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert s3_credentials("") == {}
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\n[prod]\naws_access_key_id = c%\n"
    )
    (tmp_path / "config").write_text("[profile prod]\nregion = eu-central-1\n")
    assert s3_credentials("") == {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    assert s3_credentials("prod") == {"aws_access_key_id": "c%", "aws_region": "eu-central-1"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "env")
    assert s3_credentials("") == {"aws_access_key_id": "env"}
    assert s3_credentials("prod")["aws_access_key_id"] == "c%"
    with pytest.raises(ConfigError, match="other"):
        s3_credentials("other")
    (tmp_path / "credentials").write_text("aws_secret_access_key = shown-never\n")
    with pytest.raises(ConfigError) as caught:
        s3_credentials("prod")
    assert "shown-never" not in f"{caught.value} {caught.value.__context__!r}".replace(repr(caught.value), "")[:200]


def test_an_answer_as_xml_is_one_sentence_without_secrets() -> None:
    answer = '<?xml version="1.0"?>\n<Error><Code>Denied</Code><Message>No k3y</Message></Error>\n\nDebug source:\n{}'
    assert plain(f"403: {answer}", ["k3y"]) == "403: Denied, No ***"


# Locks


def test_a_lock_is_held_by_one_and_taken_over_from_the_dead(
    bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_BEAT_SECONDS", 0.1)
    monkeypatch.setattr(locks, "_DEAD_SECONDS", 1.0)
    monkeypatch.setattr(locks, "_POLL_SECONDS", 0.05)
    held = list[str]()

    def hold(name: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        with alone(bucket / "weather"):
            held.append(f"{name} in")
            meanwhile()
            threading.Event().wait(0.3)
            held.append(f"{name} out")

    others = [threading.Thread(target=hold, args=(name,)) for name in "ab"]
    for one in others:
        one.start()
    for one in others:
        one.join()
    assert held in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])
    assert not listed(bucket, ".*")
    (bucket / ".weather.lock").write_text("of one that was killed")
    hold("c")
    assert held[-1] == "c out"
    with pytest.raises(TableConflictError, match="taken over"):
        hold("d", lambda: (bucket / ".weather.lock").write_text("another's"))


def test_keys_stand_in_no_representation(bucket: ObjectPath) -> None:
    assert SECRET not in f"{bucket!r} {bucket.bucket!r} {bucket.bucket._settings!r} {bucket.bucket.__dict__}"
    assert SECRET in bucket.bucket.secrets()
    assert isinstance(bucket.bucket.error("x", "read", ValueError(SECRET)), FeatureStoreError)
    assert SECRET not in str(bucket.bucket.error("x", "read", ValueError(SECRET)))
