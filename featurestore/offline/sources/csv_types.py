"""CSV files that a query reads: their headers say which columns there are, and all their cells of which type."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import duckdb

from featurestore.errors import TimestampError
from featurestore.offline import engine
from featurestore.offline.sources.csv_rows import CSV, IS_DATE, ZONED

#: What a cell can be, a bit each: so the bits of a column say what all its cells are.
_INTEGER, _NUMBER, _TRUTH, _DATE, _INSTANT, _NAIVE, _TEXT, _LONG = (1 << place for place in range(8))

_INSTANTS = "TIMESTAMP WITH TIME ZONE"
#: What a column is, the first that covers its bits. A code such as 007 is a text, which a number would change; so is a
#: number of many digits beside fractions. Cells may also be empty. A day as 1/2/2013 is a text: which is the month?
_TYPES = (
    (_INTEGER | _LONG, "BIGINT"),
    (_INTEGER | _NUMBER, "DOUBLE"),
    (_TRUTH, "BOOLEAN"),
    (_DATE, "DATE"),
    (_DATE | _INSTANT, _INSTANTS),
    (_DATE | _NAIVE, "TIMESTAMP"),
)

#: The column that says from which file a row comes, while types are looked for.
_FILE = "file__"


def typed_scan(
    connection: duckdb.DuckDBPyConnection,
    headers: Mapping[Path, Sequence[str]],
    read: Callable[[str], bool],
    what: str,
    *,
    instants: str,
    partitions: bool,
) -> str:
    """Return the query that reads CSV files as one table, and have every line of them read once.

    The headers say which columns there are, not the lines: so a line that has more or fewer is an error rather than a
    reason to take the file for another form. Columns of one name are one column, wherever they stand, and have the type
    of all its cells, whichever file they are in. Where no file has a row, a column has no type, so that a query may
    take it for any.

    Args:
        connection: where it is to run.
        headers: the columns of each file.
        read: whether a column is needed; others are texts.
        what: whose files they are, to begin messages.
        instants: the column of the instants, which has their type even without rows.
        partitions: whether folders ``name=value`` give columns.

    Raises:
        TimestampError: some instants of a column name a time zone and others do not.
        duckdb.Error: a line is broken.
    """
    alike: dict[tuple[str, ...], list[Path]] = {}
    for file, header in headers.items():
        alike.setdefault(tuple(header), []).append(file)
    scans = [_scan(files, header, partitions) for header, files in alike.items()]
    bits: dict[str, dict[str, int]] = {}
    spelt: dict[str, str] = {}  # DuckDB's names are the same in upper and lower case
    for header, scan in zip(alike, scans, strict=True):
        wanted = [name for name in header if read(name)]
        kinds = [f"coalesce(bit_or({_kind(engine.identifier(name))}), 0)" for name in wanted]
        # Without a wanted column the lines are read all the same, for the broken ones.
        rows = connection.sql(f"SELECT {', '.join([_FILE, 'count(*)', *kinds])} FROM {scan} GROUP BY {_FILE}")
        for file, _, *found in rows.fetchall():
            for name, kind in zip(wanted, found, strict=True):
                bits.setdefault(spelt.setdefault(name.casefold(), name), {})[file] = kind
    typed = {name: _type(name, kinds, what) for name, kinds in bits.items()}
    if not bits:
        for name in itertools.chain(*alike):
            if read(name):
                spelt.setdefault(name.casefold(), name)
        typed = {name: _INSTANTS if folded == instants.casefold() else '"NULL"' for folded, name in spelt.items()}
    casts = [
        f"CAST({engine.identifier(name)} AS {dtype}) AS {engine.identifier(name)}"
        for name, dtype in typed.items()
        if dtype != "VARCHAR"
    ]
    changed = f" REPLACE ({', '.join(casts)})" if casts else ""
    whole = " UNION ALL BY NAME ".join(f"SELECT * EXCLUDE ({_FILE}) FROM {scan}" for scan in scans)
    return f"SELECT *{changed} FROM ({whole})"


def _scan(files: Sequence[Path], header: Sequence[str], partitions: bool) -> str:
    listed = ", ".join(engine.literal(str(file)) for file in files)
    columns = ", ".join(f"{engine.literal(name)}: 'VARCHAR'" for name in header)
    return (
        f"read_csv([{listed}], {CSV}, auto_detect = false, columns = {{{columns}}}, filename = '{_FILE}', "
        f"hive_partitioning = {str(partitions).lower()})"
    )


def _kind(cell: str) -> str:
    """Return SQL for the bit of a cell; null for an empty one."""
    return (
        f"CASE WHEN {cell} IS NULL THEN NULL "
        f"WHEN regexp_full_match({cell}, '[+-]?(0|[1-9][0-9]*)') THEN CASE WHEN TRY_CAST({cell} AS BIGINT) IS NULL "
        f"THEN {_TEXT} WHEN length({cell}) < 16 THEN {_INTEGER} ELSE {_LONG} END "
        f"WHEN regexp_matches({cell}, '^[+-]?0[0-9]') AND length({cell}) < 10 THEN {_TEXT} "
        f"WHEN TRY_CAST({cell} AS DOUBLE) IS NOT NULL THEN {_NUMBER} "
        f"WHEN lower({cell}) IN ('true', 'false') THEN {_TRUTH} "
        f"WHEN length({cell}) < 10 THEN {_TEXT} "
        f"WHEN {IS_DATE.format(text=cell)} "
        f"THEN CASE WHEN TRY_CAST({cell} AS DATE) IS NULL THEN {_TEXT} ELSE {_DATE} END "
        f"WHEN ({ZONED.format(text=cell)}) AND TRY_CAST({cell} AS TIMESTAMPTZ) IS NOT NULL THEN {_INSTANT} "
        f"WHEN TRY_CAST({cell} AS TIMESTAMP) IS NOT NULL THEN {_NAIVE} "
        f"ELSE {_TEXT} END"
    )


def _type(name: str, kinds: Mapping[str, int], what: str) -> str:
    """Return the type of a column.

    Args:
        name: the column.
        kinds: the bits of its cells, by file.
        what: whose files they are, to begin messages.

    Raises:
        TimestampError: some of its instants name a time zone and others do not.
    """
    bits = 0
    for kind in kinds.values():
        bits |= kind
    if bits & _INSTANT and bits & _NAIVE and not bits & ~(_DATE | _INSTANT | _NAIVE):
        raise mixed_zones(
            what,
            name,
            naive=next(Path(file) for file, kind in kinds.items() if kind & _NAIVE),
            zoned=next(Path(file) for file, kind in kinds.items() if kind & _INSTANT),
        )
    return next((dtype for covered, dtype in _TYPES if bits and not bits & ~covered), "VARCHAR")


def mixed_zones(what: str, column: str, *, naive: Path, zoned: Path) -> TimestampError:
    """Return the error for files of which some say the time zone of a column's instants and others do not.

    Args:
        what: whose files they are, to begin the message.
        column: the column.
        naive: a file that does not say it.
        zoned: a file that does; it may be the same one.
    """
    others = "others do" if naive == zoned else f"{zoned.name} does"
    some = "some instants of " if naive == zoned else ""
    return TimestampError(
        f'{what}: {naive.name} names no time zone in {some}column "{column}", and {others}.',
        hint="Write the zone into the file: 2013-01-01T07:00:00Z, or an offset such as +01:00.",
    )
