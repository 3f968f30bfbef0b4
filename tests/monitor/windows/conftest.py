"""Streams of every kind over the same rows, which a test lets arrive when it likes."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from featurestore.config import Config
from featurestore.definitions import Entity, FeatureView, Field, FileSource, SqlSource
from featurestore.serving import log_merging
from featurestore.serving.feedback import PREDICTIONS
from featurestore.serving.feedback.segments import write_segment
from featurestore.serving.log_files import Writes, name_of
from featurestore.serving.log_merging import GRACE_SECONDS, SETTLED_SECONDS, LogMerger
from featurestore.settings.sections import MonitorConfig
from featurestore.types import Float64
from monitor.windows import PredictionStream, RowStream, ServingLog, frame_stream, source_stream, view_stream

INSTANT = pa.timestamp("us", tz="UTC")
#: (instant, number): the number is the row's own, so that rows can be told apart.
Row = tuple[datetime, int]


@dataclass
class Kind:
    """One kind of stream.

    Attributes:
        name: of the kind.
        arrive: takes rows that come now.
        stream: opens the stream anew.
        number: the column of the rows' numbers.
    """

    name: str
    arrive: Callable[[Sequence[Row]], None]
    stream: Callable[[], RowStream]
    number: str = "number"


def config_of(root: Path) -> Config:
    return Config(root=root, monitor=MonitorConfig(lateness_seconds=0))


def _table(rows: Sequence[Row]) -> pa.Table:
    return pa.table(
        {
            "at": pa.array([at for at, _ in rows], INSTANT),
            "number": pa.array([number for _, number in rows], pa.float64()),
            "carrier": pa.array(["UA" if number % 3 else "AA" for _, number in rows], pa.string()),
        }
    )


def _parquet(root: Path) -> Kind:
    folder = root / "rows"
    folder.mkdir()

    def arrive(rows: Sequence[Row]) -> None:
        pq.write_table(_table(rows), folder / f"{len(list(folder.iterdir())):04}.parquet", row_group_size=3)

    arrive([])
    source = FileSource(path="rows/*.parquet", timestamp_field="at")
    return Kind("parquet", arrive, lambda: source_stream(source, config_of(root), name="rows"))


def _delta(root: Path) -> Kind:
    folder = root / "table"

    def arrive(rows: Sequence[Row]) -> None:
        write_deltalake(str(folder), _table(rows), mode="append")

    arrive([])
    source = FileSource(path="table", timestamp_field="at", format="delta")
    return Kind("delta", arrive, lambda: source_stream(source, config_of(root), name="rows"))


def _csv(root: Path) -> Kind:
    folder = root / "rows"
    folder.mkdir()

    def arrive(rows: Sequence[Row]) -> None:
        with (folder / f"{len(list(folder.iterdir())):04}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["at", "number", "carrier"])
            for row in _table(rows).to_pylist():
                writer.writerow([row["at"].isoformat(), row["number"], row["carrier"]])

    arrive([])
    source = FileSource(path="rows/*.csv", timestamp_field="at")
    return Kind("csv", arrive, lambda: source_stream(source, config_of(root), name="rows"))


def _sql(root: Path) -> Kind:
    inner = _parquet(root)
    source = SqlSource(
        query='SELECT "at", number, upper(carrier) AS carrier FROM raw',
        sources=[FileSource(name="raw", path="rows/*.parquet", timestamp_field="at")],
        timestamp_field="at",
    )
    return Kind("sql", inner.arrive, lambda: source_stream(source, config_of(root), name="rows"))


def _view(root: Path) -> Kind:
    inner = _parquet(root)
    view = FeatureView(
        name="rows",
        entities=[Entity(name="carrier")],
        schema=[Field(name="number", dtype=Float64)],
        source=SqlSource(
            query='SELECT "at", number, upper(carrier) AS carrier FROM raw',
            sources=[FileSource(name="raw", path="rows/*.parquet", timestamp_field="at")],
            timestamp_field="at",
            lookback=timedelta(hours=1),
        ),
    )
    return Kind("view", inner.arrive, lambda: view_stream(view, config_of(root)))


def _frame(root: Path) -> Kind:
    held: list[Row] = []

    def stream() -> RowStream:
        return frame_stream(pl.from_arrow(_table(held)), config_of(root), name="rows", time_column="at")

    return Kind("frame", held.extend, stream)


def _reader(root: Path) -> Kind:
    held: list[Row] = []

    def stream() -> RowStream:
        reader = _table(held).to_reader(max_chunksize=7)
        return frame_stream(reader, config_of(root), name="rows", time_column="at")

    return Kind("reader", held.extend, stream)


def _logged(rows: Sequence[Row]) -> pa.Table:
    table = _table(rows).rename_columns(["served_at", "number", "carrier"])
    table = table.append_column("request_id", pa.array([f"r{number}" for _, number in rows], pa.string()))
    return table.append_column("row", pa.array([0] * len(rows), pa.int32()))


def _log(root: Path) -> Kind:
    folder = root / "data/serving_log/rows"
    config = config_of(root)
    folder = config.path(config.serving.log_path) / "rows"
    folder.mkdir(parents=True)

    def arrive(rows: Sequence[Row]) -> None:
        table = _logged(rows)
        for service in ("rows@1", "rows@2"):
            named = table.append_column("service", pa.array([service] * len(rows), pa.string()))
            pq.write_table(named, folder / f"{service}-{len(list(folder.iterdir())):04}.parquet")

    return Kind("log", arrive, lambda: ServingLog(config).stream("rows@1"))


def _merged_log(root: Path) -> Kind:
    """The serving log while it is merged: what was merged lies beside it, or has just gone."""
    config = config_of(root)
    log = config.path(config.serving.log_path)
    folder = log / "rows"
    folder.mkdir(parents=True)
    writes = iter(range(1, 10_000))

    def arrive(rows: Sequence[Row]) -> None:
        for part in (rows[:1], rows[1:3], rows[3:]):
            number = next(writes)
            for version in ("1", "2"):
                table = _logged(part).append_column("service", pa.array([f"rows@{version}"] * len(part), pa.string()))
                if part:
                    pq.write_table(table, folder / name_of(Writes("abc", version, number, number)))
        later = time.time() + SETTLED_SECONDS + 1
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(log_merging, "FAN", 2)
            LogMerger(log).turn(now=later)
            LogMerger(log).turn(now=later + GRACE_SECONDS * (number % 2))

    return Kind("merged log", arrive, lambda: ServingLog(config).stream("rows@1"))


def _predictions(root: Path) -> Kind:
    config = config_of(root)
    folder = config.path(config.serving.feedback_path) / "predictions" / "rows"
    calls = iter(range(10_000))

    def arrive(rows: Sequence[Row]) -> None:
        if not rows:
            return
        call = next(calls)
        # A caller who heard no answer sends the same again; only the first counts.
        for attempt in (0, 1):
            columns: dict[str, list[Any]] = {
                "model": ["rows@1"] * len(rows),
                "prediction_id": [f"p{number}" for _, number in rows],
                "request_id": [""] * len(rows),
                "row": [0] * len(rows),
                "number": [float(number) for _, number in rows],
                "label": [None] * len(rows),
                "probabilities": [None] * len(rows),
                "predicted_at": [at + timedelta(hours=30 * attempt) for at, _ in rows],
                "logged_at": [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=2 * call + attempt)] * len(rows),
            }
            write_segment(folder / f"w-0-{call:04}{attempt}.parquet", pa.table(columns, schema=PREDICTIONS.stored))

    return Kind("predictions", arrive, lambda: PredictionStream(config, "rows@1"))


KINDS = {
    "parquet": _parquet,
    "delta": _delta,
    "csv": _csv,
    "sql": _sql,
    "view": _view,
    "frame": _frame,
    "reader": _reader,
    "log": _log,
    "merged log": _merged_log,
    "predictions": _predictions,
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    return KINDS[request.param](tmp_path)


@pytest.fixture
def make_kind(tmp_path: Path) -> Callable[[str], Kind]:
    return lambda name: KINDS[name](tmp_path)
