"""Two training datasets side by side: which rows, and how their values are spread."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import duckdb
import pyarrow as pa

from featurestore import types
from featurestore.definitions import FeatureService, Field
from featurestore.errors import SchemaError
from featurestore.offline import engine
from featurestore.offline.datasets.content import plain_type
from featurestore.offline.datasets.diff import ColumnDiff, DatasetDiff, RowsDiff, definitions_differ
from featurestore.offline.datasets.making import Datasets
from featurestore.offline.datasets.manifest import Recipe
from featurestore.offline.datasets.splitting import SPLIT
from featurestore.offline.datasets.training import fields_of
from featurestore.offline.datasets.training_dataset import TrainingDataset
from featurestore.offline.engine import identifier, parquet_scan
from featurestore.offline.places import spill_folder
from featurestore.profiles import FeatureBins, Profile, fit_bins, profile
from featurestore.storage import StoragePath
from featurestore.storage.parquet import read_metadata, read_schema, read_table

_LABELS = (
    (pa.types.is_boolean, types.Bool),
    (pa.types.is_integer, types.Int64),
    (pa.types.is_floating, types.Float64),
    (pa.types.is_string, types.String),
    (pa.types.is_large_string, types.String),
)


class Comparing(Datasets):
    """Differences between datasets."""

    def diff_datasets(self, old: str, new: str) -> DatasetDiff:
        """Return what is different in one dataset from another.

        Args:
            old: ``delays@1``.
            new: ``delays@2``.

        Raises:
            ObjectNotFoundError: there is no such dataset, or its service is gone.
            OfflineStoreError: its rows cannot be read.
        """
        one, two = (TrainingDataset(self._registry.dataset(name), self._config) for name in (old, new))
        services = [self._registry.service(side.manifest["service"]).definition for side in (one, two)]
        before, after = _schema(one), _schema(two)
        both = [name for name in before.names if name in after.names]
        keys = _identity((one, two), services)
        files = (one.path, two.path)
        rows, changed, compared = None, dict[str, int](), 0
        if keys is not None:
            hidden = {SPLIT, *(name for pair in keys for name in pair)}
            values = [name for name in both if name not in hidden]
            what = f"The comparison of datasets {one.id} and {two.id}"
            with engine.connect(self._config.offline, spill_folder(self._config), what) as connection:
                rows = _rows(connection, files, keys)
                changed, compared = _changed(connection, files, keys, values)
        fields = _fields(one, services[0], before)
        personal = {
            column
            for side, service in zip((one, two), services, strict=True)
            for column, field in fields_of(service, Recipe.of(side.manifest)).items()
            if field.pii
        }
        columns = [
            _column(files, name, fields.get(name), changed.get(name), compared, means=name not in personal)
            for name in both
            if changed.get(name) or (name in fields and _spread_differs(name, rows, one, two))
        ]
        return DatasetDiff(
            old=one.id,
            new=two.id,
            same=one.manifest["content_hash"] == two.manifest["content_hash"],
            count=(_count(one), _count(two)),
            rows=rows,
            definitions=definitions_differ(one.manifest, two.manifest),
            added={name: str(after.field(name).type) for name in after.names if name not in both},
            removed={name: str(before.field(name).type) for name in before.names if name not in both},
            retyped={
                name: (str(before.field(name).type), str(after.field(name).type))
                for name in both
                if plain_type(before.field(name).type) != plain_type(after.field(name).type)
            },
            columns=tuple(sorted(columns, key=lambda column: -(column.population_stability or 0))),
        )


def _schema(side: TrainingDataset) -> pa.Schema:
    with side.reading():
        return read_schema(side.path)


def _count(side: TrainingDataset) -> int:
    with side.reading():
        return int(read_metadata(side.path).num_rows)


def _identity(
    sides: tuple[TrainingDataset, TrainingDataset], services: Sequence[FeatureService]
) -> list[tuple[str, str]] | None:
    """Return the columns by which a row is known on each side; None where they are not of the same entities."""
    if set(services[0].keys) != set(services[1].keys):
        return None
    instants = (sides[0].manifest["timestamp_field"], sides[1].manifest["timestamp_field"])
    return [*((key, key) for key in services[0].keys if key not in instants), instants]


def _rows(
    connection: duckdb.DuckDBPyConnection, files: tuple[StoragePath, StoragePath], keys: list[tuple[str, str]]
) -> RowsDiff:
    counted = [
        f"(SELECT {', '.join(f'{identifier(pair[side])} AS k{at}' for at, pair in enumerate(keys))}, count(*) AS n "
        f"FROM {parquet_scan([str(files[side])])} GROUP BY ALL)"
        for side in (0, 1)
    ]
    found = connection.execute(
        "SELECT coalesce(sum(greatest(coalesce(b.n, 0) - coalesce(a.n, 0), 0)), 0)::BIGINT, "
        "coalesce(sum(greatest(coalesce(a.n, 0) - coalesce(b.n, 0), 0)), 0)::BIGINT, "
        "coalesce(sum(least(coalesce(a.n, 0), coalesce(b.n, 0))), 0)::BIGINT "
        f"FROM {counted[0]} a FULL JOIN {counted[1]} b ON {_same(keys)}"
    ).fetchone()
    assert found is not None  # noqa: S101 - an aggregate has one row
    return RowsDiff(added=found[0], removed=found[1], common=found[2])


def _changed(
    connection: duckdb.DuckDBPyConnection,
    files: tuple[StoragePath, StoragePath],
    keys: list[tuple[str, str]],
    values: list[str],
) -> tuple[dict[str, int], int]:
    """Return of each column how many rows have another value, and how many rows were compared."""
    single = [
        "(SELECT "
        + ", ".join(
            [f"{identifier(pair[side])} AS k{at}" for at, pair in enumerate(keys)]
            + [f"first({identifier(name)}) AS v{at}" for at, name in enumerate(values)]
        )
        + f" FROM {parquet_scan([str(files[side])])} GROUP BY {', '.join(identifier(pair[side]) for pair in keys)} "
        "HAVING count(*) = 1)"
        for side in (0, 1)
    ]
    counts = "".join(f", count(*) FILTER (WHERE a.v{at} IS DISTINCT FROM b.v{at})" for at in range(len(values)))
    found = connection.execute(
        f"SELECT count(*){counts} FROM {single[0]} a JOIN {single[1]} b ON {_same(keys)}"
    ).fetchone()
    assert found is not None  # noqa: S101 - an aggregate has one row
    return dict(zip(values, found[1:], strict=True)), found[0]


def _same(keys: list[tuple[str, str]]) -> str:
    return " AND ".join(f"a.k{at} IS NOT DISTINCT FROM b.k{at}" for at in range(len(keys)))


def _fields(side: TrainingDataset, service: FeatureService, schema: pa.Schema) -> dict[str, Field]:
    """Return what is known of the features, and of the label if its type is a plain one, by column."""
    fields = fields_of(service, Recipe.of(side.manifest))
    label = side.manifest["label"]
    if label is not None:
        dtype = next((ours for fits, ours in _LABELS if fits(schema.field(label).type)), None)
        if dtype is not None:
            fields[label] = Field(name="label", dtype=dtype)
    return fields


def _spread_differs(name: str, rows: RowsDiff | None, one: TrainingDataset, two: TrainingDataset) -> bool:
    hashes = [side.manifest.get("column_hashes", {}).get(name) for side in (one, two)]
    if None not in hashes and hashes[0] == hashes[1]:
        return False
    return rows is None or bool(rows.added or rows.removed)


def _column(
    files: tuple[StoragePath, StoragePath],
    name: str,
    field: Field | None,
    changed: int | None,
    compared: int,
    *,
    means: bool,
) -> ColumnDiff:
    tables = [read_table(file, [name]) for file in files]
    nulls = [table.column(0).null_count / (table.num_rows or 1) for table in tables]
    stability: float | None = None
    mean: tuple[float | None, float | None] = (None, None)
    if field is not None:
        with suppress(SchemaError):  # the column has another type in the new dataset, which is said elsewhere
            stability, mean = _spread([table.rename_columns([field.name]) for table in tables], field)
    return ColumnDiff(
        name=name,
        changed=changed,
        compared=compared,
        population_stability=stability,
        null_rate=(nulls[0], nulls[1]),
        mean=mean if means else (None, None),
    )


def _spread(tables: list[pa.Table], field: Field) -> tuple[float | None, tuple[float | None, float | None]]:
    bins = fit_bins(tables[0], [field])
    one, two = (profile(table, bins) for table in tables)
    # Of a vector several numbers are compared; a mean of one of them says nothing about its values.
    means = (one.mean_of(field.name), two.mean_of(field.name)) if field.name in bins.names else (None, None)
    found = [_stability(each, one, two) for each in bins.features]
    return max((value for value in found if value is not None), default=None), means


def _stability(each: FeatureBins, one: Profile, two: Profile) -> float | None:
    if each.kind == "opaque":
        return None
    cells = [each.readable(side.cells(each.name))[:-1] for side in (one, two)]
    sizes = [float(side.sum()) for side in cells]
    if not all(sizes):
        return None
    from featurestore.statistics.population_stability import population_stability  # SciPy takes long to import

    return population_stability(cells[0], cells[1], reference_size=sizes[0], current_size=sizes[1]).value
