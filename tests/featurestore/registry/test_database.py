"""Opening: new, old, newer, and what is no registry at all."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from featurestore import database
from featurestore.definitions import Entity
from featurestore.errors import RegistryError
from featurestore.registry import Registry, migrating, open_registry
from featurestore.registry.schema import metadata


def test_the_migrations_build_the_tables_that_the_code_expects(registry: Registry, url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": migrating.VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    assert registry.list() == []


def test_the_revision_that_opening_compares_with_is_the_newest_migration() -> None:
    folder = Path(migrating.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == migrating.REVISION


def test_opening_an_up_to_date_registry_does_not_import_alembic(registry: Registry, url: str) -> None:
    code = (
        "import sys; from featurestore.registry import open_registry; "
        f"open_registry({url!r}, 'flights').close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert registry.revision() == 0


def test_a_registry_of_a_newer_release_is_refused(registry: Registry, url: str) -> None:
    registry.close()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(f"UPDATE {migrating.VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(RegistryError, match="has schema 9999, of a newer release") as caught:
        open_registry(url, "flights")
    assert caught.value.hint == "Upgrade the featurestore package here."


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("These are notes. " * 100)
    with pytest.raises(RegistryError, match=r"notes\.db cannot be used: file is not a database"):
        open_registry(f"sqlite:///{tmp_path}/notes.db", "flights")
    with pytest.raises(RegistryError, match="cannot be made"):
        open_registry(f"sqlite:///{tmp_path}/notes.db/registry.db", "flights")
    with pytest.raises(RegistryError, match="cannot be used: unable to open"):
        open_registry(f"sqlite:///{tmp_path}", "flights")


@pytest.mark.parametrize(
    ("url", "message"), [("registry.db", "is not one"), ("mysql://root:hunter2@host/db", 'kept in "mysql"')]
)
def test_a_url_that_names_no_registry_is_refused(url: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message) as caught:
        open_registry(url, "flights")
    assert "hunter2" not in str(caught.value)


def test_a_writer_that_never_gets_its_turn_is_told_so(
    registry: Registry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.05)
    with (
        closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other,
        open_registry(url, "flights") as impatient,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert registry.datasets() == impatient.datasets() == []
        with pytest.raises(RegistryError, match="is busy") as caught:
            impatient.record_dataset("delays", {}, who="ada")
        assert "hangs" in caught.value.hint
        other.execute("ROLLBACK")
        assert impatient.record_dataset("delays", {}, who="ada").version == 1


def test_applying_what_is_registered_does_not_wait_for_writers(
    registry: Registry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that applies its definitions at every start must not queue behind a long writer."""
    airport = Entity(name="airport")
    registry.apply([airport], who="ada")
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.05)
    with (
        closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as other,
        open_registry(url, "flights") as starting,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert starting.apply([airport], who="ada").is_empty
        other.execute("ROLLBACK")
