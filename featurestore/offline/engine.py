"""A DuckDB connection as this package wants it: UTC, bounded memory, and no downloads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from featurestore.errors import OfflineStoreError
from featurestore.offline.ctrl_c import ending_queries
from featurestore.settings.sections import OfflineConfig
from featurestore.storage import is_object_url, located

if TYPE_CHECKING:
    from featurestore.storage.filesystem import ObjectFiles

#: Rows of one Arrow batch that a query hands out.
BATCH_ROWS = 65_536


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
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": config.memory_limit,
        "temp_directory": str(spill),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    if config.threads:
        settings["threads"] = config.threads
    files = _object_files(config) if is_object_url(config.path) else None
    try:
        with duckdb.connect(":memory:", config=settings) as connection, ending_queries(connection):
            if files is not None:
                connection.register_filesystem(files)
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")  # it would stand amid what a notebook prints
            yield connection
    except (duckdb.Error, OfflineStoreError) as error:
        if files is not None and files.failure is not None:
            raise files.failure from None  # DuckDB gives a traceback of it
        if isinstance(error, OfflineStoreError):
            raise
        raise OfflineStoreError(f"{what} failed: {explain(error)}") from error


def _object_files(config: OfflineConfig) -> ObjectFiles:
    located(config.path, config.storage)  # says what is wrong with it, or which packages are missing
    from featurestore.storage.filesystem import ObjectFiles

    return ObjectFiles(config.storage)


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
