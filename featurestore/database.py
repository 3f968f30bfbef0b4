"""A SQL database as this package wants it: the registry's, and the monitor's.

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

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from featurestore.errors import FeatureStoreError

#: How long a writer waits for the writers before it.
PATIENCE_SECONDS = 60.0


class Database:
    """A database, opened.

    Args:
        url: a SQLAlchemy URL; ``sqlite:///data/registry.db`` or ``postgresql+psycopg://...``.
        what: what it is, for messages: ``registry``.
        error: the class of the errors it raises.
        hint: how the URL is written in ``featurestore.toml``.

    Raises:
        FeatureStoreError: of the class ``error``: the URL is not one, or the database cannot be opened.
    """

    def __init__(self, url: str, *, what: str, error: type[FeatureStoreError], hint: str) -> None:
        self._what = what
        self._error = error
        parsed = self._parse(url, hint)
        self.name = parsed.render_as_string(hide_password=True)
        self.dialect = parsed.get_backend_name()
        self.path = Path(parsed.database) if self.dialect == "sqlite" and parsed.database else None
        self.engine = self._open(parsed)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one snapshot."""
        with self.errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of it is kept, or nothing if an error leaves the block."""
        with self.errors(), self.engine.execution_options(writes=True).begin() as connection:
            yield connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the database's errors into ours, without what its URL may say of a password."""
        try:
            yield
        except OperationalError as error:
            if "locked" in str(error.orig):
                raise self._error(
                    f"The {self._what} {self.name} is busy: other processes held it for over {PATIENCE_SECONDS:.0f} s.",
                    hint="Try again; if it stays so, look for a process that hangs while it writes to it.",
                ) from error
            raise self._error(f"The {self._what} {self.name} cannot be used: {error.orig}.") from error
        except SQLAlchemyError as error:
            raise self._error(
                f"The {self._what} {self.name} cannot be used: {getattr(error, 'orig', None) or error}."
            ) from error

    def enable_write_ahead_log(self) -> None:
        """Make SQLite keep a write-ahead log, once for a file; other databases have one."""
        if self.dialect != "sqlite":
            return
        # SQLite does not wait for others in this one statement, whatever its timeout.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
            except connection.dialect.loaded_dbapi.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise self._error(f"The {self._what} {self.name} cannot be opened: {error}.") from error
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()

    def _parse(self, url: str, hint: str) -> URL:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise self._error(f"The URL of the {self._what} is not one.", hint=hint) from None
        backend = parsed.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise self._error(f'The {self._what} cannot be kept in "{backend}".', hint=hint)
        if backend == "sqlite" and parsed.host:
            raise self._error(
                f'The URL "{url}" of the {self._what} names a host, which a file has not.',
                hint=f'A path takes three slashes: "sqlite:///{parsed.host}/{parsed.database or "NAME.db"}".',
            )
        if backend == "sqlite" and not parsed.database:
            raise self._error(f"The URL of the {self._what} names no file.", hint=hint)
        return parsed

    def _open(self, url: URL) -> Engine:
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise self._error(f"The folder of the {self._what} {self.name} cannot be made: {error}.") from error
            engine = create_engine(url, connect_args={"timeout": PATIENCE_SECONDS})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        try:
            return create_engine(url)
        except (ImportError, NoSuchModuleError) as error:
            raise self._error(
                f"The {self._what} {self.name} needs a driver that is not installed: {error}.",
                hint="pip install psycopg[binary]",
            ) from error


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would otherwise begin transactions by itself, late, and without their lock.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
