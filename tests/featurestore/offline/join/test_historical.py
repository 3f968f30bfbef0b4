"""Historical features as a result: settled when asked for, joined when read, in parts, in several forms."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore.definitions import Entity, FeatureService, FeatureView, Field
from featurestore.errors import DataError, OfflineStoreError, TimestampError
from featurestore.offline import engine
from featurestore.offline.join import answering
from featurestore.offline.join.gathering import Gathered
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registered, Registry
from featurestore.types import Embedding, Float64, Int64, String

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WeatherRows = Callable[..., list[dict[str, Any]]]


def asked(hours: list[float]) -> list[dict[str, Any]]:
    return [{"origin": "JFK", "hour": 0, "event_timestamp": START + timedelta(hours=hour)} for hour in hours]


def test_the_answer_is_that_of_the_moment_of_asking(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: WeatherRows
) -> None:
    store.ingest(view, weather_rows([0]), who="tests")
    before = store.historical_features(service, asked([2]))
    store.ingest(view, weather_rows([1]), who="tests")
    after = store.historical_features(service, asked([2]))
    assert before.to_arrow()["temp"].to_pylist() == [40.0]
    assert after.to_arrow()["temp"].to_pylist() == [41.0]


def test_nothing_is_joined_before_a_result_is_asked_for(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: WeatherRows
) -> None:
    store.ingest(view, weather_rows([0]), who="tests")
    result = store.historical_features(service, asked([0]), with_status=True)
    for file in store.table(view).files():
        Path(file).unlink()
    assert len(result) == 1
    assert result.schema.names[-3:] == ["wind_chill", "weather__status", "weather__event_timestamp"]
    with pytest.raises(OfflineStoreError, match='feature view "weather" cannot be read'):
        result.to_arrow()


def test_parts_batches_and_files_hold_the_rows_of_the_whole(
    store: OfflineStore,
    service: Registered[FeatureService],
    view: FeatureView,
    weather_rows: WeatherRows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.ingest(view, weather_rows(range(20)), who="tests")
    rows = asked([hour / 3 for hour in range(90, -10, -1)])
    whole = store.historical_features(service, rows, with_status=True).to_arrow()
    monkeypatch.setattr(answering, "_part_rows", lambda _: 7)
    result = store.historical_features(service, rows, with_status=True)
    assert result.schema == whole.schema
    assert pa.Table.from_batches(result.to_batches()).combine_chunks() == whole.combine_chunks()
    parquet = result.write(tmp_path / "rows.parquet")
    delta = result.write(tmp_path / "rows", format="delta")
    assert pq.read_table(parquet) == whole
    # A Delta table keeps no order of rows.
    table = pl.read_delta(str(delta)).sort("event_timestamp", descending=True)
    assert table.equals(result.to_polars().select(table.columns))
    assert result.to_arrow() == whole


def test_a_file_that_was_there_is_replaced_and_a_failed_one_leaves_nothing(
    store: OfflineStore,
    service: Registered[FeatureService],
    view: FeatureView,
    weather_rows: WeatherRows,
    tmp_path: Path,
) -> None:
    store.ingest(view, weather_rows([0]), who="tests")
    target = tmp_path / "rows.parquet"
    for rows in (asked([0, 1]), asked([0])):
        store.historical_features(service, rows).write(target)
        store.historical_features(service, rows).write(tmp_path / "delta", format="delta")
    assert pq.read_table(target).num_rows == pl.read_delta(str(tmp_path / "delta")).height == 1
    result = store.historical_features(service, asked([0]))
    for file in store.table(view).files():
        Path(file).unlink()
    for path, form in ((tmp_path / "new.parquet", "parquet"), (tmp_path / "delta", "delta")):
        with pytest.raises(OfflineStoreError, match='feature view "weather" cannot be read'):
            result.write(path, format=form)  # type: ignore[arg-type]
    assert sorted(one.name for one in tmp_path.iterdir() if one.name.endswith("parquet")) == ["rows.parquet"]
    assert pl.read_delta(str(tmp_path / "delta")).height == 1


def test_the_ending_of_a_name_says_what_is_written(
    store: OfflineStore, service: Registered[FeatureService], tmp_path: Path
) -> None:
    result = store.historical_features(service, asked([0]))
    assert pl.read_csv(result.write(tmp_path / "rows.csv")).columns == result.schema.names
    assert pl.read_csv(result.write(tmp_path / "more.CSV", format="csv")).height == 1
    assert pq.read_table(result.write(tmp_path / "rows.parquet")).num_rows == 1
    assert pl.read_delta(str(result.write(tmp_path / "rows"))).height == 1


def test_an_unknown_format_and_a_path_that_cannot_be_written_are_said(
    store: OfflineStore, service: Registered[FeatureService], tmp_path: Path
) -> None:
    result = store.historical_features(service, asked([0]))
    with pytest.raises(OfflineStoreError, match='no format "xlsx"'):
        result.write(tmp_path / "rows.xlsx", format="xlsx")  # type: ignore[arg-type]
    for name in ("rows.xlsx", "rows.txt"):
        with pytest.raises(DataError, match=r"ends in neither \.parquet nor \.csv"):
            result.write(tmp_path / name)
    with pytest.raises(DataError, match=r"rows\.csv does not end in \.parquet"):
        result.write(tmp_path / "rows.csv", format="parquet")
    assert not list(tmp_path.glob("*rows*"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OfflineStoreError, match="cannot be written"):
        result.write(tmp_path / "file" / "rows.parquet")


def test_an_explanation_says_what_was_read_and_what_was_skipped(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: WeatherRows
) -> None:
    for hours in ([0, 1], [10, 11], [20, 21]):
        store.ingest(view, weather_rows(hours), who="tests")
    names = {file.first: file.name for file in store.table(view).snapshot().files}
    oldest, middle, newest = (names[first] for first in sorted(names))

    explanation = store.historical_features(service, asked([11, 12])).explain()
    (use,) = explanation.uses
    assert (use.files_read, set(use.files_skipped)) == ((middle,), {oldest, newest})
    assert (use.rows_read, use.present, explanation.entity_rows) == (2, 2, 2)
    assert set(use.seconds) == {"match", "gather"}

    # Statuses tell "none" from "too old", so that the oldest file matters too.
    (use,) = store.historical_features(service, asked([5, 11]), with_status=True).explain().uses
    assert set(use.files_read) == {oldest, middle}
    assert (use.present, use.outside_max_age) == (1, 1)
    assert "read 4 rows of 2 files, skipped 1" in str(explanation.__class__(**vars(explanation) | {"uses": (use,)}))
    assert explanation.to_json()["uses"][0]["view"] == "weather"


def test_an_explanation_of_a_view_that_was_never_ingested_says_so(
    store: OfflineStore, service: Registered[FeatureService]
) -> None:
    assert "weather: never ingested" in str(store.historical_features(service, asked([0])).explain())


def test_as_of_hides_what_was_ingested_later(
    store: OfflineStore, service: Registered[FeatureService], view: FeatureView, weather_rows: WeatherRows
) -> None:
    for temp in (1.0, 2.0, 3.0):
        store.ingest(view, weather_rows([0], temp=temp), who="tests")
    found = []
    for load in store.loads(view):
        for instant in (load.published_at - timedelta(microseconds=1), load.published_at):
            joined = store.historical_features(service, asked([0]), as_of=instant).to_arrow()
            found.append(joined["temp"].to_pylist()[0])
    assert found == [None, 1.0, 1.0, 2.0, 2.0, 3.0]
    joined = store.historical_features(service, asked([0]), as_of="2013-01-01T00:00:00Z").to_arrow()
    assert joined["temp"].to_pylist() == [None]


def test_known_at_row_hides_what_could_not_be_known_at_the_instant(store: OfflineStore, registry: Registry) -> None:
    def joined(delay: timedelta | None, name: str) -> list[float | None]:
        view = FeatureView(
            name=name, entities=[Entity(name="airport", join_keys=["origin"])], delay=delay,
            schema=[Field(name="temp", dtype=Float64)],
        )  # fmt: skip
        registry.apply([FeatureService(name=f"of_{name}", features=[view])], who="tests")
        rows = [
            {"origin": "JFK", "temp": float(hour), "event_timestamp": START + hour * HOUR, "created_timestamp": written}
            for hour, written in ((0, START + 5 * HOUR), (1, START + 2 * HOUR), (2, None))
        ]
        store.ingest(view, rows, who="tests")
        entity = [{"origin": "JFK", "event_timestamp": START + hour * HOUR} for hour in range(7)]
        table = store.historical_features(registry.service(f"of_{name}"), entity, known_at="row").to_arrow()
        found: list[float | None] = table["temp"].to_pylist()
        return found

    # The row of hour 0 was written at 5, and never counts: that of hour 1 was known before. The last is known since
    # it was ingested, just now.
    assert joined(None, "written") == [None, None, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert joined(2 * HOUR, "delayed") == [None, None, 0.0, 1.0, 2.0, 2.0, 2.0]
    assert joined(timedelta(0), "at_once") == [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"known_at": "column"}, DataError, "known_at='column' says nothing"),
        ({"as_of": datetime(2013, 1, 1)}, TimestampError, "names no time zone"),  # noqa: DTZ001
        ({"as_of": "yesterday"}, TimestampError, "not a timestamp"),
    ],
)
def test_wrong_options_are_said_at_once(
    store: OfflineStore, service: Registered[FeatureService], options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        store.historical_features(service, asked([0]), **options)


@pytest.mark.parametrize(
    "instant",
    [datetime.min.replace(tzinfo=UTC), datetime(1677, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, tzinfo=UTC)],
)
def test_instants_at_the_ends_of_time_are_joined_like_others(
    store: OfflineStore, registry: Registry, instant: datetime
) -> None:
    view = FeatureView(
        name="facts", entities=[Entity(name="thing")], ttl=timedelta(days=36_500), schema=[Field(name="x", dtype=Int64)]
    )
    registry.apply([FeatureService(name="svc", features=[view])], who="tests")
    store.ingest(view, [{"thing": "a", "x": 1, "event_timestamp": instant}], who="tests")
    entity = [{"thing": "a", "event_timestamp": one} for one in (instant, datetime.max.replace(tzinfo=UTC))]
    for options in ({}, {"with_status": True}, {"known_at": "row"}):
        joined = store.historical_features(registry.service("svc"), entity, **options).to_arrow()  # type: ignore[arg-type]
        expected = [None, None] if options == {"known_at": "row"} else [1, None]
        assert joined["x"].to_pylist() == expected


def test_values_that_wait_on_disk_come_back_as_they_were(tmp_path: Path) -> None:
    fields = [
        Field(name="x", dtype=Float64),
        Field(name="text", dtype=String),
        Field(name="vector", dtype=Embedding(2)),
    ]
    nan = float("nan")
    rows: list[dict[str, Any]] = [
        {"x": value, "text": text, "vector": vector, "position__": position}
        for position, (value, text, vector) in enumerate(
            [(-0.0, "é", [0.0, -0.0]), (nan, None, None), (None, "", [nan, 1.0]), (1.5, "b" * 300, [2.0, 3.0])]
        )
    ]
    types = pa.schema(
        [("x", pa.float64()), ("text", pa.string()), ("vector", pa.list_(pa.float32())), ("position__", pa.int64())]
    )
    held = Gathered(fields, 6, 3, budget=1 << 30, folder=tmp_path)
    spilled = Gathered(fields, 6, 3, budget=0, folder=tmp_path)
    for one in (held, spilled):
        for row in (3, 0, 2, 1):
            one.add(pa.Table.from_pylist([rows[row]], schema=types))
    assert len(list(tmp_path.rglob("*.arrow"))) == 4
    for part in range(2):
        first, second = held.take(part), spilled.take(part)
        assert repr(first.to_pylist()) == repr(second.to_pylist())
        wanted = [{name: row[name] for name in ("x", "text", "vector")} for row in rows[part * 3 : part * 3 + 3]]
        nothing = [dict.fromkeys(("x", "text", "vector"))] * (3 - len(wanted))
        assert repr(first.to_pylist()) == repr(wanted + nothing)
    spilled.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("limit", "size"), [("500MB", 500_000_000), ("1GiB", 1 << 30), ("2TB", 2 * 10**12)])
def test_the_memory_limit_is_known_in_bytes(store: OfflineStore, tmp_path: Path, limit: str, size: int) -> None:
    config = store._config.offline.model_copy(update={"memory_limit": limit})
    with engine.connect(config, tmp_path, "The test") as connection:
        assert engine.memory_limit(connection) == pytest.approx(size, rel=0.1)
