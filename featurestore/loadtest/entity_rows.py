"""Whom to ask for: keys that the online store has, entity rows of the serving log, or those of a file."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from featurestore import types
from featurestore.errors import ConfigError, DataError, InvalidRequestError
from featurestore.online import OnlineStore
from featurestore.serving.log_files import log_files
from featurestore.serving.plan import ServicePlan, StoredView

#: What request ids of load tests begin with; their rows in the serving log are not replayed.
REQUEST_PREFIX = "loadtest-"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class EntityRows:
    """Entity rows to ask for.

    Attributes:
        columns: by join key or request field its values, one a row.
        origin: where they are from, for the report: ``20,000 keys of the online store``.
        requests: first row, and the row after the last, of each request that was logged; empty where rows are no parts
            of requests.
    """

    columns: dict[str, list[Any]]
    origin: str
    requests: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def sampled_rows(plan: ServicePlan, store: OnlineStore, *, count: int, seed: int = 0) -> EntityRows:
    """Return keys of a service's views, drawn at random from those that are online.

    Keys of several entities are drawn for each, and put together as they come.

    Args:
        plan: the service.
        store: the online store.
        count: how many at most.
        seed: of the draw.

    Raises:
        InvalidRequestError: the service needs request fields, which no store has.
        DataError: a view has no row online.
    """
    needed = sorted(set(plan.request) - set(plan.optional))
    if needed:
        raise InvalidRequestError(
            f'Feature service "{plan.id}" needs {", ".join(needed)} with each request; the online store has keys only.',
            hint="Replay what was asked: --from-log; or give rows: --entity-rows FILE.",
        )
    drawing = random.Random(seed)  # noqa: S311 - which keys are asked for is no secret
    columns: dict[str, list[Any]] = {}
    # The views with the most keys first: what they have together should stay together.
    for view in sorted(plan.stored, key=lambda one: -len(one.columns)):
        missing = [name for name in view.columns if name not in columns]
        if not missing:
            continue
        keys = _draw(_keys(view, store), count, drawing)
        if not keys:
            raise DataError(
                f'View "{view.name}" has no row in the online store whose key could be asked for.',
                hint="Next: featurestore materialize; or give rows: --entity-rows FILE.",
            )
        for place, name in enumerate(view.columns):
            if name in missing:
                columns[name] = [_value(key[place], plan.columns[name]) for key in keys]
    longest = max((len(values) for values in columns.values()), default=0)
    # Of an entity with fewer members each is asked for more often.
    columns = {name: [values[row % len(values)] for row in range(longest)] for name, values in columns.items()}
    return EntityRows(columns=columns, origin=f"{longest:,} keys of the online store")


def _keys(view: StoredView, store: OnlineStore) -> Iterator[tuple[Any, ...]]:
    for key in store.keys(view.storage_id):
        parts = view.keys.decode(key)
        if parts is not None:  # a very long key is kept as its hash
            yield parts


def _draw(keys: Iterable[tuple[Any, ...]], count: int, drawing: random.Random) -> list[tuple[Any, ...]]:
    """Return so many keys, each as likely as any other (Vitter's algorithm R), in a random order."""
    kept: list[tuple[Any, ...]] = []
    for seen, key in enumerate(keys, start=1):
        if len(kept) < count:
            kept.append(key)
        elif (place := drawing.randrange(seen)) < count:
            kept[place] = key
    drawing.shuffle(kept)
    return kept


def _value(part: Any, dtype: types.DType) -> Any:
    if dtype == types.Timestamp:
        return _EPOCH + timedelta(microseconds=part)
    return (_EPOCH + timedelta(days=part)).date() if dtype == types.Date else part


def logged_rows(plan: ServicePlan, folder: Path, *, count: int) -> EntityRows:
    """Return the newest requests of a service's serving log with all that they were asked with.

    Args:
        plan: the service.
        folder: the serving log's.
        count: entity rows at most.

    Raises:
        DataError: the log has none, or a file cannot be read.
    """
    columns: dict[str, list[Any]] = {name: [] for name in plan.columns}
    requests: list[tuple[int, int]] = []
    rows = 0
    for file in sorted(log_files(folder / plan.name), key=_written, reverse=True):
        if rows >= count:
            break
        table = _logged(file, plan)
        if table is None:
            continue
        table = table.slice(max(0, table.num_rows - (count - rows)))
        for name, values in columns.items():
            values += table.column(name).to_pylist()
        requests += _requests(table.column("request_id").to_pylist(), rows)
        rows += table.num_rows
    if not rows:
        raise DataError(
            f"The serving log {folder} has no request for {plan.name} that can be replayed.",
            hint="Sample keys instead: leave --from-log out; or give rows: --entity-rows FILE.",
        )
    origin = f"{len(requests):,} requests of the serving log ({rows:,} rows)"
    return EntityRows(columns=columns, origin=origin, requests=tuple(requests))


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # removed meanwhile
        return 0.0


def _logged(file: Path, plan: ServicePlan) -> pa.Table | None:
    """Return the requests in a file; None if it is of a version that was asked with other columns."""
    try:
        schema = pq.read_schema(file)
        if any(name not in schema.names for name in plan.columns):
            return None
        table = pq.read_table(file, columns=["request_id", *plan.columns], partitioning=None)
    except FileNotFoundError:  # removed meanwhile
        return None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} of the serving log cannot be read: {error}") from error
    others = [not one.startswith(REQUEST_PREFIX) for one in table.column("request_id").to_pylist()]
    return _cast(table.filter(pa.array(others, pa.bool_())), plan, str(file))


def _requests(ids: Sequence[str], start: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for row, name in enumerate(ids):
        if row and name == ids[row - 1]:
            found[-1] = (found[-1][0], start + row + 1)
        else:
            found.append((start + row, start + row + 1))
    return found


def rows_of_file(plan: ServicePlan, file: Path, *, count: int) -> EntityRows:
    """Return the entity rows of a Parquet or CSV file; columns that the service does not take are left out.

    Args:
        plan: the service.
        file: the file.
        count: rows at most; the first ones count.

    Raises:
        DataError: it cannot be read, has no rows, lacks a column, or has another type in it.
    """
    try:
        if file.suffix == ".parquet":
            table = pq.read_table(file, partitioning=None)
        elif file.suffix == ".csv":
            wanted = {name: dtype.to_arrow() for name, dtype in plan.columns.items() if dtype.scalar}
            convert = pyarrow.csv.ConvertOptions(column_types=wanted)
            table = pyarrow.csv.read_csv(file, convert_options=convert)
        else:
            raise DataError(f"{file} is neither a .parquet nor a .csv file.", hint="Write the rows as one of these.")
    except FileNotFoundError:
        raise DataError(f"There is no file {file}.", hint="Write one with a row for each key.") from None
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    for name in plan.columns:
        if name not in table.column_names and name not in plan.optional:
            raise DataError(
                f'{file} has no column "{name}", which feature service "{plan.id}" is asked with.',
                hint="It takes: " + ", ".join(plan.columns) + ".",
            )
    table = _cast(table.slice(0, count), plan, str(file))
    if not table.num_rows:
        raise DataError(f"{file} has no rows.", hint="Give at least one.")
    columns = {name: table.column(name).to_pylist() for name in plan.columns if name in table.column_names}
    return EntityRows(columns=columns, origin=f"{table.num_rows:,} rows of {file.name}")


def _cast(table: pa.Table, plan: ServicePlan, where: str) -> pa.Table:
    for name, dtype in plan.columns.items():
        if name not in table.column_names:
            continue
        at = table.column_names.index(name)
        try:
            table = table.set_column(at, name, table.column(name).cast(dtype.to_arrow()))
        except pa.ArrowException:
            raise DataError(
                f'{where} has column "{name}" as {table.column(name).type}, and {dtype} is needed.',
                hint=f"Write it as {dtype}.",
            ) from None
    return table


def parse_rows(text: str) -> dict[int, float]:
    """Return the shares of requests by their number of rows: ``1``, or ``1:90%,100:10%``.

    Raises:
        ConfigError: it is none of these.
    """
    hint = "Write a number of rows, --rows 1; or a mix, --rows 1:90%,100:10%."
    shares: dict[int, float] = {}
    for part in text.split(","):
        number, _, share = part.strip().partition(":")
        try:
            rows, weight = int(number), float(share.removesuffix("%") or 1)
        except ValueError:
            rows, weight = 0, 0.0
        if rows < 1 or not 0 < weight < float("inf"):
            raise ConfigError(f'--rows "{text}" is no number of rows.', hint=hint)
        shares[rows] = shares.get(rows, 0.0) + weight
    total = sum(shares.values())
    return {rows: weight / total for rows, weight in shares.items()}
