"""A training dataset as a user holds it: its record, and its rows from the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from featurestore import markup
from featurestore.config import Config
from featurestore.errors import OfflineStoreError, SchemaError, closest
from featurestore.offline.datasets.manifest import DATA, file_of, parts_of
from featurestore.offline.datasets.splitting import SPLIT
from featurestore.registry.records import DatasetRecord
from featurestore.storage import StoragePath
from featurestore.storage.parquet import parquet_file, read_table

if TYPE_CHECKING:
    import pandas as pd


class TrainingDataset:
    """The rows of a training dataset, or of one part of it.

    Rows are read from the dataset's Parquet file when they are asked for. A dataset that was split has a last column
    ``split__`` that says the part of each row; one part, ``dataset.split("train")``, has none.

    Attributes:
        record: name, version and manifest.
        path: the Parquet file.
    """

    def __init__(self, record: DatasetRecord, config: Config, *, part: str | None = None) -> None:
        self.record = record
        self.path: StoragePath = file_of(record, DATA, config)
        self._config = config
        self._part = part

    @property
    def id(self) -> str:
        """``delays_2013q1@1``."""
        return self.record.id

    @property
    def manifest(self) -> Mapping[str, Any]:
        """How it was made: definition and table versions, row count, content hash, commit, packages."""
        return self.record.manifest

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of its parts; none if it was not split."""
        return tuple(parts_of(self.manifest))

    def _repr_html_(self) -> str:
        """What a notebook shows: how it was made, and no value of it."""
        made, counted = self.manifest, self.manifest["rows_per_part"] or {}
        rows = [
            ("service", str(made["service"])),
            ("rows", f"{made['rows'] if self._part is None else counted[self._part]:,}"),
            ("instants", f"{made['first_instant']} to {made['last_instant']}"),
            ("parts", ", ".join(f"{part} {counted[part]:,}" for part in self.parts)),
            ("label", str(made["label"] or "")),
            ("columns", ", ".join(f"{name} ({dtype})" for name, dtype in made["columns"].items())),
            ("content hash", str(made["content_hash"])),
        ]
        part = f", {self._part}" if self._part is not None else ""
        shown = markup.table((), [row for row in rows if row[1]], caption=f"Training dataset {self.id}{part}")
        return markup.text_of(shown)

    def split(self, part: str) -> TrainingDataset:
        """Return the rows of one part: ``train``, ``validation`` or ``test``.

        Raises:
            SchemaError: the dataset has no such part.
        """
        if part not in self.parts:
            raise SchemaError(
                f'Dataset {self.id} has no part "{part}".',
                hint=closest(str(part), self.parts) or "It was not split; make it with split=.",
            )
        return TrainingDataset(self.record, self._config, part=part)

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield Arrow batches, with one row group of the file in memory at a time.

        Raises:
            OfflineStoreError: the file is gone or damaged.
        """
        with self.reading(), parquet_file(self.path) as file:
            for batch in file.iter_batches():
                yield batch if self._part is None else self._of_part(batch)

    def to_arrow(self) -> pa.Table:
        """Return an Arrow table.

        Raises:
            OfflineStoreError: the file is gone or damaged.
        """
        with self.reading():
            table = read_table(self.path)
        return table if self._part is None else self._of_part(table)

    def to_polars(self) -> pl.DataFrame:
        """Return a Polars frame.

        Raises:
            OfflineStoreError: the file is gone or damaged.
        """
        frame = pl.from_arrow(self.to_arrow())
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table never becomes a series
        return frame

    def to_pandas(self) -> pd.DataFrame:
        """Return a pandas frame; pandas must be installed.

        Raises:
            OfflineStoreError: the file is gone or damaged.
        """
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def _of_part(self, rows: Any) -> Any:
        return rows.filter(pc.equal(rows.column(SPLIT), self._part)).drop_columns([SPLIT])

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Say what to do about errors of reading the file.

        Raises:
            OfflineStoreError: the file is gone or damaged.
        """
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise OfflineStoreError(
                f"The rows of dataset {self.id} cannot be read: {error}.",
                hint=f"This makes them again: featurestore dataset reproduce {self.id} --out FILE",
            ) from error
