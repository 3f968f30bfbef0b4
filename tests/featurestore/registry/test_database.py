"""Opening: new, old, newer, and what is no registry at all; and what is said when the database cannot do its part."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect

from featurestore import database
from featurestore.definitions import Entity, Evaluation, MonitorPolicy
from featurestore.errors import RegistryError
from featurestore.registry import Registry, audit, migrating, open_registry
from featurestore.registry.migrating import open_database
from featurestore.registry.schema import metadata
from tests import forking

MIGRATIONS = Path(migrating.__file__).parent / "migrations"


def run_sql(url: str, *statements: str) -> None:
    """Run statements behind the registry's back, in one transaction."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@contextmanager
def held(url: str) -> Iterator[None]:
    """Hold what a writer holds, as a process does that hangs."""
    other = open_database(url)
    with other.write() as connection:
        audit.lock(connection, "flights")
        yield
        connection.rollback()
    other.close()


def bring_up_to_date(url: str) -> None:
    """Do what opening does on SQLite, and ``featurestore upgrade`` everywhere."""
    open_database(url, upgrade=True).close()


def make_registry_of_the_first_schema(url: str) -> None:
    """Make one with rows of the release that had the schema, not with what this one believes it wrote."""
    old = database.Database(url, what="registry", error=RegistryError, hint="")
    with old.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes.update(connection=connection, version_table=migrating.VERSION_TABLE)
        command.upgrade(config, "0001")
        for statement in Path(__file__).with_name("registry_0001.sql").read_text().splitlines()[1:]:
            connection.exec_driver_sql(statement)
    old.close()


# Migrations


def test_the_migrations_build_the_tables_that_the_code_expects(bare_url: str) -> None:
    make_registry_of_the_first_schema(bare_url)
    bring_up_to_date(bare_url)
    engine = create_engine(bare_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": migrating.VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_new_registry_has_what_the_migrations_build_to_the_last_default(bare_url: str) -> None:
    def shape() -> dict[str, Any]:
        engine = create_engine(bare_url)
        with engine.begin() as connection:
            found = inspect(connection)
            names = sorted(found.get_table_names())
            shape: dict[str, Any] = {
                name: (
                    {one["name"]: one | {"type": str(one["type"])} for one in found.get_columns(name)},
                    found.get_pk_constraint(name),
                    sorted(found.get_foreign_keys(name), key=lambda one: one["name"] or ""),
                    found.get_unique_constraints(name),
                    found.get_check_constraints(name),
                    found.get_indexes(name),
                )
                for name in names
            }
            # No trigger, and no view either.
            others = "sqlite_master WHERE type <> 'table' AND name NOT LIKE 'sqlite_%'"
            if engine.dialect.name == "postgresql":
                others = "pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal"
            shape["others"] = connection.exec_driver_sql(f"SELECT count(*) FROM {others}").scalar_one()
            shape["revision"] = connection.exec_driver_sql(f"SELECT * FROM {migrating.VERSION_TABLE}").all()
            for name in names:
                connection.exec_driver_sql(f"DROP TABLE {name}{' CASCADE' * (engine.dialect.name == 'postgresql')}")
        engine.dispose()
        return shape

    open_registry(bare_url, "flights").close()
    made = shape()
    assert "versions" in made
    make_registry_of_the_first_schema(bare_url)
    bring_up_to_date(bare_url)
    assert shape() == made


def test_the_revision_that_opening_compares_with_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == migrating.REVISION


def test_a_registry_of_the_first_schema_keeps_what_is_in_it(bare_url: str) -> None:
    make_registry_of_the_first_schema(bare_url)
    if bare_url.startswith("postgresql"):  # others may use it
        with pytest.raises(RegistryError, match="has schema 0001, of an older release") as caught:
            open_registry(bare_url, "flights")
        assert "featurestore upgrade" in caught.value.hint
        bring_up_to_date(bare_url)
    with open_registry(bare_url, "flights") as registry:
        assert [one.id for one in registry.list()] == [
            "airport@1",
            "chill@2",
            "flight_delay@2",
            "watch@1",
            "weather@2",
        ]
        assert registry.resolve_service("flight_delay").pins == {"weather": 2, "chill": 2}
        assert registry.policy("watch").definition.service == registry.service("flight_delay@1").definition
        assert [one.version for one in registry.versions("weather")] == [1, 2]
        # It was only a name; it takes no requests because a server was upgraded.
        assert registry.canaries() == {"flight_delay": (1, 0.0)}
        (load,) = registry.loads("weather-0f3a91c2b4d5")
        assert (load.rows_written, load.reasons) == (2, {"temp < -80": 1})
        assert registry.dataset("delays").manifest["service"] == "flight_delay@1"
        (model,) = registry.models()
        assert (model.metrics, model.feature_importances, model.environment) == ({"rmse": 12.5}, {}, {})
        assert (model.evaluation, model.reference_performance) == (Evaluation(), {})
        assert len(registry.audit()) == 14
        assert registry.rollback("flight_delay", who="ada").id == "flight_delay@1"
        assert registry.verify_audit() == []
        assert registry.apply([Entity(name="plane")], who="ada").changes[0].to_version == 1


def wait_for_two(holder: database.Database) -> None:
    """Wait until two sessions wait for a lock; SQLite does not tell."""
    if holder.dialect == "sqlite":
        time.sleep(1)
        return
    deadline = time.monotonic() + 60
    waiting = 0
    while waiting < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
        with holder.read() as connection:
            count = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            waiting = connection.exec_driver_sql(count).scalar_one()


def test_two_processes_that_open_an_old_registry_together_migrate_it_once(bare_url: str) -> None:
    make_registry_of_the_first_schema(bare_url)
    code = (
        "import sys; from featurestore.registry import open_registry\n"
        "from featurestore.registry.migrating import open_database\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"open_database({bare_url!r}, upgrade=True).close()\n"
        f"with open_registry({bare_url!r}, 'flights') as registry: print(len(registry.list()))"
    )
    pipe = subprocess.PIPE
    started = [
        forking.Forked([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    # Neither gets anywhere until both have seen that the registry is old.
    holder = database.Database(bare_url, what="registry", error=RegistryError, hint="")
    with holder.write() as connection:
        if holder.dialect == "postgresql":
            connection.exec_driver_sql("LOCK TABLE objects")
        for one in started:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        wait_for_two(holder)
        connection.rollback()
    holder.close()
    assert [one.communicate(timeout=60) for one in started] == [("5\n", "")] * 2


def test_opening_an_up_to_date_registry_does_not_import_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    open_registry(url, "flights").close()
    code = (
        "import sys; from featurestore.registry import open_registry; "
        f"open_registry({url!r}, 'flights').close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_registry_of_a_newer_release_is_refused(bare_url: str) -> None:
    open_registry(bare_url, "flights").close()
    run_sql(bare_url, f"UPDATE {migrating.VERSION_TABLE} SET version_num = '9999', readable_from = NULL, release = ''")
    with pytest.raises(RegistryError, match="has schema 9999, of a newer release") as caught:
        open_registry(bare_url, "flights")
    assert caught.value.hint == "Upgrade the featurestore package here."
    run_sql(bare_url, f"UPDATE {migrating.VERSION_TABLE} SET readable_from = '9998', release = '3.0.0'")
    with pytest.raises(RegistryError, match=r"has schema 9999, of release 3\.0\.0; this one, ") as caught:
        open_registry(bare_url, "flights")
    assert caught.value.hint == "Upgrade the featurestore package here to 3.0.0, or a later one."


def test_a_registry_to_which_the_next_release_only_added_goes_on_as_it_is(bare_url: str) -> None:
    """Servers of two neighbouring releases work side by side."""
    with open_registry(bare_url, "flights") as registry:
        registry.apply([Entity(name="airport")], who="ada")
    run_sql(
        bare_url,
        f"UPDATE {migrating.VERSION_TABLE} SET version_num = '9999', release = '0.2.0'",
        "ALTER TABLE versions ADD COLUMN tomorrow VARCHAR NOT NULL DEFAULT 'x'",
        "CREATE TABLE inventions (name VARCHAR PRIMARY KEY)",
    )
    with open_registry(bare_url, "flights") as other:
        assert other.get("airport").version == 1
        assert other.apply([Entity(name="plane")], who="ada").changes[0].to_version == 1
        assert other.verify_audit() == []
    bring_up_to_date(bare_url)  # which has nothing to do, and takes nothing back
    assert migrating.found_schema(bare_url).revision == "9999"


def test_a_registry_with_an_object_of_a_newer_release_is_listed_and_the_object_refused(
    registry: Registry, url: str
) -> None:
    registry.apply([Entity(name="airport")], who="ada")
    run_sql(url, "UPDATE objects SET kind = 'oracle'")
    (found,) = registry.list()
    assert found.id == "airport@1"
    with pytest.raises(
        RegistryError, match='"airport" is of kind "oracle", which this release does not know'
    ) as caught:
        _ = found.definition
    assert caught.value.hint == "Upgrade the featurestore package here."


# Waiting


def test_a_writer_that_never_gets_its_turn_is_told_so(
    registry: Registry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.apply([Entity(name="airport")], who="ada")
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.05)
    with open_registry(url, "flights") as impatient:
        with held(url):
            assert registry.datasets() == impatient.datasets() == []
            with pytest.raises(RegistryError, match="is busy") as caught:
                impatient.record_dataset("delays", {}, who="ada")
            assert "hangs" in caught.value.hint
        assert impatient.record_dataset("delays", {}, who="ada").version == 1


def test_applying_what_is_registered_does_not_wait_for_writers(
    registry: Registry, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that applies its definitions at every start must not queue behind a long writer."""
    airport = Entity(name="airport")
    registry.apply([airport], who="ada")
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.05)
    with held(url), open_registry(url, "flights") as starting:
        assert starting.apply([airport], who="ada").is_empty


def test_a_reader_sees_one_snapshot_over_all_its_statements(
    registry: Registry, url: str, policy: Callable[..., MonitorPolicy]
) -> None:
    registry.apply([policy()], who="ada")
    reader = open_database(url)
    with reader.read() as connection:
        before = connection.exec_driver_sql("SELECT current_version FROM objects WHERE name = 'weather'").scalar()
        registry.apply([policy(ttl=None)], who="ada")
        after = connection.exec_driver_sql("SELECT current_version FROM objects WHERE name = 'weather'").scalar()
        assert (before, after) == (1, 1)
    reader.close()
    assert registry.get("weather").version == 2


def test_the_server_plans_each_statement_with_its_values(postgresql: str) -> None:
    """Prepared, the query for the current versions of many names ran for minutes on tables without statistics."""
    with open_registry(postgresql.replace("://", "+psycopg://"), "flights") as registry:
        registry.apply([Entity(name="airport")], who="ada")
        for _ in range(20):
            registry.plan([Entity(name="airport")])
        with registry._database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar() == 0


# URLs and what they lead to


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("registry.db", "is not one"),
        ("postgresql+psycopg://ada:hunter2@host:port/db", "is not one"),
        ("mysql://ada:hunter2@host/db", 'kept in "mysql"'),
        ("sqlite://ada:hunter2@data/registry.db", "names a host"),
        ("sqlite://", "names no file"),
        ("postgresql+unheard://ada:hunter2@host/db", "needs a driver that is not installed"),
        ("postgresql+psycopg://ada:hunter2@127.0.0.1:1/db", "Connection refused"),
        ("postgresql+psycopg://ada@127.0.0.1:1/db?password=hunter2", "Connection refused"),
        ("postgresql+psycopg://ada:hunter2@nowhere.invalid/db", "cannot be used"),
    ],
)
def test_a_url_that_leads_to_no_registry_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message) as caught:
        open_registry(url, "flights")
    assert "hunter2" not in str(caught.value)
    assert caught.value.hint


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("These are notes. " * 100)
    with pytest.raises(RegistryError, match=r"notes\.db cannot be used: file is not a database") as caught:
        open_registry(f"sqlite:///{tmp_path}/notes.db", "flights")
    assert "Name another file" in caught.value.hint
    with pytest.raises(RegistryError, match="cannot be made"):
        open_registry(f"sqlite:///{tmp_path}/notes.db/registry.db", "flights")
    with pytest.raises(RegistryError, match="cannot be used: unable to open") as caught:
        open_registry(f"sqlite:///{tmp_path}", "flights")
    assert "Is it a file" in caught.value.hint


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_CONNECT_SECONDS", 2)  # the least that the driver knows
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(RegistryError, match="timeout") as caught:
            open_registry(f"postgresql+psycopg://ada@127.0.0.1:{port}/db", "flights")
    assert "Is the server running?" in caught.value.hint


def test_whether_a_server_runs_is_asked_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    with pytest.raises(RegistryError, match=rf"port {port} failed: Connection refused\.\n") as caught:
        open_registry(f"postgresql+psycopg://ada@127.0.0.1:{port}/db", "flights")
    assert f"{caught.value.message} {caught.value.hint}".count("running") == 1


def test_what_the_server_refuses_is_said(postgresql: str) -> None:
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS locked; CREATE ROLE locked LOGIN PASSWORD 'right'")
    server = postgresql.removeprefix("postgresql://postgres@").rpartition("/")[0]
    with pytest.raises(RegistryError, match="password authentication failed") as caught:
        open_registry(f"postgresql+psycopg://locked:hunter2@{server}/fresh", "flights")
    assert "hunter2" not in str(caught.value)
    assert caught.value.hint == "Check user and password in the URL."
    with pytest.raises(RegistryError, match="no password supplied") as caught:
        open_registry(f"postgresql+psycopg://locked@{server}/fresh", "flights")
    assert caught.value.hint == "Check user and password in the URL."
    with pytest.raises(RegistryError, match='role "nobody" does not exist') as caught:
        open_registry(f"postgresql+psycopg://nobody@{server}/fresh", "flights")
    assert "Make the user" in caught.value.hint
    with pytest.raises(RegistryError, match='database "unmade" does not exist') as caught:
        open_registry(f"postgresql+psycopg://postgres@{server}/unmade", "flights")
    assert caught.value.hint == "Make the database (createdb), or name another in the URL."
    with pytest.raises(RegistryError, match="permission denied for schema public") as caught:
        open_registry(f"postgresql+psycopg://locked:right@{server}/fresh", "flights")
    assert "Let this user make and change tables" in caught.value.hint


# What may happen later


READ_ONLY = """
import os, sys
from sqlalchemy import create_engine
from featurestore.definitions import Entity
from featurestore.errors import RegistryError
from featurestore.registry import open_registry

url, user = sys.argv[1], int(sys.argv[2])
with open_registry(url, "flights") as registry:  # also imports what an unprivileged user may not be able to
    registry.apply([Entity(name="airport")], who="ada")
    for file in os.listdir("."):
        os.chmod(file, 0o444)
    os.chmod(".", 0o555)
    if user:
        os.seteuid(user)
    registry.close()
    try:
        registry.apply([Entity(name="plane")], who="ada")
    except RegistryError as error:
        print(error.message, error.hint, sep="\\n")
"""


def test_a_file_that_may_only_be_read_is_refused_to_writers() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        nobody = 65534 if os.geteuid() == 0 else 0
        done = forking.run(
            [sys.executable, "-c", READ_ONLY, f"sqlite:///{folder}/registry.db", str(nobody)],
            capture_output=True,
            text=True,
            check=True,
            cwd=folder,
        )
        Path(folder).chmod(0o700)
    message, hint = done.stdout.splitlines()
    assert "cannot be used: attempt to write a readonly database" in message
    assert hint == "Let this user write to the file and to its folder."


def test_a_server_that_only_follows_another_is_refused_to_writers(postgresql: str) -> None:
    url = postgresql.replace("://", "+psycopg://")
    with open_registry(url, "flights") as registry:
        registry.apply([Entity(name="airport")], who="ada")
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("ALTER DATABASE fresh SET default_transaction_read_only = on")
    try:
        with open_registry(url, "flights") as registry:
            assert registry.get("airport").version == 1
            with pytest.raises(RegistryError, match="read-only transaction") as caught:
                registry.apply([Entity(name="plane")], who="ada")
            assert "name that one in the URL" in caught.value.hint
    finally:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER DATABASE fresh RESET default_transaction_read_only")


def test_a_disk_that_is_full_changes_nothing(bare_url: str) -> None:
    """SQLite is given no more pages; on PostgreSQL a trigger raises what a full disk raises."""
    with open_registry(bare_url, "flights") as registry:
        registry.apply([Entity(name="airport")], who="ada")
        registry.close()
        if bare_url.startswith("sqlite"):
            engine = registry._database.engine
            event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
        else:
            run_sql(
                bare_url,
                "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
                "$$BEGIN RAISE disk_full USING MESSAGE = 'could not extend file'; END$$",
                "CREATE TRIGGER no_room BEFORE INSERT ON audit EXECUTE FUNCTION no_room()",
            )
        many = [Entity(name=f"plane{number}", description="x" * 1000) for number in range(100)]
        with pytest.raises(
            RegistryError, match=r"cannot be used: (database or disk is full|could not extend)"
        ) as caught:
            registry.apply(many, who="ada")
        assert caught.value.hint == "Make room on its disk and try again: nothing was changed."
        assert [one.id for one in registry.list()] == ["airport@1"]
        assert registry.verify_audit() == []


def test_a_connection_that_the_server_closed_is_replaced(postgresql: str) -> None:
    """Servers are restarted, and firewalls forget; a daemon's registry must outlive both."""

    def close_all() -> None:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ours'")

    def write_while(happens: Callable[[], None], registry: Registry) -> None:
        with registry._database.write() as connection:
            happens()
            audit.lock(connection, "flights")

    url = postgresql.replace("://", "+psycopg://") + "?application_name=ours"
    with open_registry(url, "flights") as registry:
        registry.apply([Entity(name="airport")], who="ada")
        close_all()
        assert registry.get("airport").version == 1
        with pytest.raises(RegistryError, match="cannot be used: terminating connection") as caught:
            write_while(close_all, registry)
        assert "Is the server running?" in caught.value.hint
        assert registry.apply([Entity(name="plane")], who="ada").changes[0].to_version == 1
