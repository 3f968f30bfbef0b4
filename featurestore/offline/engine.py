"""A DuckDB connection as this package wants it: UTC, bounded memory, and no downloads.

To make a database takes DuckDB 20 ms, and most of what is asked of one takes less. So one that was left in order stands
idle until it is asked for again: for one block at a time, which sees nothing of those before it, since all that they
made was temporary and went with their connection.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import duckdb

from featurestore.errors import OfflineStoreError
from featurestore.offline.ctrl_c import ending_queries
from featurestore.settings.sections import OfflineConfig

#: Rows of one Arrow batch that a query hands out.
BATCH_ROWS = 65_536

#: Databases that nobody uses, and the number of threads that they were made for.
_idle: deque[tuple[int, duckdb.DuckDBPyConnection]] = deque(maxlen=2)


@contextmanager
def connect(config: OfflineConfig, spill: Path, what: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a fresh in-memory connection.

    Args:
        config: memory limit and threads.
        spill: the folder for what does not fit into memory.
        what: what the caller does ("join of service x"), for the error.

    Raises:
        OfflineStoreError: DuckDB refuses a query that runs in the block.
        KeyboardInterrupt: Ctrl-C was pressed while a query ran.
    """
    try:
        database = _database(config.threads)
        try:
            with closing(database.cursor()) as connection, ending_queries(connection):
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute("SET enable_progress_bar = false")  # it would stand amid what a notebook prints
                connection.execute("SET preserve_insertion_order = true")
                connection.execute(f"SET memory_limit = {literal(config.memory_limit)}")
                connection.execute(f"SET temp_directory = {literal(str(spill))}")
                yield connection
        except BaseException:
            database.close()
            raise
        if spill.is_dir() and any(spill.iterdir()):  # its files go with the database that wrote them
            database.close()
        else:
            _idle.append((config.threads, database))
    except duckdb.Error as error:
        raise OfflineStoreError(f"{what} failed: {explain(error)}") from error


def _database(threads: int) -> duckdb.DuckDBPyConnection:
    with suppress(IndexError):  # another thread may take the last one
        while True:
            made_for, idle = _idle.pop()
            if made_for == threads:
                return idle
            idle.close()
    return _made(threads)


def _made(threads: int) -> duckdb.DuckDBPyConnection:
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # What it kept of a file would be taken for the one that stands in its place later.
        "enable_external_file_cache": False,
    }
    if threads:
        settings["threads"] = threads
    return duckdb.connect(":memory:", config=settings)


def _close_idle() -> None:
    with suppress(IndexError):
        while True:
            _idle.pop()[1].close()


atexit.register(_close_idle)
if hasattr(os, "register_at_fork"):  # a child has the database, and none of its threads
    os.register_at_fork(before=_close_idle)


def memory_limit(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the bytes that a connection may use."""
    (shown,) = connection.sql("SELECT current_setting('memory_limit')").fetchall()[0]
    number, _, unit = shown.partition(" ")
    return int(float(number) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(unit))


def explain(error: Exception) -> str:
    """Return DuckDB's message as one line, with the line of SQL that it points to."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return " ".join(line for line in lines if line and not set(line) <= set("^ "))


def identifier(name: str) -> str:
    """Return a name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text quoted for SQL."""
    return "'" + text.replace("'", "''") + "'"


def parquet_scan(files: list[str]) -> str:
    """Return the table function that reads these Parquet files: their columns alone, wherever they lie."""
    # A folder above that is called origin=JFK would stand in the place of their column "origin".
    return f"read_parquet([{', '.join(literal(file) for file in files)}], hive_partitioning = false)"
