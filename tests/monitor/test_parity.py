"""Served rows against the point-in-time join: bugs are found, lag is told apart."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.config import Config
from featurestore.definitions import FeatureService
from featurestore.offline.join.historical import HistoricalFeatures
from featurestore.offline.store import OfflineStore
from featurestore.registry import Registry
from featurestore.settings.sections import OfflineConfig
from monitor.parity import check_parity, same_values

# Long after the rows are loaded, so that they are known when they are served.
_START = datetime(2099, 7, 1, tzinfo=UTC)
_INSTANT = pa.timestamp("us", tz="UTC")


@dataclass
class Joined:
    """A store that can join, without its online half."""

    config: Config
    registry: Registry

    def get_historical_features(
        self, entity_df: Any, features: str, *, with_status: bool = False
    ) -> HistoricalFeatures:
        service = self.registry.resolve_service(features)
        return OfflineStore(self.config, self.registry).historical_features(service, entity_df, with_status=with_status)


def _prepare(scene: Any) -> tuple[Joined, pa.Table]:
    """Ingest a day of hourly weather and return the rows that a right server would log for it."""
    any_future = OfflineConfig(max_future_seconds=1e10)
    store = Joined(scene.config.model_copy(update={"offline": any_future}), scene.registry)
    hours = range(24)
    weather = pa.table(
        {
            "origin": ["JFK"] * 24,
            "event_timestamp": pa.array([_START + timedelta(hours=hour) for hour in hours], _INSTANT),
            "created_timestamp": pa.array([None] * 24, _INSTANT),
            "temp": [0.1 * hour for hour in hours],
            "wind": pa.array([float("nan") if hour == 3 else None if hour == 4 else 1.5 * hour for hour in hours]),
            "pilot": ["Ada"] * 24,
        }
    )
    view = scene.registry.feature_view("weather").definition
    OfflineStore(store.config, scene.registry).ingest(view, weather, who="test")
    asked = pa.table(
        {
            "origin": ["JFK"] * 48 + ["LGA"],
            "hour": pa.array([number % 24 for number in range(49)], pa.int64()),
            "event_timestamp": pa.array([_START + timedelta(minutes=10 + 30 * n) for n in range(49)], _INSTANT),
        }
    )
    served = store.get_historical_features(asked, "flight_delay@1", with_status=True).to_arrow()
    log = served.rename_columns(["served_at" if name == "event_timestamp" else name for name in served.column_names])
    log = log.append_column("request_id", pa.array([f"r{n}" for n in range(49)]))
    log = log.append_column("row", pa.array([0] * 49, pa.int32()))
    return store, log.append_column("service", pa.array(["flight_delay@1"] * 49))


def _with(log: pa.Table, column: str, changes: dict[int, Any]) -> pa.Table:
    values = log.column(column).to_pylist()
    for row, value in changes.items():
        values[row] = value
    at = log.column_names.index(column)
    return log.set_column(at, column, pa.array(values, log.column(column).type))


def test_what_was_served_rightly_has_no_mismatch_nulls_and_nan_included(scene: Any) -> None:
    store, log = _prepare(scene)
    scene.serve(log)
    report = check_parity(store, "flight_delay")
    assert (report.service, report.checked, report.values) == ("flight_delay@1", 49, 49 * 4)
    assert (report.mismatches, report.lagged, report.by_feature, report.examples) == (0, 0, {}, ())


def test_a_value_one_bit_off_is_a_mismatch_and_an_example(scene: Any) -> None:
    store, log = _prepare(scene)
    right = log.column("temp")[20].as_py()
    log = _with(log, "temp", {20: float(np.nextafter(right, 1e9))})
    scene.serve(_with(log, "wind", {10: None, 20: 7.0}))
    report = check_parity(store, "flight_delay@1")
    assert (report.mismatches, report.lagged) == (2, 0)
    assert report.by_feature == {"temp": 1, "wind": 2}
    example = report.examples[0]
    assert (example.request_id, example.row, example.keys, example.feature) == ("r20", 0, {"origin": "JFK"}, "temp")
    assert example.joined == right


def test_an_older_row_than_the_join_knows_is_lag_for_its_view_and_what_is_computed_from_it(scene: Any) -> None:
    store, log = _prepare(scene)
    log = _with(log, "temp", {20: log.column("temp")[18].as_py(), 22: None})
    log = _with(log, "felt", {20: 1.0})
    log = _with(log, "weather__event_timestamp", {20: _START + timedelta(hours=9), 22: None})
    scene.serve(log)
    report = check_parity(store, "flight_delay@1")
    assert (report.mismatches, report.lagged, report.by_feature) == (0, 2, {})


def test_in_a_replay_nothing_lags(scene: Any) -> None:
    store, log = _prepare(scene)
    log = _with(log, "temp", {20: 99.0})
    log = _with(log, "weather__event_timestamp", {20: _START})
    replayed = scene.replayed()
    replayed.serve(log)
    report = check_parity(Joined(replayed.config, store.registry), "flight_delay@1")
    assert (report.mismatches, report.lagged) == (1, 0)


def test_each_use_of_a_view_has_a_lag_of_its_own(scene: Any) -> None:
    store, _ = _prepare(scene)
    weather = scene.registry.feature_view("weather").definition
    there = weather.with_join_key_map({"origin": "dest"}, name="there")
    service = FeatureService(name="flight_delay", features=[weather[["temp"]], there[["temp"]]])
    scene.registry.apply([service], who="test", allow_breaking=True)
    hours = range(4, 20)
    asked = pa.table(
        {
            "origin": ["JFK"] * len(hours),
            "dest": ["JFK"] * len(hours),
            "event_timestamp": pa.array([_START + timedelta(hours=hour, minutes=5) for hour in hours], _INSTANT),
        }
    )
    served = store.get_historical_features(asked, "flight_delay@2", with_status=True).to_arrow()
    log = served.rename_columns(["served_at" if name == "event_timestamp" else name for name in served.column_names])
    log = log.append_column("request_id", pa.array([f"r{n}" for n in range(len(hours))]))
    log = log.append_column("service", pa.array(["flight_delay@2"] * len(hours)))
    log = log.append_column("row", pa.array([0] * len(hours), pa.int32()))
    log = _with(log, "there__temp", {3: 0.0, 5: 99.0})
    log = _with(log, "temp", {7: 99.0})
    scene.serve(_with(log, "there__event_timestamp", {3: _START, 7: _START}))
    report = check_parity(store, "flight_delay@2")
    assert (report.checked, report.lagged, report.by_feature) == (len(hours), 1, {"there__temp": 1, "temp": 1})


def test_a_sample_is_as_large_as_asked_and_an_empty_log_is_no_error(scene: Any) -> None:
    store, log = _prepare(scene)
    assert check_parity(store, "flight_delay@1").checked == 0
    scene.serve(log)
    assert check_parity(store, "flight_delay@1", rows=7).checked == 7


_FLOAT_LIST = pa.list_(pa.float64())
_DEEP = pa.struct([("a", pa.list_(pa.list_(pa.float64()))), ("b", pa.string())])
_DEEP_VALUES = st.none() | st.fixed_dictionaries(
    {
        "a": st.none()
        | st.lists(st.none() | st.lists(st.sampled_from([None, 0.0, -0.0, 1.0]), max_size=2), max_size=2),
        "b": st.sampled_from([None, "", "x"]),
    }
)


@given(st.lists(st.tuples(_DEEP_VALUES, _DEEP_VALUES), min_size=1, max_size=6), st.booleans())
def test_lists_and_structs_are_the_same_when_all_that_they_hold_is(pairs: list[tuple[Any, Any]], alike: bool) -> None:
    left, right = [one for one, _ in pairs], [one if alike else other for one, other in pairs]
    columns = (pa.chunked_array([pa.array(values, _DEEP)]) for values in (left, right))
    # JSON tells minus zero from zero, and a struct's fields have no order.
    forms = [[json.dumps(value, sort_keys=True) for value in values] for values in (left, right)]
    assert same_values(*columns).tolist() == [a == b for a, b in zip(*forms, strict=True)]


def test_a_list_is_compared_with_the_same_list_of_a_fixed_size() -> None:
    plain, fixed = (pa.array([[1.0, 2.0], None, [1.0, 3.0]], kind) for kind in (_FLOAT_LIST, pa.list_(pa.float64(), 2)))
    same = same_values(pa.chunked_array([plain]), pa.chunked_array([fixed]))
    assert same.tolist() == [True, True, True]


_FLOATS = st.lists(st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, float("nan")])), min_size=1)


@given(_FLOATS, st.data())
def test_floats_are_compared_bit_for_bit(left: list[float | None], data: st.DataObject) -> None:
    right = [
        data.draw(st.one_of(st.just(value), st.sampled_from([0.0, -0.0]), st.floats(), st.none())) for value in left
    ]

    def form(value: float | None) -> bytes | None:
        if value is None:
            return None
        return b"nan" if value != value else struct.pack("<d", value)

    same = same_values(
        pa.chunked_array([pa.array(left, pa.float64())]), pa.chunked_array([pa.array(right, pa.float64())])
    )
    assert same.tolist() == [form(a) == form(b) for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize(
    ("dtype", "left", "right", "same"),
    [
        (pa.string(), ["a", None, "b"], ["a", None, "c"], [True, True, False]),
        (pa.int64(), [1, None, 2**60], [1, 0, 2**60 + 1], [True, False, False]),
        (pa.bool_(), [True, False], [True, True], [True, False]),
        (pa.float64(), [0.0, -0.0], [-0.0, -0.0], [False, True]),
        (pa.float32(), [0.1, None], [0.1, float("nan")], [True, False]),
        (pa.binary(), [b"x"], [b"x"], [True]),
        (pa.decimal128(4, 2), [Decimal("1.10"), None], [Decimal("1.1"), Decimal(0)], [True, False]),
        (_FLOAT_LIST, [[1.0, None], [], None], [[1.0, None], None, None], [True, False, True]),
        (_FLOAT_LIST, [[float("nan")], [0.0], [1.0]], [[float("nan")], [-0.0], [1.0, 2.0]], [True, False, False]),
        (pa.list_(pa.float32(), 1), [[0.5], None], [[0.5], [0.0]], [True, False]),
        (pa.struct([("a", pa.int64())]), [{"a": 1}, {"a": None}, None], [{"a": 1}, None, None], [True, False, True]),
    ],
)
def test_values_are_equal_when_nobody_could_tell_them_apart(
    dtype: pa.DataType, left: list[Any], right: list[Any], same: list[bool]
) -> None:
    columns = (pa.chunked_array([pa.array(values, dtype)]) for values in (left, right))
    assert same_values(*columns).tolist() == same
