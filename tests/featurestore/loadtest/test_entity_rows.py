"""Whom a load test asks for, and the requests that are made of it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import FeatureStore
from featurestore.errors import ConfigError, DataError, InvalidRequestError
from featurestore.loadtest.bodies import serialized
from featurestore.loadtest.entity_rows import EntityRows, logged_rows, parse_rows, rows_of_file, sampled_rows
from featurestore.serving.plan import ServicePlan, compile_plan
from featurestore.v1 import serving_pb2 as pb

AT = datetime(2024, 1, 1, tzinfo=UTC)


def plan_of(store: FeatureStore, service: str) -> ServicePlan:
    return compile_plan(store.registry.resolve_service(service))


def test_keys_are_drawn_from_those_that_are_online_each_once(store: FeatureStore) -> None:
    found = sampled_rows(plan_of(store, "scoring"), store.online, count=1000)
    assert sorted(found.columns["user_id"]) == list(range(100))
    assert found.columns["user_id"] != list(range(100))
    assert found.origin == "100 keys of the online store"
    few = [sampled_rows(plan_of(store, "scoring"), store.online, count=10, seed=seed) for seed in (1, 1, 2)]
    assert len(set(few[0].columns["user_id"])) == 10
    assert few[0] == few[1] != few[2]


def test_every_key_is_as_likely_to_be_drawn(store: FeatureStore) -> None:
    plan = plan_of(store, "scoring")
    drawn = Counter(
        key for seed in range(400) for key in sampled_rows(plan, store.online, count=10, seed=seed).columns["user_id"]
    )
    assert len(drawn) == 100
    assert all(10 < count < 80 for count in drawn.values())  # 40 expected, 6 the standard deviation


def test_keys_that_a_view_has_together_stay_together_and_types_are_those_of_requests(store: FeatureStore) -> None:
    found = sampled_rows(plan_of(store, "wide"), store.online, count=50)
    rows = set(zip(*(found.columns[name] for name in ("user_id", "city", "opened", "starts")), strict=True))
    assert rows == {(0, "Rome", date(1999, 5, 1), AT), (1, "Oslo", date(2010, 2, 3), AT)}
    answer = store.get_online_features("wide", found.columns)
    assert set(answer.statuses["visits"] + answer.statuses["weather"]) == {"PRESENT"}


def test_request_fields_come_from_nowhere_so_they_are_asked_for(store: FeatureStore) -> None:
    with pytest.raises(InvalidRequestError, match='"computed@1" needs basket with each request') as caught:
        sampled_rows(plan_of(store, "computed"), store.online, count=10)
    assert "--from-log" in caught.value.hint


def test_a_view_without_rows_online_is_named(store: FeatureStore) -> None:
    store.online.clear()
    with pytest.raises(DataError, match='View "spending" has no row') as caught:
        sampled_rows(plan_of(store, "scoring"), store.online, count=10)
    assert "materialize" in caught.value.hint


def test_logged_requests_come_back_as_they_were_and_those_of_load_tests_do_not(store: FeatureStore) -> None:
    asked = [{"user_id": one, "basket": one / 2, "hour": None} for one in range(3)]
    store.get_batch_features("computed", asked, request_id="a")
    store.get_batch_features("computed", asked[:1], request_id="b")
    store.get_batch_features("computed", asked, request_id="loadtest-12ab-7")
    found = logged_rows(plan_of(store, "computed"), store.config.path("data/log"), count=100)
    parts = [
        list(zip(*(found.columns[name][first:end] for name in ("user_id", "basket")), strict=True))
        for first, end in found.requests
    ]
    assert sorted(parts) == [[(0, 0.0)], [(0, 0.0), (1, 0.5), (2, 1.0)]]
    assert found.origin == "2 requests of the serving log (4 rows)"
    assert len(logged_rows(plan_of(store, "computed"), store.config.path("data/log"), count=2)) == 2
    with pytest.raises(DataError, match="no request for scoring"):
        logged_rows(plan_of(store, "scoring"), store.config.path("data/log"), count=2)


def test_rows_of_a_file_are_read_with_the_declared_types(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "ask.csv").write_text("user_id,basket,note\n1,2,x\n2,3.5,y\n")
    pq.write_table(pa.table({"user_id": pa.array([1, 2], pa.int16()), "basket": [2.0, 3.5]}), tmp_path / "ask.parquet")
    for name in ("ask.csv", "ask.parquet"):
        found = rows_of_file(plan_of(store, "computed"), tmp_path / name, count=10)
        assert found.columns == {"user_id": [1, 2], "basket": [2.0, 3.5]}  # the one with a default may be left out
    assert len(rows_of_file(plan_of(store, "computed"), tmp_path / "ask.csv", count=1)) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "There is no file"),
        ("rows.txt", "user_id\n1\n", "neither a .parquet nor a .csv"),
        ("rows.csv", "id\n1\n", 'has no column "user_id"'),
        ("rows.csv", "user_id,basket\n", "has no rows"),
        ("rows.csv", "user_id,basket\nx,1\n", "cannot be read"),
        ("rows.parquet", "no parquet", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_asked_for_is_refused(
    store: FeatureStore, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        rows_of_file(plan_of(store, "computed"), tmp_path / name, count=10)


def test_a_mix_is_read_as_shares() -> None:
    assert parse_rows("1") == {1: 1.0}
    assert parse_rows("1:90%, 100:10%") == {1: 0.9, 100: 0.1}
    assert parse_rows("1,3") == {1: 0.5, 3: 0.5}
    for text in ("", "0", "x", "1:0", "1:-5%", "1:nan", "1:inf"):
        with pytest.raises(ConfigError, match="--rows"):
            parse_rows(text)


def requests(bodies: list[bytes]) -> list[pb.GetOnlineFeaturesRequest]:
    return [pb.GetOnlineFeaturesRequest.FromString(one) for one in bodies]


def test_requests_ask_for_every_row_in_sizes_of_the_mix_under_ids_of_their_own(store: FeatureStore) -> None:
    rows = EntityRows(columns={"user_id": list(range(5000))}, origin="a test")
    bodies = serialized(plan_of(store, "scoring"), "scoring@1", rows, {1: 0.9, 11: 0.1}, run="ab", seed=3)
    made = requests(bodies)
    sizes = Counter(len(one.columns[0].int64s.values) for one in made)
    assert sizes[1] / len(made) == pytest.approx(0.9, abs=0.01)
    assert {key for one in made for key in one.columns[0].int64s.values} == set(range(5000))
    assert {one.request_id for one in made} == {f"loadtest-ab-{number}" for number in range(len(made))}
    assert {one.service for one in made} == {"scoring@1"}
    assert bodies == serialized(plan_of(store, "scoring"), "scoring@1", rows, {1: 0.9, 11: 0.1}, run="ab", seed=3)


def test_few_rows_are_asked_for_again_and_logged_requests_keep_their_rows(store: FeatureStore) -> None:
    rows = EntityRows(columns={"user_id": [1, 2, 3]}, origin="a test", requests=((0, 1), (1, 3)))
    plan = plan_of(store, "scoring")
    assert len(serialized(plan, "scoring", rows, {2: 1.0}, run="ab")) >= 256
    logged = requests(serialized(plan, "scoring", rows, None, run="ab"))
    assert sorted(list(one.columns[0].int64s.values) for one in logged) == [[1], [2, 3]]
