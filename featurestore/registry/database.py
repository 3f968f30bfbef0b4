"""The registry's database: transactions, and bringing its schema up to date.

SQLite's defaults suit one process. Here many open, read and write at once, so: write-ahead logging (readers never
wait), a writer takes its lock when it begins (one that upgrades later can fail with "database is locked" whatever
its patience), and waits for its turn up to :data:`PATIENCE_SECONDS`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from featurestore.errors import RegistryError

#: The newest step in ``migrations/versions``; it stands here so that opening need not import Alembic.
REVISION = "0001"

#: Names Alembic's table, so that another part's migrations can share a database.
VERSION_TABLE = "registry_revision"

#: How long a writer waits for the writers before it.
PATIENCE_SECONDS = 60.0

_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 7_305_217_441


class Database:
    """A registry's database, opened and up to date.

    Args:
        url: a SQLAlchemy URL; ``sqlite:///data/registry.db`` or ``postgresql+psycopg://...``.

    Raises:
        RegistryError: the URL is not one, the database cannot be opened, or a newer release has changed its schema.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.name = parsed.render_as_string(hide_password=True)
        self._engine = _engine(parsed, self.name)
        with self._errors():
            if self._stored_revision() != REVISION:
                self._migrate()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one snapshot."""
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of it is kept, or nothing if an error leaves the block."""
        with self._errors(), self._engine.execution_options(writes=True).begin() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            if "locked" in str(error.orig):
                raise RegistryError(
                    f"The registry {self.name} is busy: other processes held it for over {PATIENCE_SECONDS:.0f} s.",
                    hint="Try again; if it stays so, look for a process that hangs while it writes to it.",
                ) from error
            raise RegistryError(f"The registry {self.name} cannot be used: {error.orig}.") from error
        except SQLAlchemyError as error:
            raise RegistryError(
                f"The registry {self.name} cannot be used: {getattr(error, 'orig', None) or error}."
            ) from error

    def _stored_revision(self) -> str:
        with self._engine.connect() as connection:
            stored = _revision(connection)
        if stored > REVISION:
            raise RegistryError(
                f"The registry {self.name} has schema {stored}, of a newer release; this one knows up to {REVISION}.",
                hint="Upgrade the featurestore package here.",
            )
        return stored

    def _migrate(self) -> None:
        # Imported here because it takes 0.3 s, which every command would pay.
        from alembic import command
        from alembic.config import Config

        if self._engine.dialect.name == "sqlite":
            self._enable_write_ahead_log()
        # The transaction is the lock: a second process waits here, then finds nothing left to do.
        with self._engine.execution_options(writes=True).begin() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            if _revision(connection) == REVISION:
                return
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.attributes.update(connection=connection, version_table=VERSION_TABLE)
            command.upgrade(config, "head")

    def _enable_write_ahead_log(self) -> None:
        # SQLite does not wait for others in this one statement, whatever its timeout.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
            except connection.dialect.loaded_dbapi.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise RegistryError(f"The registry {self.name} cannot be opened: {error}.") from error
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise RegistryError(
            "The registry's URL is not one.", hint='Write registry = "sqlite:///data/registry.db" in featurestore.toml.'
        ) from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise RegistryError(
            f'The registry cannot be kept in "{parsed.get_backend_name()}".', hint="Use sqlite or postgresql+psycopg."
        )
    if parsed.get_backend_name() == "sqlite" and parsed.host:
        raise RegistryError(
            f'The registry\'s URL "{url}" names a host, which a file has not.',
            hint=f'A path takes three slashes: "sqlite:///{parsed.host}/{parsed.database or "registry.db"}".',
        )
    return parsed


def _engine(url: URL, name: str) -> Engine:
    if url.get_backend_name() == "sqlite":
        if url.database:
            try:
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RegistryError(f"The folder of the registry {name} cannot be made: {error}.") from error
        engine = create_engine(url, connect_args={"timeout": PATIENCE_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(url)
    except (ImportError, NoSuchModuleError) as error:
        raise RegistryError(
            f"The registry {name} needs a driver that is not installed: {error}.", hint="pip install psycopg[binary]"
        ) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would otherwise begin transactions by itself, late, and without their lock.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(connection: Connection) -> str:
    if not inspect(connection).has_table(VERSION_TABLE):
        return ""
    stored: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    return stored or ""
