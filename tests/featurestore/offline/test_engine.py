"""Databases in memory are used again, and whoever gets one sees nothing of those before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from featurestore.errors import OfflineStoreError
from featurestore.offline import engine
from featurestore.settings.sections import OfflineConfig


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Yield the databases that were made, beginning with none that stands idle."""
    engine._close_idle()
    databases: list[object] = []

    def connect(*arguments: object, **settings: object) -> duckdb.DuckDBPyConnection:
        databases.append(settings)
        return really(*arguments, **settings)  # type: ignore[arg-type]

    really = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", connect)
    yield databases
    engine._close_idle()


def setting(connection: duckdb.DuckDBPyConnection, name: str) -> object:
    (value,) = connection.sql(f"SELECT current_setting('{name}')").fetchall()[0]
    return value


def test_the_next_block_has_the_database_and_nothing_of_what_was_made_in_it(tmp_path: Path, made: list[object]) -> None:
    with engine.connect(OfflineConfig(memory_limit="1GB"), tmp_path / "a", "Counting") as connection:
        connection.execute("CREATE TEMP TABLE mine AS SELECT 1 AS one")
        connection.execute("CREATE TEMP VIEW seen AS SELECT 1 AS one")
        connection.register("given", pa.table({"one": [1]}))
        connection.execute("SET preserve_insertion_order = false")
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
    with engine.connect(OfflineConfig(memory_limit="256MiB"), tmp_path / "b", "Counting") as connection:
        for name in ("mine", "seen", "given"):
            with pytest.raises(duckdb.CatalogException):
                connection.sql(f"SELECT * FROM {name}")
        assert setting(connection, "preserve_insertion_order") is True
        assert setting(connection, "TimeZone") == "UTC"
        assert setting(connection, "temp_directory") == str(tmp_path / "b")
        assert setting(connection, "enable_external_file_cache") is False
        assert engine.memory_limit(connection) == 256 * 1024**2
    assert len(made) == 1


def test_blocks_at_once_have_one_each_with_its_own_limit(tmp_path: Path, made: list[object]) -> None:
    with (
        engine.connect(OfflineConfig(memory_limit="256MiB"), tmp_path, "Counting") as first,
        engine.connect(OfflineConfig(memory_limit="512MiB"), tmp_path, "Counting") as second,
    ):
        assert [engine.memory_limit(one) // 1024**2 for one in (first, second)] == [256, 512]
    with engine.connect(OfflineConfig(threads=1), tmp_path, "Counting") as connection:
        assert setting(connection, "threads") == 1
    assert len(made) == 3


def test_one_that_failed_or_spilled_is_not_used_again(tmp_path: Path, made: list[object]) -> None:
    for number in (1, 2):
        with (
            pytest.raises(OfflineStoreError, match="Counting failed"),
            engine.connect(OfflineConfig(), tmp_path / "spill", "Counting") as connection,
        ):
            connection.sql("SELECT * FROM nothing")
        assert len(made) == number
    config = OfflineConfig(memory_limit="64MiB", threads=1)
    with engine.connect(config, tmp_path / "spill", "Counting") as connection:
        connection.execute("CREATE TEMP TABLE wide AS SELECT range AS n, hash(range) AS h FROM range(12_000_000)")
        assert list((tmp_path / "spill").iterdir())
    assert not (tmp_path / "spill").exists() or not list((tmp_path / "spill").iterdir())
    with engine.connect(config, tmp_path / "spill", "Counting"):
        assert len(made) == 4


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12's
def test_a_fork_takes_no_idle_database_along(tmp_path: Path) -> None:
    with engine.connect(OfflineConfig(), tmp_path, "Counting"):
        pass
    assert len(engine._idle) == 1
    child = os.fork()
    if not child:
        os._exit(len(engine._idle))
    assert os.waitpid(child, 0)[1] == 0
