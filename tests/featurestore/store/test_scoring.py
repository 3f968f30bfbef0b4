"""Batches scored without a server: values, statuses and log are those of a server that answers at that instant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as Number
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, OnDemandFeatureView
from featurestore.client import FeatureClient
from featurestore.errors import DataError, InvalidRequestError, ObjectNotFoundError, ServingError
from featurestore.serving.log import SNAPSHOT, ServingLog
from featurestore.serving.lookup import Lookups
from featurestore.serving.runtime import compile_plans, served_services
from featurestore.types import Array, Decimal, Float32, Float64, Int64, String, Timestamp, microseconds
from monitor.parity import check_parity
from monitor.windows import Cut
from monitor.windows import ServingLog as Logged

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC).replace(microsecond=0)
SHOP = Entity(name="shop", join_keys=["code", "size"], dtypes=[String, Float64])
CHAIN = Entity(name="chain", join_keys=["chain_id"], dtypes=[Int64])
SALES = FeatureView(
    name="sales",
    entities=[SHOP],
    schema=[
        Field(name="sold", dtype=Float32),
        Field(name="left", dtype=Int64, default=7),
        Field(name="price", dtype=Decimal(6, 2)),
        Field(name="seen", dtype=Timestamp),
        Field(name="items", dtype=Array(String)),
    ],
)
OPEN = FeatureView(
    name="open", entities=[CHAIN], schema=[Field(name="hours", dtype=Float64), Field(name="x", dtype=Int64)]
)
NET = OnDemandFeatureView(
    name="net",
    inputs=[SALES],
    request=[Field(name="rate", dtype=Float64, default=0.5)],
    schema=[Field(name="earned", dtype=Float64, default=-1.0)],
    expressions={"earned": "sold * rate"},
)
PARENT = OPEN.with_join_key_map({"chain_id": "parent_id"}, name="parent")
#: The TTL is in the newer version only: rows that it finds too old are online, because production serves them.
LONG = FeatureService(name="forecast", features=[SALES, NET, OPEN[["hours"]], PARENT])
SHORT = replace(
    LONG,
    features=[
        replace(SALES, ttl=2 * HOUR),
        replace(NET, inputs=[replace(SALES, ttl=2 * HOUR)]),
        replace(OPEN, ttl=HOUR)[["hours"]],
        replace(OPEN, ttl=HOUR).with_join_key_map({"chain_id": "parent_id"}, name="parent"),
    ],
)
SOLD: dict[str, Any] = {"sold": 0.1, "left": None, "price": Number("1.10"), "seen": NOW, "items": ["a", None]}
KEYS: list[dict[str, Any]] = [
    {"code": "a", "size": 1.0, "chain_id": 1, "parent_id": 2, "rate": 2.0},
    {"code": "b", "size": -0.0, "chain_id": 2, "parent_id": 3, "rate": None},
    {"code": None, "size": 1.0, "chain_id": 3, "parent_id": 1, "rate": 1.0},
    {"code": "a", "size": 1.0, "chain_id": 1, "parent_id": None, "rate": 0.0},
    {"code": "c", "size": 1.5, "chain_id": 9, "parent_id": 9, "rate": 1.0},
]
Online = Callable[..., tuple[Any, pa.Table]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "repo", project="tests") as store:
        store.apply([LONG])
        store.registry.promote("forecast@1", who="ada")
        store.apply([SHORT])
        store.ingest(
            "sales",
            [
                {"code": "a", "size": 1.0, "event_timestamp": NOW - HOUR} | SOLD,
                {"code": "b", "size": 0.0, "event_timestamp": NOW - 3 * HOUR} | SOLD,
                {"code": "c", "size": 1.5, "event_timestamp": NOW - HOUR} | dict.fromkeys(SOLD),
            ],
        )
        store.ingest(
            "open",
            [
                {"chain_id": number, "hours": 1.5 * number, "x": number, "event_timestamp": NOW - number * HOUR / 2}
                for number in (1, 2, 3)
            ],
        )
        for view in ("sales", "open"):
            store.materialize(view)
        yield store


@pytest.fixture
def online(store: FeatureStore, tmp_path: Path) -> Online:
    """Ask a server's lookups for rows, and give the answer and what a server logs of it."""

    def ask(service: str, rows: list[dict[str, Any]]) -> tuple[Any, pa.Table]:
        lookups = Lookups(store.online, compile_plans(served_services(store.registry)), max_rows=100)
        folder = tmp_path / "server"
        log = ServingLog(folder, now=0)

        def transport(method: str, request: bytes) -> bytes:
            if method != "GetOnlineFeatures":
                return lookups.transport(method, request)
            answer = lookups.get_online_features(request)
            log.offer(answer.entry)
            return answer.response

        answer = FeatureClient(transport=transport).get_online_features(service, rows)
        log.close(1)
        (file,) = (folder / "forecast").glob("*.parquet")
        return answer, pq.read_table(file)

    return ask


def logged(store: FeatureStore, service: str = "forecast") -> pa.Table:
    folder = store.config.path(store.config.serving.log_path) / service
    return pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))])


def comparable(table: pa.Table) -> list[dict[str, Any]]:
    return [{name: repr(value) for name, value in row.items()} for row in table.to_pylist()]


@pytest.mark.parametrize("service", ["forecast", "forecast@2"])
def test_a_batch_and_a_server_give_and_log_the_same(store: FeatureStore, online: Online, service: str) -> None:
    answer, served = online(service, KEYS)
    batch = store.get_batch_features(service, KEYS)
    assert batch.service == answer.service
    for name in answer.names:
        assert repr(batch.table[name].to_pylist()) == repr(answer.to_arrow()[name].to_pylist()), name
        assert batch.table.schema.field(name).type == answer.to_arrow().schema.field(name).type
    for view, statuses in answer.statuses.items():
        if view != "net":
            names = {1: "PRESENT", 2: "NOT_FOUND", 3: "OUTSIDE_MAX_AGE"}
            assert [names[one] for one in batch.table[f"{view}__status"].to_pylist()] == statuses
            assert batch.table[f"{view}__event_timestamp"].to_pylist() == answer.event_timestamps[view]
    if service == "forecast@2":
        assert {*batch.table["sales__status"].to_pylist(), *batch.table["open__status"].to_pylist()} == {1, 2, 3}
    table = logged(store)
    assert table.schema.equals(served.schema)
    assert set(table["request_id"].to_pylist()) == {batch.request_id}
    assert set(table["served_at"].to_pylist()) == {batch.served_at}
    alike = [name for name in table.column_names if name not in ("request_id", "served_at", SNAPSHOT)]
    assert comparable(table.select(alike)) == comparable(served.select(alike))
    assert (batch.logged, len(batch)) == (len(KEYS), len(KEYS))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_batch_is_what_lookups_give(store: FeatureStore, data: st.DataObject) -> None:
    key = st.fixed_dictionaries(
        {
            "code": st.none() | st.sampled_from("abc"),
            "size": st.sampled_from([0.0, -0.0, 1.0, 1.5]),
            "chain_id": st.none() | st.integers(0, 4),
            "parent_id": st.none() | st.integers(0, 4),
            "rate": st.none() | st.sampled_from([0.1, -0.0, 3.0]),
        }
    )
    rows = data.draw(st.lists(key, min_size=1, max_size=8))
    batch = store.get_batch_features("forecast@2", rows, log=False)
    answer = store.get_online_features("forecast@2", rows)
    for name in answer.names:
        assert repr(batch.table[name].to_pylist()) == repr(answer.to_arrow()[name].to_pylist()), name


def test_nothing_needs_to_be_materialized_and_an_instant_may_lie_in_the_past(store: FeatureStore) -> None:
    store.ingest("open", [{"chain_id": 1, "hours": 99.0, "x": 1, "event_timestamp": NOW}])
    keys = [KEYS[0]]
    assert store.get_batch_features("forecast@2", keys).to_polars()["hours"].to_list() == [99.0]
    before = store.get_batch_features("forecast@2", keys, at=NOW - timedelta(microseconds=1))
    assert before.to_pandas()["hours"].tolist() == [1.5]
    assert before.served_at == NOW - timedelta(microseconds=1)
    assert any("windows that the monitor has judged" in note for note in before.notes)
    assert set(logged(store)["served_at"].to_pylist()) >= {before.served_at}
    earlier = store.get_batch_features("forecast@2", keys, at=(NOW - 9 * HOUR).isoformat())
    assert earlier.to_arrow()["open__status"].to_pylist() == [2]


def test_other_columns_come_back_untouched_and_in_order_in_any_form(store: FeatureStore, tmp_path: Path) -> None:
    keys = pa.Table.from_pylist([{"note": "x", "event_timestamp": None, "scored_at__": 1} | row for row in KEYS])
    batch = store.get_batch_features("forecast", keys)
    assert batch.table.select(keys.column_names) == keys
    assert batch.table.column_names[len(keys.column_names)] == "sold"
    with pytest.raises(DataError, match='column "items" is list<item: string>, which a cell cannot hold'):
        batch.write(tmp_path / "out" / "rows.csv")
    with pytest.raises(DataError, match=r"ends in neither \.parquet nor \.csv"):
        batch.write(tmp_path / "out" / "rows")
    assert not (tmp_path / "out").exists()
    flat = replace(batch, table=batch.table.drop_columns(["items"]))
    assert flat.write(tmp_path / "rows.csv").read_text().count("\n") == 1 + len(batch)
    path = batch.write(tmp_path / "out" / "rows.parquet")
    assert pq.read_table(path).equals(batch.table)
    (tmp_path / "keys.csv").write_text("code,size,chain_id,parent_id\na,1,1,2\n")
    assert store.get_batch_features("forecast", tmp_path / "keys.csv").table["hours"].to_pylist() == [1.5]


def test_a_batch_without_rows_is_answered_and_not_logged(store: FeatureStore) -> None:
    for keys in ([], pa.Table.from_pylist(KEYS).slice(0, 0)):
        batch = store.get_batch_features("forecast", keys)
        assert (len(batch), batch.logged) == (0, 0)
        assert "hours" in batch.table.column_names
    assert not store.config.path(store.config.serving.log_path).exists()


def test_a_batch_need_not_be_logged(store: FeatureStore) -> None:
    assert store.get_batch_features("forecast", KEYS, log=False).logged == 0
    assert not store.config.path(store.config.serving.log_path).exists()


def with_serving(store: FeatureStore, **settings: Any) -> FeatureStore:
    store.config = store.config.model_copy(update={"serving": store.config.serving.model_copy(update=settings)})
    return store


def test_a_large_batch_is_logged_as_requests_of_a_size_that_servers_take(store: FeatureStore) -> None:
    with_serving(store, max_rows=2)
    store.get_batch_features("forecast", KEYS, request_id="nightly")
    table = logged(store)
    ids = [f"nightly-{number}" for number in (0, 0, 1, 1, 2)]
    assert table["request_id"].to_pylist() == ids
    assert table["row"].to_pylist() == [0, 1, 0, 1, 0]
    assert table["chain_id"].to_pylist() == [row["chain_id"] for row in KEYS]


def test_the_sample_is_a_share_of_the_requests_by_the_rule_of_servers(store: FeatureStore, tmp_path: Path) -> None:
    with_serving(store, max_rows=1, log_sample=0.25)
    keys = [KEYS[0] | {"chain_id": number} for number in range(200)]
    batch = store.get_batch_features("forecast", keys, request_id="r")
    assert 30 < batch.logged < 70
    server = ServingLog(tmp_path / "server", now=0, sample=0.25)
    lookups = Lookups(store.online, compile_plans(served_services(store.registry)), max_rows=1)
    requests: list[bytes] = []
    client = FeatureClient(transport=lambda method, data: requests.append(data) or lookups.transport(method, data))
    for number, row in enumerate(keys):
        client.get_online_features("forecast", [row], request_id=f"r-{number}")
        server.offer(lookups.get_online_features(requests[-1]).entry)
    server.close(0)
    (file,) = (tmp_path / "server" / "forecast").glob("*.parquet")
    assert logged(store)["chain_id"].to_pylist() == pq.read_table(file)["chain_id"].to_pylist()
    with_serving(store, log_sample=0.0)
    assert store.get_batch_features("forecast", keys).logged == 0


def watermarks(store: FeatureStore) -> list[dict[str, Any]]:
    folder = store.config.path(store.config.serving.log_path) / "watermarks"
    return [json.loads(file.read_text()) for file in folder.glob("*.json")]


def test_a_batch_is_a_worker_of_the_log_until_its_rows_are_there(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    join = store.offline.historical_features

    def watched(*args: Any, **options: Any) -> Any:
        seen.extend(watermarks(store))
        return join(*args, **options)

    monkeypatch.setattr(store.offline, "historical_features", watched)
    batch = store.get_batch_features("forecast", KEYS)
    at = microseconds(batch.served_at)
    assert seen == [{"watermark": at, "closed": False}]
    assert watermarks(store) == [{"watermark": at + 1, "closed": True}]


def test_a_batch_that_fails_logs_nothing_and_holds_no_window_up(store: FeatureStore) -> None:
    for file in store.offline.table(OPEN).path.glob("*.parquet"):
        file.unlink()
    with pytest.raises(Exception, match="cannot be read"):
        store.get_batch_features("forecast", KEYS)
    assert [one["closed"] for one in watermarks(store)] == [True]
    assert not list(store.config.path(store.config.serving.log_path).glob("*/*.parquet"))


def test_what_cannot_be_scored_is_said(store: FeatureStore) -> None:
    with pytest.raises(ObjectNotFoundError):
        store.get_batch_features("forcast", KEYS)
    with pytest.raises(InvalidRequestError, match="lies in the future"):
        store.get_batch_features("forecast", KEYS, at=NOW + 24 * HOUR)
    with pytest.raises(InvalidRequestError, match="is a draft"):
        store.get_batch_features(replace(LONG, features=[OPEN]), KEYS)
    with pytest.raises(DataError, match="parent_id"):
        store.get_batch_features("forecast", [{"code": "a", "size": 1.0, "chain_id": 1}])
    with pytest.raises(DataError, match='have a column "hours"'):
        store.get_batch_features("forecast", [KEYS[0] | {"hours": 1}])
    log = store.config.path(store.config.serving.log_path)
    log.parent.mkdir(exist_ok=True)
    log.write_text("in the way")
    with pytest.raises(ServingError, match="cannot be written") as caught:
        store.get_batch_features("forecast", KEYS)
    assert "log=False" in caught.value.hint
    assert store.get_batch_features(SHORT, KEYS, log=False).service == "forecast@2"


def test_keys_come_from_a_query_too(store: FeatureStore) -> None:
    (store.config.root / "chains.csv").write_text("chain_id\n1\n2\n")
    view = replace(OPEN, name="opened", source=FileSource(name="chains", path="chains.csv"))
    store.apply(FeatureService(name="small", features=[OPEN]))
    store.apply(view)
    assert store.get_batch_features("small", "SELECT chain_id FROM chains").table["hours"].to_pylist() == [1.5, 3.0]


def test_the_monitor_sees_the_rows_of_a_batch_and_they_agree_with_the_join(store: FeatureStore) -> None:
    batch = store.get_batch_features("forecast", KEYS)
    seen = Logged(store.config)
    assert seen.services("forecast") == ["forecast@1"]
    assert seen.watermark(now=NOW + HOUR) == NOW + HOUR
    closed = seen.stream("forecast@1").closed_windows(Cut(size=HOUR), since=None, watermark=NOW + 2 * HOUR)
    (window,) = closed.windows
    assert window.rows == len(KEYS)
    report = check_parity(store, "forecast")
    assert (report.checked, report.mismatches, report.lagged) == (len(batch), 0, 0)


def test_a_batch_in_a_rehearsal_goes_by_its_clock_and_into_its_log(store: FeatureStore) -> None:
    folder = store.config.root / "data" / "replays" / "july"
    folder.mkdir(parents=True)
    clock = NOW - 2 * HOUR
    with FeatureStore(store.config.root, replay="july") as replay:
        with pytest.raises(InvalidRequestError, match="clock of rehearsal"):
            replay.get_batch_features("forecast", KEYS)
        replay.online.advance(None, microseconds(clock), {})
        batch = replay.get_batch_features("forecast", KEYS)
        assert batch.served_at == clock
        assert set(batch.table["open__status"].to_pylist()) == {2}
        assert set(logged(replay)["replay"].to_pylist()) == {True}
        with pytest.raises(InvalidRequestError, match="future"):
            replay.get_batch_features("forecast", KEYS, at=NOW)
    assert not store.config.path(store.config.serving.log_path).exists()
