"""What the rows of one load are like beside those that the table had before it: which load brought a fault."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from featurestore.definitions import FeatureView, Field
from featurestore.definitions.names import LOAD_ID
from featurestore.offline.engine import identifier, literal, parquet_scan
from featurestore.offline.join import order as join
from featurestore.offline.opened import Opened
from featurestore.registry.records import Load


@dataclass(frozen=True, kw_only=True)
class FieldOfLoad:
    """One field in the rows of a load, and in the rows before it. Counts are of rows.

    Attributes:
        rows: of the load.
        rows_before: of the table before the load.
        missing: null or NaN.
        missing_before: the same before.
        outside: below the least value before, or above the greatest; 0 of what has no order.
        unseen: with a value that no row before has; 0 of nested values.
        constant: whether all values are one, and before there were others.
    """

    rows: int
    rows_before: int
    missing: int
    missing_before: int
    outside: int
    unseen: int
    constant: bool


class LoadRows(Opened):
    """The rows of single loads."""

    def fields_of_load(self, view: FeatureView, load: Load, names: Collection[str]) -> dict[str, FieldOfLoad] | None:
        """Return fields of a load beside those of the rows that its table had before it, by name.

        Args:
            view: the view.
            load: one of its loads.
            names: of fields; others than the view's are left out.

        Returns:
            None if it cannot be told any more, as the files of that time are gone.

        Raises:
            OfflineStoreError: a file cannot be read.
        """
        table = self.table(view)
        held = {one.path: one.place for one in table.snapshot(load.table_version - 1).files}
        came = {one.path: one.place for one in table.snapshot(load.table_version).files if one.path not in held}
        if not all(one.exists() for one in (*came.values(), *held.values())):
            return None
        before, files = sorted(held), list(came)
        fields = [one for one in view.schema if one.name in names]
        with self._connect([view], f'Reading load "{load.load_id}" of feature view "{view.name}"') as connection:
            try:
                return {one.name: _beside(connection, one, load.load_id, files, before) for one in fields}
            except (duckdb.Error, OSError) as error:
                raise join.unreadable(view, error) from error


def _beside(
    connection: duckdb.DuckDBPyConnection, field: Field, load_id: str, files: Sequence[str], before: Sequence[str]
) -> FieldOfLoad:
    value = identifier(field.name)
    floating = field.dtype.numeric and "Float" in field.dtype.name
    missing = f"({value} IS NULL OR isnan({value}))" if floating else f"{value} IS NULL"
    plain, ordered = field.dtype.scalar, field.dtype.numeric
    nothing = f"(SELECT NULL::{field.dtype.duckdb} AS {value} WHERE false)"
    then = parquet_scan(list(before)) if before else nothing
    now = (
        f"(SELECT {value} FROM {parquet_scan(list(files))} WHERE {LOAD_ID} = {literal(load_id)})" if files else nothing
    )
    distinct = f"count(DISTINCT {value}) FILTER (NOT {missing})" if plain else "0"
    ends = f"min({value}) FILTER (NOT {missing}), max({value}) FILTER (NOT {missing})" if ordered else "NULL, NULL"
    query = f"SELECT count(*), count(*) FILTER ({missing}), {distinct}, {ends} FROM "
    rows_before, missing_before, kinds_before, low, high = connection.sql(query + then).fetchall()[0]
    rows, absent, kinds, _, _ = connection.sql(query + now).fetchall()[0]
    outside = unseen = 0
    if ordered and low is not None:
        beyond = f"SELECT count(*) FROM {now} WHERE NOT {missing} AND ({value} < ? OR {value} > ?)"
        ((outside,),) = connection.execute(beyond, [low, high]).fetchall()
    if plain:
        new = f"SELECT count(*) FROM {now} WHERE NOT {missing} AND {value} NOT IN "
        ((unseen,),) = connection.sql(f"{new} (SELECT DISTINCT {value} FROM {then} WHERE NOT {missing})").fetchall()
    return FieldOfLoad(
        rows=rows,
        rows_before=rows_before,
        missing=absent,
        missing_before=missing_before,
        outside=outside,
        unseen=unseen,
        constant=kinds == 1 and kinds_before > 1,
    )
