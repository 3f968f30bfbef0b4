"""A SQL database as this package wants it: the registry's, and the monitor's.

SQLite's defaults suit one process. Here many open, read and write at once, so: write-ahead logging (readers never
wait), a writer takes its lock when it begins (one that upgrades later can fail with "database is locked" whatever
its patience), and waits for its turn up to :data:`PATIENCE_SECONDS`. While it waits it asks ever more often. SQLite
itself would ask ever less often, so that among fifty writers the last to come is served and the first starves.

PostgreSQL's defaults suit statements. Here a transaction is the unit: a reader sees one snapshot over all its
statements, and a writer waits for the lock that it needs as long as on SQLite, then says so.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from featurestore.errors import FeatureStoreError

#: How long a writer waits for the writers before it.
PATIENCE_SECONDS = 60.0

#: How long a server may take to take a call.
_CONNECT_SECONDS = 10

#: The codes with which SQLite and PostgreSQL say that others were in the way.
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "55P03", "40001", "40P01")

#: What to do about the rest, by the beginning of the code.
_HINTS = (
    (("SQLITE_READONLY",), "Let this user write to the file and to its folder."),
    (("25006",), "This server only follows another one: name that one in the URL."),
    (("SQLITE_FULL", "SQLITE_IOERR", "53100"), "Make room on its disk and try again: nothing was changed."),
    (("SQLITE_CANTOPEN",), "Is it a file in a folder that this user may write to?"),
    (("SQLITE_NOTADB", "SQLITE_CORRUPT"), "Name another file, or bring this one back from a backup."),
    (("42501", "3F000"), "Let this user make and change tables in the database."),
    (("57P", "08"), "The connection broke. Is the server running? Then try again."),
)

#: What PostgreSQL and its library say, in English, when they let nobody in, and what to do. There is no code then.
_REFUSALS = (
    (r"password authentication failed|no password supplied", "Check user and password in the URL."),
    (r'role ".*" does not exist', "Make the user (createuser), or name another in the URL."),
    (r'database ".*" does not exist', "Make the database (createdb), or name another in the URL."),
    (
        r"no pg_hba\.conf entry",
        "Let this user in from this machine, in the server's pg_hba.conf; or use TLS: sslmode=require.",
    ),
    (r"failed to resolve host|could not translate host name", "Check the host in the URL."),
)
_UNREACHED = "Is the server running? Check host, port, database, user and password in the URL."
#: The library asks the reader, in a line of its own, what the hint asks too.
_LIBPQ_ASKS = re.compile(r"\n\t[^\n]*\?")


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
        # Without what follows the "?", where a password can stand as well.
        self.name = parsed.set(query={}).render_as_string(hide_password=True)
        self.dialect = parsed.get_backend_name()
        self._arguments: dict[str, Any] = {}
        self.path = Path(parsed.database) if self.dialect == "sqlite" and parsed.database else None
        self.engine = self._open(parsed)
        self._writer = self.engine.execution_options(writes=True)
        self._reader = self.engine
        if self.dialect == "postgresql":
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ")

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def connect(self) -> Any:
        """Return a connection of the driver beside the pool's, which the caller closes.

        Raises:
            Exception: one of the driver's own: it cannot be opened.
        """
        dialect = self.engine.dialect
        arguments, options = dialect.create_connect_args(self.engine.url)
        return dialect.loaded_dbapi.connect(*arguments, **options, **self._arguments)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that sees one snapshot."""
        with self.errors(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes: all of it is kept, or nothing if an error leaves the block."""
        with self.errors(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the database's errors into ours, without what its URL may say of a password."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self._explained(error) from error

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
            except sqlite3.OperationalError as error:
                if not _code(error).startswith(_BUSY) or time.monotonic() > deadline:
                    raise self._told(error) from error
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()

    def forget(self) -> None:
        """Leave no byte of what was removed or written over in SQLite's files; other databases see to that themselves.

        Waits for those who read or write meanwhile.
        """
        if self.dialect != "sqlite":
            return
        deadline = time.monotonic() + PATIENCE_SECONDS
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("VACUUM")
            # The log has the pages as they were, until all of it is in the file.
            while cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    raise sqlite3.OperationalError("others read in it all the time")
                time.sleep(0.02)
        except sqlite3.OperationalError as error:
            raise self._told(error) from error
        finally:
            connection.close()

    def _explained(self, error: SQLAlchemyError) -> FeatureStoreError:
        if isinstance(error, PoolTimeoutError):
            return self._error(
                f"The {self._what} {self.name} has all its connections in use by this process.",
                hint="Use it from fewer threads at once.",
            )
        original = getattr(error, "orig", None)
        if original is None:
            return self._error(f"The {self._what} {self.name} cannot be used: {error}.")
        return self._told(original, connecting=getattr(error, "statement", None) is None)

    def _told(self, error: BaseException, *, connecting: bool = False) -> FeatureStoreError:
        code = _code(error)
        if code.startswith(_BUSY):
            return self._error(
                f"The {self._what} {self.name} is busy: other processes held it for over {PATIENCE_SECONDS:.0f} s.",
                hint="Try again; if it stays so, look for a process that hangs while it writes to it.",
            )
        hint = next((hint for codes, hint in _HINTS if code.startswith(codes)), "")
        if connecting and self.dialect == "postgresql":
            # The server's refusals carry no code here, and may be in its language.
            hint = hint or next((do for words, do in _REFUSALS if re.search(words, str(error))), _UNREACHED)
        # A refused statement is shown with a picture of itself below the first line; a refused call has no statement.
        text = _LIBPQ_ASKS.sub("", str(error)) if connecting else str(error).partition("\n")[0]
        return self._error(
            f"The {self._what} {self.name} cannot be used: {' '.join(text.split()).rstrip('.')}.", hint=hint
        )

    def _parse(self, url: str, hint: str) -> URL:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):  # a port that is no number is the latter
            raise self._error(f"The URL of the {self._what} is not one.", hint=hint) from None
        backend = parsed.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise self._error(f'The {self._what} cannot be kept in "{backend}".', hint=hint)
        if backend == "sqlite" and parsed.host:
            raise self._error(
                f'The URL "{parsed.render_as_string()}" of the {self._what} names a host, which a file has not.',
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
            arguments: dict[str, Any] = {} if "connect_timeout" in url.query else {"connect_timeout": _CONNECT_SECONDS}
            # A statement that is prepared is planned without its values: one with 500 names then took for ever on
            # tables that were filled a moment ago. And a proxy that shares connections knows nothing of it.
            arguments["prepare_threshold"] = None
            self._arguments = arguments
            engine = create_engine(
                url,
                connect_args=arguments,
                # Fifty processes must fit into a server's hundred connections: each holds one, or two with threads.
                pool_size=2,
                # More only while as many threads ask at once; who gets none in time is told so.
                max_overflow=10,
                pool_timeout=30,
                # A server that was restarted, or a firewall, has closed connections that look open.
                pool_pre_ping=True,
            )
        except (ImportError, NoSuchModuleError) as error:
            raise self._error(
                f"The {self._what} {self.name} needs a driver that is not installed: {error}.",
                hint="pip install 'featurestore[postgres]', and write postgresql+psycopg:// in the URL.",
            ) from error
        event.listen(engine, "begin", _begin_postgresql)
        return engine


def _code(error: BaseException) -> str:
    """Return the name that SQLite gives an error, or the five characters that PostgreSQL gives it."""
    return getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or ""


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would otherwise begin transactions by itself, late, and without their lock.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")


def _writes(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("writes", False))


def _begin_sqlite(connection: Connection) -> None:
    if not _writes(connection):
        connection.exec_driver_sql("BEGIN")
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        _await_turn(driver)
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout = {round(PATIENCE_SECONDS * 1000)}")


def _await_turn(driver: Any) -> None:
    """Begin to write; return without a transaction when the patience is at its end, or there is another trouble."""
    started = time.monotonic()
    while (waited := time.monotonic() - started) < PATIENCE_SECONDS:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not _code(error).startswith(_BUSY):
                return
            time.sleep(0.002 if waited < 0.02 else max(0.002, 0.05 / (1 + waited)))
        else:
            return


def _begin_postgresql(connection: Connection) -> None:
    if _writes(connection):
        # Within the transaction, not with the connection: proxies that share connections would lose it.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(PATIENCE_SECONDS * 1000)}")
