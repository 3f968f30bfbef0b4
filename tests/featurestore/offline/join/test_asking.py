"""Entity rows as a frame, a file, a query or a range of time: what is asked with is what is joined."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, OnDemandFeatureView
from featurestore.errors import DataError, SchemaError, TimestampError
from featurestore.offline.sources.csv_rows import by_content
from featurestore.types import Bool, Date, Float64, Int64, String

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHOP = Entity(name="shop", join_keys=["code", "day"], dtypes=[String, Date])
SALES = FeatureView(
    name="sales",
    entities=[SHOP],
    schema=[Field(name="sold", dtype=Float64)],
    source=FileSource(name="tills", path="tills.csv"),
)
RATE = Field(name="rate", dtype=Float64, default=1.0)
NET = OnDemandFeatureView(
    name="net",
    inputs=[SALES],
    request=[RATE],
    schema=[Field(name="earned", dtype=Float64)],
    expressions={"earned": "sold * rate"},
)
FORECAST = FeatureService(name="forecast", features=[SALES, NET])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "repo", project="tests") as store:
        store.apply([FORECAST])
        yield store


@pytest.fixture
def asked(store: FeatureStore) -> Callable[..., pa.Table]:
    return lambda *given, **options: store.offline.entity_table(FORECAST, *given, **options)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "rows.csv"
        path.write_text(text)
        return path

    return write


def test_cells_of_a_file_are_read_by_the_declared_types_and_other_columns_by_their_content(
    asked: Callable[..., pa.Table], file: Callable[[str], Path]
) -> None:
    path = file(
        "code,day,event_timestamp,rate,label,shelf,late,seen\n"
        "007,2024-01-01,2024-01-01T07:00:00+01:00,2,1.5,012,true,2024-01-01T00:00:00Z\n"
        "NA,2024-01-02,2024-01-02,,,013,false,\n"
    )
    for form in (path, str(path)):
        table = asked(form)
        assert table.to_pylist() == [
            {
                "code": "007",
                "day": date(2024, 1, 1),
                "event_timestamp": START + 6 * HOUR,
                "rate": 2.0,
                "label": 1.5,
                "shelf": "012",
                "late": True,
                "seen": START,
            },
            {
                "code": None,
                "day": date(2024, 1, 2),
                "event_timestamp": START + 24 * HOUR,
                "rate": None,
                "label": None,
                "shelf": "013",
                "late": False,
                "seen": None,
            },
        ]
    assert table.schema.field("label").type == pa.float64()


def test_the_instants_of_a_file_may_have_another_name(
    asked: Callable[..., pa.Table], file: Callable[[str], Path]
) -> None:
    path = file("code,day,at\na,2024-01-01,2024-01-01T07:00:00.1234567Z\n")
    assert asked(path, timestamp_field="at")["at"].to_pylist() == [START + 7 * HOUR + timedelta(microseconds=123456)]


def test_columns_of_a_parquet_file_come_untouched(asked: Callable[..., pa.Table], tmp_path: Path) -> None:
    table = pa.table(
        {
            "code": pa.array(["a", "b"]).dictionary_encode(),
            "day": pa.array([date(2024, 1, 1)] * 2),
            "event_timestamp": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin")),
            "label": pa.array([[1], None], pa.list_(pa.int8())),
        }
    )
    folder = tmp_path / "year=2024"
    folder.mkdir()
    pq.write_table(table, folder / "rows.parquet")
    assert asked(folder / "rows.parquet") == table


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("code,day,event_timestamp\na,soon,2024-01-01\n", SchemaError, r"Row 1 of .*day is not Date \(day=soon\)"),
        (
            "code,day,event_timestamp\na,2024-01-01,2024-01-01\nb,,x\n",
            SchemaError,
            r"Row 2 of .*event_timestamp is not Timestamp \(event_timestamp=x\)",
        ),
        ("code,day,event_timestamp\na,2024-01-01,2024-01-01 07:00:00\n", TimestampError, "names no time zone"),
        ("code,day,event_timestamp\na,2024-01-01\n", DataError, "line 2: Expected Number of Columns: 3 Found: 2"),
        ("code,code\na,b\n", DataError, 'names "code" twice'),
        ("", DataError, "rows.csv is empty"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_and_it_is_said_where(
    asked: Callable[..., pa.Table], file: Callable[[str], Path], text: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(Exception, match=says) as caught:
        asked(file(text))
    assert isinstance(caught.value, error) or "twice" in says


def test_what_is_no_file_is_said(asked: Callable[..., pa.Table], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file") as caught:
        asked(str(tmp_path / "none.csv"))
    assert "SELECT" in caught.value.hint
    with pytest.raises(DataError, match="is a folder"):
        asked(tmp_path)
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"rows\.parquet cannot be read"):
        asked(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="no entity rows to ask") as caught:
        asked(None)
    assert "start" in caught.value.hint


def test_a_query_reads_the_named_sources_of_the_project_as_a_sql_source_does(
    store: FeatureStore, asked: Callable[..., pa.Table]
) -> None:
    (store.config.root / "tills.csv").write_text(
        "code,day,event_timestamp,sold\na,2024-01-01,2024-01-01T07:00:00Z,1.5\nb,2024-01-01,2024-01-01T08:00:00Z,2\n"
    )
    table = asked("\n select code, day, event_timestamp, sold > 1.7 AS large FROM Tills ORDER BY sold DESC")
    assert table.column_names == ["code", "day", "event_timestamp", "large"]
    assert table["large"].to_pylist() == [True, False]
    joined = store.get_historical_features("WITH t AS (SELECT * FROM tills) SELECT * EXCLUDE sold FROM t", "forecast")
    assert joined.to_arrow()["sold"].to_pylist() == [None, None]


def test_a_sign_that_begins_comments_elsewhere_is_text(store: FeatureStore, asked: Callable[..., pa.Table]) -> None:
    (store.config.root / "tills.csv").write_text("code,sold\n#1,2\na#b,#x\nc,\n")
    found = asked("SELECT * FROM tills")
    assert found.to_pydict() == {"code": ["#1", "a#b", "c"], "sold": ["2", "#x", None]}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT * FROM till", 'names the table "till"'),
        ("SELECT * FROM sales", "none of its sources"),
        ("SELECT * FROM read_csv('/etc/passwd')", "reads read_csv"),
        ("SELECT * FROM '/etc/passwd'", "none of its sources"),
        ("SELECT * FROM tills; DROP TABLE x", "is not one SELECT"),
        ("SELECT now() AS event_timestamp FROM tills", "changes from run to run"),
        ("SELECT nothing FROM tills", "nothing"),
        ("SELECT FROM", "is not valid SQL"),
        ("SELECT code, code FROM tills", 'have two columns "code"'),
    ],
)
def test_a_query_that_reads_anything_else_is_refused(
    store: FeatureStore, asked: Callable[..., pa.Table], query: str, says: str
) -> None:
    (store.config.root / "tills.csv").write_text("code\na\n")
    with pytest.raises(DataError, match=says) as caught:
        asked(query)
    assert not caught.value.where


def test_a_name_that_two_different_sources_have_is_not_guessed(
    store: FeatureStore, asked: Callable[..., pa.Table]
) -> None:
    other = FeatureView(
        name="stock",
        entities=[SHOP],
        schema=[Field(name="left", dtype=Float64)],
        source=FileSource(name="tills", path="other.csv"),
    )
    store.apply(other)
    with pytest.raises(DataError, match="two different FileSources"):
        asked("SELECT * FROM tills")


def rows(*at: tuple[str, int]) -> list[dict[str, Any]]:
    return [
        {"code": code, "day": date(2024, 1, 1), "sold": float(hour), "event_timestamp": START + hour * HOUR}
        for code, hour in at
    ]


def test_a_range_of_time_has_each_key_and_event_time_once_from_its_start_on_and_before_its_end(
    store: FeatureStore, asked: Callable[..., pa.Table]
) -> None:
    store.ingest("sales", rows(("b", 2), ("a", 2), ("a", 1), ("a", 3), ("a", 0)))
    store.ingest("sales", rows(("a", 2)))
    table = asked(None, start=START + HOUR, end="2024-01-01T04:00:00+01:00")
    found = list(zip(table["code"].to_pylist(), table["event_timestamp"].to_pylist(), strict=True))
    assert found == [("a", START + HOUR), ("a", START + 2 * HOUR), ("b", START + 2 * HOUR)]
    assert table.column_names == ["code", "day", "event_timestamp"]
    joined = store.get_historical_features(features="forecast", start=START, end=START + 9 * HOUR, timestamp_field="at")
    assert joined.to_polars().select("code", "sold", "earned").rows() == [
        ("a", 0.0, 0.0),
        ("a", 1.0, 1.0),
        ("a", 2.0, 2.0),
        ("b", 2.0, 2.0),
        ("a", 3.0, 3.0),
    ]


def test_a_range_as_of_an_instant_has_no_rows_that_came_later(
    store: FeatureStore, asked: Callable[..., pa.Table]
) -> None:
    store.ingest("sales", rows(("a", 1)))
    between = datetime.now(UTC)
    store.ingest("sales", rows(("a", 2)))
    whole = {"start": START, "end": START + 9 * HOUR}
    assert len(asked(None, **whole)) == 2
    assert asked(None, **whole, as_of=between)["event_timestamp"].to_pylist() == [START + HOUR]
    assert len(asked(None, **whole, as_of=START)) == 0
    assert len(store.get_historical_features(features="forecast", **whole, as_of=between)) == 1


def test_a_range_over_views_that_were_never_ingested_has_no_rows(asked: Callable[..., pa.Table]) -> None:
    table = asked(None, start=START, end=START + HOUR)
    assert table.num_rows == 0
    assert table.schema.field("day").type == pa.date32()


def test_what_is_no_range_is_refused(store: FeatureStore, asked: Callable[..., pa.Table]) -> None:
    for options, says in (
        ({"start": START}, "has no end"),
        ({"end": START}, "has no start"),
        ({"start": START, "end": START}, "ends at .* before it starts"),
        ({"start": START, "end": START + HOUR, "timestamp_field": "day"}, "which is a join key"),
    ):
        with pytest.raises(DataError, match=says):
            asked(None, **options)
    with pytest.raises(DataError, match="both as entity_df and as a range"):
        asked(rows(), start=START, end=START + HOUR)
    with pytest.raises(TimestampError, match=r"start is .* names no time zone"):
        asked(None, start=datetime(2024, 1, 1), end=START)  # noqa: DTZ001
    with pytest.raises(DataError, match="both as entity_df"):
        store.get_historical_features([], "forecast", start=START, end=START + HOUR)


def test_a_range_of_time_needs_views_with_the_same_keys_and_no_request(store: FeatureStore) -> None:
    chain = Entity(name="chain", join_keys=["chain_id"], dtypes=[Int64])
    open_ = FeatureView(name="open", entities=[chain], schema=[Field(name="is_open", dtype=Bool)])
    asks = OnDemandFeatureView(
        name="asks",
        request=[Field(name="rate", dtype=Float64)],
        schema=[Field(name="twice", dtype=Float64)],
        expressions={"twice": "2 * rate"},
    )
    for features, says in (
        ([SALES, open_], '"sales" has code, day, and all have'),
        ([SALES, asks], 'no value of "rate"'),
    ):
        with pytest.raises(SchemaError, match=says) as caught:
            store.get_historical_features(features=features, start=START, end=START + HOUR)
        assert "entity_df" in caught.value.hint


def test_uses_of_one_view_under_other_keys_have_other_keys(store: FeatureStore) -> None:
    twice = [SALES, SALES.with_join_key_map({"code": "other"}, name="other_sales")]
    with pytest.raises(SchemaError, match="A range of time needs views with the same join keys"):
        store.get_historical_features(features=twice, start=START, end=START + HOUR)
    mapped = SALES.with_join_key_map({"code": "other"}, name="other_sales")
    store.ingest("sales", rows(("a", 1)))
    found = store.get_historical_features(features=[mapped], start=START, end=START + 2 * HOUR).to_polars()
    assert found.select("other", "other_sales__sold").rows() == [("a", 1.0)]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_range_is_what_a_search_through_all_rows_finds(tmp_path_factory: Any, data: st.DataObject) -> None:
    views = [
        FeatureView(
            name=name,
            entities=[Entity(name="thing", join_keys=["k"], dtypes=[Float64])],
            schema=[Field(name=f"x_{name}", dtype=Int64)],
        )
        for name in ("one", "two")
    ]
    moments = [START + timedelta(microseconds=number) for number in range(4)]
    row = st.tuples(st.sampled_from([0.0, -0.0, 1.5]), st.sampled_from(moments))
    service = FeatureService(name="svc", features=views)
    known = set()
    with FeatureStore.init(tmp_path_factory.mktemp("repo"), project="tests") as store:
        store.apply([service])
        for view in views:
            for load in data.draw(st.lists(st.lists(row, min_size=1, max_size=5), max_size=2)):
                store.ingest(view.name, [{"k": k, f"x_{view.name}": 1, "event_timestamp": at} for k, at in load])
                known |= {(k + 0.0, at) for k, at in load}
        for start, end in itertools.combinations(moments, 2):
            found = store.offline.entity_table(service, None, start=start, end=end)
            pairs = list(zip(found["k"].to_pylist(), found["event_timestamp"].to_pylist(), strict=True))
            assert sorted(pairs) == sorted((k, at) for k, at in known if start <= at < end)
            assert [at for _, at in pairs] == sorted(at for _, at in pairs)


@pytest.mark.parametrize(
    ("texts", "dtype"),
    [
        (["1", None, "-2"], pa.int64()),
        (["9223372036854775807"], pa.int64()),
        (["9223372036854775808", "1"], pa.string()),
        (["1.5", "2", "nan"], pa.float64()),
        (["007", "8"], pa.string()),
        (["0", "0.5", "-0.5"], pa.float64()),
        (["-07"], pa.string()),
        (["true", "false"], pa.bool_()),
        (["2024-01-01"], pa.date32()),
        (["2024-01-01T00:00:00Z", "2024-01-01T00:00:00+01:00"], pa.timestamp("us", "UTC")),
        (["2024-01-01T00:00:00"], pa.timestamp("us")),
        (["2024-01-01T00:00:00Z", "2024-01-01T00:00:00"], pa.string()),
        (["2024-01-01T00:00:00.1234567Z"], pa.string()),
        (["a", "1"], pa.string()),
        ([None], pa.string()),
    ],
)
def test_texts_become_another_type_where_all_of_them_are_of_it_and_none_is_changed(
    texts: list[str | None], dtype: pa.DataType
) -> None:
    found = by_content(pa.chunked_array([pa.array(texts, pa.string())]))
    assert found.type == dtype
    assert found.is_null().to_pylist() == [text is None for text in texts]
