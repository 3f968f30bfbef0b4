"""Rows of a snapshot's files as a data frame of Spark: by Spark itself, or by pyarrow where Spark cannot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from featurestore import types
from featurestore.definitions import FeatureView, Field
from featurestore.definitions.names import CREATED_TIMESTAMP, EVENT_TIMESTAMP, LOAD_ID, ROW_NUMBER
from featurestore.offline.intake.conform import stored_type
from featurestore.offline.spark.types import plain, quoted, sent, spark_type
from featurestore.offline.tables.snapshots import DataFile
from featurestore.storage import StoragePath
from featurestore.storage.access import Access
from featurestore.storage.parquet import parquet_file

#: Spark takes other letters in a path for a pattern, or for part of a URI.
_PLAIN_PATH = re.compile(r"/[\w./=+@,-]*", re.ASCII)
_BATCH_ROWS = 65_536
_SHARE_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Column:
    """A column of a table, and what it is called in a frame, where no two names are alike but for their case."""

    name: str
    called: str
    dtype: types.DType
    plain: bool = True


def columns_of(view: FeatureView, fields: Sequence[Field]) -> list[Column]:
    """Return the columns of the frame of a view's rows.

    They are the keys ``k0``, ``k1`` ..., ``event`` and ``made`` in microseconds, ``load_id``, ``number``, and the
    features ``f0``, ``f1`` ...
    """
    return [
        *(Column(key, f"k{place}", dtype) for place, (key, dtype) in enumerate(view.keys.items())),
        Column(EVENT_TIMESTAMP, "event", types.Timestamp),
        Column(CREATED_TIMESTAMP, "made", types.Timestamp),
        Column(LOAD_ID, "load_id", types.String),
        Column(ROW_NUMBER, "number", types.Int64),
        *(Column(one.name, f"f{place}", one.dtype, plain=False) for place, one in enumerate(fields)),
    ]


def rows_of(spark: Any, view: FeatureView, files: Sequence[DataFile], fields: Sequence[Field], where: str) -> Any:
    """Return the rows of files as a frame; see :func:`columns_of`.

    Args:
        spark: the session.
        view: whose.
        files: one at least.
        fields: the features to read.
        where: a condition on ``event``.
    """
    columns = columns_of(view, fields)
    paths = [one.path for one in files]
    if all(_PLAIN_PATH.fullmatch(path) for path in paths):
        schema = ", ".join(f"{quoted(one.name)} {spark_type(one.dtype)}" for one in columns)
        reader = spark.read.schema(schema).option("datetimeRebaseMode", "CORRECTED")
        # A folder above that is called origin=JFK would stand in the place of their column "origin".
        read = reader.option("basePath", str(PurePath(paths[0]).parent)).parquet(*paths)
        chosen = ", ".join(
            f"{plain(quoted(one.name), one.dtype) if one.plain else quoted(one.name)} AS {one.called}"
            for one in columns
        )
        return spark.sql(f"SELECT * FROM (SELECT {chosen} FROM {{read}}) WHERE {where}", read=read)
    return _by_arrow(spark, files, columns, where)


def asked_files(spark: Any, files: Sequence[DataFile]) -> Any:
    """Return a frame of shares of files, each in a partition of its own: ``path``, ``share``, ``shares``."""
    shares = [(one.path, share, _shares(one)) for one in files for share in range(_shares(one))]
    names = ("path", "share", "shares")
    columns = dict(zip(names, map(list, zip(*shares, strict=True)), strict=True))
    number = pa.array(range(len(shares)), pa.int32())
    asked = spark.createDataFrame(pa.table(columns).append_column("part", number))
    return asked.repartitionById(len(shares), asked["part"]).select(*names)


def access_to(files: Sequence[DataFile]) -> Access:
    """Return how executors open files; it goes there within the function that reads them, which no plan shows."""
    return Access.to(one.place for one in files)


def share_of(file_at: StoragePath, share: int, shares: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a share of a Parquet file, every n-th of its row groups."""
    with parquet_file(file_at, pre_buffer=True) as file:
        groups = list(range(share, file.num_row_groups, shares))
        yield from file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names)


def _by_arrow(spark: Any, files: Sequence[DataFile], columns: Sequence[Column], where: str) -> Any:
    schema = ", ".join(
        f"{one.called} {spark_type(one.dtype) if not _as_number(one) else 'BIGINT' if one.dtype.width == 8 else 'INT'}"
        for one in columns
    )
    read = asked_files(spark, files).mapInArrow(FilesRead(tuple(columns), access_to(files)), schema)
    return spark.sql(f"SELECT * FROM {{read}} WHERE {where}", read=read)


def _shares(file: DataFile) -> int:
    return max(1, -(-file.size // _SHARE_BYTES))


def _as_number(column: Column) -> bool:
    return column.dtype in (types.Timestamp, types.Date)


@dataclass(frozen=True)
class FilesRead:
    """Reads shares of Parquet files, in an executor.

    Attributes:
        columns: which, and what they are called.
        access: how the files are opened there.
    """

    columns: tuple[Column, ...]
    access: Access

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of each file that a batch names."""
        for batch in batches:
            for asked in batch.to_pylist():
                yield from self._rows(**asked)

    def _rows(self, path: str, share: int, shares: int) -> Iterator[pa.RecordBatch]:
        for batch in share_of(self.access.place(path), share, shares, [one.name for one in self.columns]):
            yield pa.RecordBatch.from_arrays(
                [self._column(one, batch.column(one.name)) for one in self.columns],
                names=[one.called for one in self.columns],
            )

    def _column(self, one: Column, values: pa.Array) -> pa.Array:
        declared = values.cast(stored_type(one.dtype))
        return sent(declared, one.dtype) if _as_number(one) else declared
