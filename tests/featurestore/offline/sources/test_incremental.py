"""SqlSources that run over intervals: any split of time gives what one run gives, and only what is needed is read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featurestore.config import Config, SourceConfig
from featurestore.definitions import Entity, FeatureView, Field, FileSource, SqlSource
from featurestore.errors import DataError, FeatureStoreError, SchemaError, TimestampError
from featurestore.offline.intake.ingest import IngestReport
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.types import Float64, Int64

START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TRAILING = """
    SELECT store, seen AS event_timestamp, sum(amount) OVER w AS total, count(*) OVER w AS orders
    FROM orders WINDOW w AS (PARTITION BY store ORDER BY seen RANGE INTERVAL 6 HOURS PRECEDING)
"""
Row = tuple[str, int, float]


def orders(*rows: Row) -> pa.Table:
    """Rows of (store, hour, amount)."""
    seen = [START + hour * HOUR for _, hour, _ in rows]
    return pa.table(
        {
            "store": pa.array([store for store, _, _ in rows], pa.string()),
            "seen": pa.array(seen, pa.timestamp("us", "UTC")),
            "amount": pa.array([amount for _, _, amount in rows], pa.float64()),
        }
    )


def hourly(*hours: int, amount: float = 1.0, store: str = "a") -> pa.Table:
    return orders(*((store, hour, amount) for hour in hours))


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write a table as the next file of a source."""
    numbers = itertools.count()

    def write(table: pa.Table, source: str = "orders", folder: str = "in") -> Path:
        path = tmp_path / folder / f"{source}-{next(numbers):03}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=4)
        return path

    return write


def source_of(folder: str = "in", name: str = "orders") -> FileSource:
    return FileSource(name=name, path=f"{folder}/{name}-*.parquet", timestamp_field="seen")


def view_of(query: str = TRAILING, *, name: str = "spending", folder: str = "in", **options: Any) -> FeatureView:
    options = {"sources": [source_of(folder)], "lookback": 6 * HOUR} | options
    return FeatureView(
        name=name,
        entities=[Entity(name="store")],
        schema=[Field(name="total", dtype=Float64), Field(name="orders", dtype=Int64)],
        source=SqlSource(query=query, **options),
    )


def counting(store: OfflineStore, view: FeatureView) -> dict[tuple[str, float], tuple[float, int]]:
    """Return what counts: by store and hour, total and orders."""
    # They come oldest first, and of one key and event time in the order of the join.
    found = {}
    for row in store.rows_by_event_time(view, after=None).read_all().to_pylist():
        found[row["store"], (row["event_timestamp"] - START) / HOUR] = (row["total"], row["orders"])
    return found


def written(store: OfflineStore, view: FeatureView) -> int:
    return sum(load.rows_written for load in store.loads(view))


# Splits

#: Each with the lookback that it needs.
QUERIES: dict[str, tuple[str, timedelta]] = {
    "trailing": (TRAILING, 6 * HOUR),
    "known_later": (
        """
        SELECT store, seen + INTERVAL 2 HOURS AS event_timestamp, amount AS total,
            count(*) OVER (PARTITION BY store ORDER BY seen RANGE INTERVAL 3 HOURS PRECEDING) AS orders
        FROM orders
        """,
        5 * HOUR,
    ),
    "by_day": (
        """
        SELECT store, date_trunc('day', seen) + INTERVAL 1 DAY AS event_timestamp, sum(amount) AS total,
            count(*) AS orders FROM orders GROUP BY ALL
        """,
        24 * HOUR,
    ),
    "row_by_row": ("SELECT store, seen AS event_timestamp, amount AS total, 1 AS orders FROM orders", 0 * HOUR),
    "two_sources": (
        """
        SELECT o.store, o.seen AS event_timestamp, max(o.amount) AS total,
            (SELECT count(*) FROM returns r
             WHERE r.store = o.store AND r.seen BETWEEN o.seen - INTERVAL 4 HOURS AND o.seen) AS orders
        FROM orders o GROUP BY ALL
        """,
        4 * HOUR,
    ),
}


@st.composite
def arrivals(draw: st.DrawFn, late_by: int) -> list[list[Row]]:
    """Draw rows in the files in which they came: none later than ``late_by`` hours after the rows of its time."""
    # One amount for a store and hour: which of two rows counts that differ, no query here says.
    drawn = draw(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(0, late_by)), min_size=1, max_size=30)
    )
    came = sorted(drawn, key=lambda row: row[1] + row[2])
    cuts = sorted(draw(st.lists(st.integers(0, len(came)), max_size=3)))
    bounds = [0, *cuts, len(came)]
    return [
        [(store, hour, float(hour * 7 % 13)) for store, hour, _ in came[first:last]]
        for first, last in itertools.pairwise(bounds)
    ]


_numbers = itertools.count()


def check_split(store: OfflineStore, put: Callable[..., Path], kind: str, data: st.DataObject) -> None:
    """Check that runs after each file give together what one run over all of them gives; the long form is in soak."""
    query, lookback = QUERIES[kind]
    late_by = data.draw(st.sampled_from([0, 5, 30]))
    files = data.draw(arrivals(late_by))
    names = ["orders", "returns"] if kind == "two_sources" else ["orders"]
    other = data.draw(arrivals(late_by)) if len(names) > 1 else []
    number = next(_numbers)
    folder = f"in{number}"
    options = {"sources": [source_of(folder, name) for name in names], "lookback": lookback, "folder": folder}
    split = view_of(query, name=f"split{number}", late_by=late_by * HOUR, **options)
    whole = view_of(query, name=f"whole{number}", late_by=late_by * HOUR, **options)
    for mine, theirs in itertools.zip_longest(files, other, fillvalue=()):
        put(orders(*mine), "orders", folder)
        if len(names) > 1:
            put(orders(*theirs), "returns", folder)
        store.ingest_source(split, who="ada")
    store.ingest_source(whole, who="ada")
    assert counting(store, split) == counting(store, whole)


@pytest.mark.parametrize("kind", QUERIES)
@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(data=st.data())
def test_any_split_of_time_gives_what_one_run_gives(
    store: OfflineStore, put: Callable[..., Path], kind: str, data: st.DataObject
) -> None:
    check_split(store, put, kind, data)


# One run after another


def test_a_run_begins_where_the_last_one_ended_and_looks_back(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(hourly(*range(10)))
    assert store.ingest_source(view, who="ada").written == 10
    put(hourly(10, 11))
    report = store.ingest_source(view, who="ada")
    assert (report.read, report.written) == (2, 2)
    assert counting(store, view)["a", 11] == (7.0, 7)  # seven orders from hour 5 to hour 11


def test_rows_that_come_again_unchanged_are_not_written_again_and_that_is_said(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    view = view_of(late_by=4 * HOUR)
    put(hourly(*range(10)))
    store.ingest_source(view, who="ada")
    put(hourly(10))
    report = store.ingest_source(view, who="ada")
    assert (report.read, report.written) == (1, 1)
    assert "5 rows stand in the table as they are" in report.notes
    assert written(store, view) == 11
    assert store.table(view).snapshot().rows == 11


def test_nothing_new_in_the_files_is_the_load_before(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of(late_by=4 * HOUR)
    put(hourly(*range(10)))
    store.ingest_source(view, who="ada")
    assert store.ingest_source(view, who="ada").skipped == 1


def test_a_row_that_is_late_changes_the_figures_after_it(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of(late_by=2 * HOUR)
    put(hourly(*range(10)))
    store.ingest_source(view, who="ada")
    put(hourly(8, amount=100.0, store="a"))
    store.ingest_source(view, who="ada")
    assert [counting(store, view)["a", hour][0] for hour in (7, 8, 9)] == [7.0, 107.0, 107.0]


def test_a_row_that_is_later_than_it_may_be_changes_what_is_read_again_and_no_more(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    view = view_of(late_by=1 * HOUR)
    put(hourly(*range(10)))
    store.ingest_source(view, who="ada")
    put(hourly(5, amount=100.0))
    store.ingest_source(view, who="ada")
    assert [counting(store, view)["a", hour][0] for hour in (5, 7, 8, 9)] == [6.0, 7.0, 107.0, 107.0]


def test_stored_rows_that_a_run_no_longer_gives_are_told_of(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of(late_by=4 * HOUR)
    put(hourly(*range(8)))
    gone = put(hourly(8, 9))
    store.ingest_source(view, who="ada")
    gone.unlink()
    put(hourly(9))
    report = store.ingest_source(view, who="ada")
    assert any("1 stored rows of this time are not in the result any more; a backfill" in one for one in report.notes)
    assert ("a", 8) in counting(store, view)


def test_a_value_that_goes_back_to_what_it_was_is_written_again(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of("SELECT store, seen AS event_timestamp, amount AS total, 1 AS orders FROM orders", late_by=HOUR)
    file = put(hourly(0))
    for amount in (1.0, 2.0, 1.0):
        pq.write_table(hourly(0, amount=amount), file)
        assert store.ingest_source(view, who="ada").written == 1
    assert counting(store, view) == {("a", 0): (1.0, 1)}


def test_rows_that_share_key_and_instant_do_not_change_places_when_they_come_again(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    query = "SELECT store, seen AS event_timestamp, amount AS total, 1 AS orders FROM orders ORDER BY seen, amount"
    view = view_of(query, late_by=2 * HOUR)
    put(orders(("a", 0, 1.0), ("a", 0, 2.0), ("a", 1, 5.0)))
    store.ingest_source(view, who="ada")
    put(hourly(2))
    assert store.ingest_source(view, who="ada").written == 1
    assert counting(store, view)["a", 0] == (2.0, 1)


def test_bad_rows_are_kept_aside_each_time_they_come(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of("SELECT store, seen AS event_timestamp, amount AS total, 1 AS orders FROM orders", late_by=2 * HOUR)
    view = replace(view, schema=[Field(name="total", dtype=Float64, ge=0), Field(name="orders", dtype=Int64)])
    put(orders(("a", 0, 1.0), ("a", 1, -1.0)))
    first = store.ingest_source(view, who="ada")
    put(hourly(2))
    second = store.ingest_source(view, who="ada")
    assert [(one.read, one.written, one.quarantined) for one in (first, second)] == [(2, 1, 1), (2, 1, 1)]


def test_rows_that_come_again_do_not_repeat_themselves_within_the_table(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    view = view_of("SELECT store, seen AS event_timestamp, amount AS total, 1 AS orders FROM orders", late_by=2 * HOUR)
    view = replace(
        view, schema=[Field(name="total", dtype=Float64, unique_within="table"), Field(name="orders", dtype=Int64)]
    )
    put(orders(("a", 0, 1.0), ("a", 4, 2.0), ("a", 5, 3.0)))
    assert store.ingest_source(view, who="ada").written == 3
    put(orders(("a", 6, 4.0), ("a", 7, 1.0)))
    report = store.ingest_source(view, who="ada")
    assert (report.written, report.reasons) == (1, {"total repeats within the table": 1})


# Where a run ends


def test_of_two_sources_the_one_that_is_behind_says_how_far_a_run_goes(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    query, lookback = QUERIES["two_sources"]
    view = view_of(query, sources=[source_of(), source_of(name="returns")], lookback=lookback)
    put(hourly(*range(10)))
    put(hourly(3), "returns")
    report = store.ingest_source(view, who="ada")
    assert report.written == 4
    assert 'computed up to 2013-01-01T03:00:00Z, where source "returns" ends' in report.notes
    put(hourly(9), "returns")
    store.ingest_source(view, who="ada")
    assert counting(store, view)["a", 7] == (1.0, 1)


def test_a_source_without_rows_is_waited_for(store: OfflineStore, put: Callable[..., Path]) -> None:
    query, lookback = QUERIES["two_sources"]
    view = view_of(query, sources=[source_of(), source_of(name="returns")], lookback=lookback)
    put(hourly(0))
    put(hourly(), "returns")
    report = store.ingest_source(view, who="ada")
    assert report.written == 0
    assert 'source "returns" has no rows yet, so nothing is computed' in report.notes
    put(hourly(0), "returns")
    assert store.ingest_source(view, who="ada").written == 1


def test_a_row_from_the_future_does_not_hide_those_to_come(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(hourly(0, 24 * 365 * 900))
    assert store.ingest_source(view, who="ada").written == 1
    put(hourly(1))
    assert store.ingest_source(view, who="ada").written == 1


def test_a_result_that_is_known_later_waits_until_its_sources_reach_it(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    query, lookback = QUERIES["by_day"]
    view = view_of(query, lookback=lookback)
    put(hourly(*range(30)))
    store.ingest_source(view, who="ada")
    assert counting(store, view) == {("a", 24): (24.0, 24)}
    put(hourly(47, 48))
    store.ingest_source(view, who="ada")
    assert counting(store, view)["a", 48] == (7.0, 7)


def test_rows_without_an_instant_are_in_no_run_and_that_is_said(store: OfflineStore, put: Callable[..., Path]) -> None:
    table = hourly(0, 1)
    nulls = pa.array([None, START], table.schema.field("seen").type)
    put(table.set_column(1, "seen", nulls))
    report = store.ingest_source(view_of(), who="ada")
    assert (report.read, report.written) == (1, 1)
    assert '1 rows of source "orders" have no seen: no run sees them' in report.notes


def test_what_a_restore_took_back_is_computed_again(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of(late_by=2 * HOUR)
    put(hourly(*range(10)))
    first = store.ingest_source(view, who="ada").loads[0]
    put(hourly(10, 11))
    store.ingest_source(view, who="ada")
    before = counting(store, view)
    store.restore(view, store.find_state(view, first.load_id), who="ada")
    assert store.ingest_source(view, who="ada").written == 2
    assert counting(store, view) == before


# What is read


def damage(file: Path, row_group: int) -> None:
    """Overwrite the pages of a row group; the footer stays."""
    about = pq.ParquetFile(file).metadata.row_group(row_group)
    written = bytearray(file.read_bytes())
    for place in range(about.num_columns):
        column = about.column(place)
        start = column.dictionary_page_offset or column.data_page_offset
        written[start : start + column.total_compressed_size] = b"\0" * column.total_compressed_size
    file.write_bytes(bytes(written))


def test_row_groups_outside_of_the_interval_are_not_read(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    old = put(hourly(*range(20)))  # in row groups of four
    store.ingest_source(view, who="ada")
    for row_group in range(3):
        damage(old, row_group)
    put(hourly(20))
    assert store.ingest_source(view, who="ada").written == 1
    damage(old, 4)
    put(hourly(21))
    with pytest.raises(DataError, match="cannot be read"):
        store.ingest_source(view, who="ada")


@pytest.mark.parametrize("unit", ["us", "ns", "date"])
def test_the_column_of_instants_may_be_of_any_type_that_names_instants(
    store: OfflineStore, put: Callable[..., Path], unit: str
) -> None:
    def cast(table: pa.Table) -> pa.Table:
        dtype = pa.date32() if unit == "date" else pa.timestamp(unit, "UTC")
        return table.set_column(1, "seen", table.column("seen").cast(dtype))

    query = "SELECT store, seen AS event_timestamp, amount AS total, 1 AS orders FROM orders"
    view = view_of(query, late_by=24 * HOUR, lookback=24 * HOUR)
    put(cast(hourly(0, 24, 48)))
    assert store.ingest_source(view, who="ada").written == 3
    put(cast(hourly(24, 72, store="b")))
    assert store.ingest_source(view, who="ada").written == 2
    assert set(counting(store, view)) == {("a", 0), ("a", 24), ("a", 48), ("b", 24), ("b", 72)}


def test_a_delta_table_is_a_source_like_files(store: OfflineStore, tmp_path: Path) -> None:
    source = FileSource(name="orders", path="lake/orders", format="delta", timestamp_field="seen")
    view = view_of(sources=[source])
    write_deltalake(tmp_path / "lake" / "orders", hourly(*range(10)))
    assert store.ingest_source(view, who="ada").written == 10
    write_deltalake(tmp_path / "lake" / "orders", hourly(10), mode="append")
    assert store.ingest_source(view, who="ada").written == 1
    assert counting(store, view)["a", 10] == (7.0, 7)
    assert store.ingest_source(view, who="ada").skipped == 1


def test_a_source_without_the_column_is_seen_whole_and_that_is_said(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    query = """
        SELECT store, seen AS event_timestamp, amount * rate AS total, 1 AS orders FROM orders JOIN rates USING (store)
    """
    rates = FileSource(name="rates", path="in/rates-*.parquet")
    view = view_of(query, sources=[rates, source_of()])
    put(pa.table({"store": ["a"], "rate": [2.0]}), "rates")
    put(hourly(0, 1))
    report = store.ingest_source(view, who="ada")
    assert 'source "rates" has no column "event_timestamp", and was seen whole' in report.notes
    put(hourly(2))
    assert store.ingest_source(view, who="ada").written == 1
    assert counting(store, view)["a", 2] == (2.0, 1)


def test_a_source_that_lies_elsewhere_is_computed_again_and_only_differences_are_written(
    config: Config, registry: Registry, put: Callable[..., Path]
) -> None:
    view = view_of()
    put(hourly(*range(10)))
    OfflineStore(config, registry).ingest_source(view, who="ada")
    put(hourly(*range(9), amount=1.0), folder="mnt")
    put(hourly(9, amount=3.0), folder="mnt")
    moved = config.model_copy(update={"sources": {"orders": SourceConfig(path="mnt/orders-*.parquet")}})
    report = OfflineStore(moved, registry).ingest_source(view, who="ada")
    assert "everything was computed again, as the source lies elsewhere now" in report.notes
    assert report.written == 1


# Mistakes


@pytest.mark.parametrize(
    ("column", "values", "error", "says"),
    [
        ("when", [START], SchemaError, 'its source "orders" has no column "seen" to go by'),
        (
            "seen",
            [START.replace(tzinfo=None)],
            TimestampError,
            'column "seen" of its source "orders" names no time zone',
        ),
        ("seen", ["2013-01-01"], SchemaError, 'column "seen" of its source "orders" is VARCHAR, not a timestamp'),
    ],
)
def test_a_source_that_cannot_be_cut_says_what_to_do(
    store: OfflineStore,
    put: Callable[..., Path],
    column: str,
    values: Sequence[Any],
    error: type[FeatureStoreError],
    says: str,
) -> None:
    put(pa.table({"store": ["a"], column: values, "amount": [1.0]}))
    with pytest.raises(error, match=says) as raised:
        store.ingest_source(view_of("SELECT store, amount FROM orders"), who="ada")
    assert raised.value.hint


def test_a_result_without_its_instants_is_refused_as_for_every_source(
    store: OfflineStore, put: Callable[..., Path]
) -> None:
    put(hourly(0))
    with pytest.raises(SchemaError, match='no column "event_timestamp"'):
        store.ingest_source(view_of("SELECT store, amount AS total, 1 AS orders FROM orders"), who="ada")


def test_a_query_that_fails_shows_its_own_line(store: OfflineStore, put: Callable[..., Path]) -> None:
    put(hourly(0))
    with pytest.raises(DataError, match="LINE 3: WHERE no_such = 1"):
        store.ingest_source(view_of("SELECT *\nFROM orders\nWHERE no_such = 1"), who="ada")


def test_a_run_that_fails_leaves_the_watermark_where_it_was(store: OfflineStore, put: Callable[..., Path]) -> None:
    view = view_of()
    put(hourly(*range(3)))
    store.ingest_source(view, who="ada")
    broken = put(hourly(3))
    damage(broken, 0)
    with pytest.raises(DataError):
        store.ingest_source(view, who="ada")
    pq.write_table(hourly(3, 4), broken)
    report: IngestReport = store.ingest_source(view, who="ada")
    assert report.written == 2
