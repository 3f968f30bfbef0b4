"""What a stream is compared with: datasets and periods, whole, filtered and weighed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from featurestore import BaselineSource, Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.definitions import Model, RandomSplit
from featurestore.errors import DataError, DefinitionError, MonitorError, ObjectNotFoundError, SchemaError
from featurestore.profiles import fit_baseline
from featurestore.types import Float64, Int64, String
from monitor.baselines import baselines_folder, find_reference
from monitor.windows import PREDICTION_FIELDS, PredictionStream, ServingLog, frame_stream

_START = datetime(2013, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_VIEW = FeatureView(
    name="spending",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="total", dtype=Float64), Field(name="plan", dtype=String)],
)
_SERVICE = FeatureService(name="scoring", features=[_VIEW])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path, project="tests") as store:
        store.apply([_SERVICE])
        rows = [
            {"user_id": user, "total": float(user), "plan": "ab"[user % 2], "event_timestamp": _START - _DAY}
            for user in range(40)
        ]
        store.ingest("spending", rows)
        yield store


def _dataset(store: FeatureStore, name: str = "set", **how: Any) -> str:
    entities = [
        {
            "user_id": user,
            "event_timestamp": _START + (user % 4) * _DAY,
            "label": None if user % 5 == 0 else user % 2,
            "sample_weight": 3.0 if user < 20 else 1.0,
        }
        for user in range(40)
    ]
    return store.create_training_dataset(name, entity_df=entities, features="scoring", **how).id


def _find(store: FeatureStore, source: BaselineSource | None = None, **more: Any) -> Any:
    return find_reference(store.config, store.registry, "scoring@1", source, **more)


def _files(store: FeatureStore) -> list[Path]:
    return sorted(baselines_folder(store.config).glob("*"))


def test_without_a_source_it_is_the_dataset_of_the_newest_model_as_it_is_stored(store: FeatureStore) -> None:
    assert _find(store) is None
    first = _dataset(store)
    second = _dataset(store, "other")
    assert (_find(store).id, _find(store).dataset, _find(store).model) == (second, second, "")
    store.registry.record_model(Model(name="scorer", service="scoring@1", dataset=first), who="tests")
    assert (_find(store).id, _find(store).model) == (first, "scorer@1")
    assert (_find(store, BaselineSource(dataset=second)).id, _find(store, BaselineSource()).id) == (second, first)
    assert _files(store) == [], "what is stored with a dataset is not kept twice"
    with pytest.raises(ObjectNotFoundError):
        _find(store, BaselineSource(dataset="none@1"))


def test_a_filter_takes_the_rows_for_which_it_is_true(store: FeatureStore) -> None:
    dataset = _dataset(store)
    found = _find(store, BaselineSource(filter="label IS NOT NULL"))
    assert found.dataset == dataset
    assert found.id.startswith(f"{dataset}#")
    assert found.baseline.whole.rows == 32
    rows = store.get_training_dataset(dataset).to_arrow()
    kept = rows.filter(pc.is_valid(rows.column("label")))
    expected = fit_baseline(kept, _VIEW.schema)
    assert found.baseline.bins == expected.bins
    assert found.baseline.to_arrow().equals(expected.to_arrow(), check_metadata=True)


def test_weights_say_how_many_rows_of_the_traffic_a_row_stands_for(store: FeatureStore) -> None:
    dataset = _dataset(store)
    found = _find(store, BaselineSource(dataset=dataset, weight="sample_weight"))
    shares = found.baseline.whole.cells("total") / found.baseline.whole.rows
    low = np.array(found.baseline.bins.features[0].cuts) <= 19
    assert shares[: len(low)][low].sum() == pytest.approx(60 / 80, abs=0.01)
    plain = _find(store, BaselineSource(dataset=dataset))
    assert plain.baseline.whole.cells("total")[: len(low)][low].sum() / 40 == pytest.approx(0.5, abs=0.01)
    both = _find(store, BaselineSource(weight="sample_weight", filter="user_id < 20"))
    assert len({found.id, plain.id, both.id}) == 3


def test_only_the_rows_to_train_on_count_where_a_dataset_was_split(store: FeatureStore) -> None:
    dataset = _dataset(store, split=RandomSplit(shares={"train": 0.5, "test": 0.5}))
    trained = store.get_training_dataset(dataset).manifest["rows_per_part"]["train"]
    assert 0 < trained < 40
    assert _find(store, BaselineSource(filter="user_id >= 0 OR user_id < 0")).baseline.whole.rows == trained


def test_features_under_their_full_names_are_watched_under_their_own(store: FeatureStore) -> None:
    _dataset(store, full_feature_names=True)
    found = _find(store, BaselineSource(filter="spending__total < 10"))
    assert found.baseline.bins.names == _find(store).baseline.bins.names
    assert found.baseline.whole.rows == 10


def test_what_was_fitted_is_kept_and_found_again_and_holds_no_rows(store: FeatureStore) -> None:
    dataset = _dataset(store)
    source = BaselineSource(filter="label IS NOT NULL", weight="sample_weight")
    first = _find(store, source)
    (file,) = _files(store)
    Path(store.get_training_dataset(dataset).path).unlink()
    again = _find(store, source)
    assert (again.id, again.baseline.to_arrow()) == (first.id, first.baseline.to_arrow())
    assert b"user_id" not in file.read_bytes()
    file.write_bytes(b"torn")
    with pytest.raises(MonitorError, match="keeps cannot be read") as caught:
        _find(store, source)
    assert str(file) in caught.value.hint
    file.unlink()
    with pytest.raises(DataError, match="No file matches"):
        _find(store, source)


def _served(store: FeatureStore, days: int) -> None:
    rows = 24 * days
    folder = store.config.path(store.config.serving.log_path) / "scoring"
    folder.mkdir(parents=True)
    table = pa.table(
        {
            "request_id": [f"r{number}" for number in range(rows)],
            "row": pa.array([0] * rows, pa.int32()),
            "served_at": pa.array([_START + number * _DAY / 24 for number in range(rows)], pa.timestamp("us", "UTC")),
            "service": ["scoring@1"] * rows,
            "user_id": list(range(rows)),
            "total": [float(number) for number in range(rows)],
            "plan": ["a"] * rows,
        }
    )
    pq.write_table(table, folder / "one.parquet")


def test_a_period_of_serving_is_a_baseline_once_it_is_over(store: FeatureStore) -> None:
    _served(store, 5)
    march = BaselineSource(since=_START, until=_START + 3 * _DAY, filter="user_id % 2 = 0")
    assert _find(store, march, watermark=_START + 2 * _DAY) is None
    found = _find(store, march, watermark=_START + 3 * _DAY)
    assert (found.baseline.whole.rows, len(found.baseline.blocks), found.dataset) == (36, 3, "")
    assert found.id.startswith("scoring@1 2013-01-01T00:00:00Z/2013-01-04T00:00:00Z#")
    for file in store.config.path(store.config.serving.log_path).glob("*/*.parquet"):
        file.unlink()
    assert _find(store, march, watermark=None).baseline.to_arrow() == found.baseline.to_arrow(), "retention may come"
    with pytest.raises(MonitorError, match="has no rows from"):
        _find(store, BaselineSource(since=_START, until=_START + _DAY))


def test_a_period_of_any_stream_is_one_too_and_needs_no_service(store: FeatureStore) -> None:
    at = pa.array([_START + number * _DAY for number in range(10)], pa.timestamp("ns", "UTC"))
    frame = pa.table({"when": at, "total": [float(number) for number in range(10)], "w": [1] * 10})
    source = BaselineSource(since=_START + _DAY, until=_START + 5 * _DAY, weight="w")
    with frame_stream(frame, store.config, name="orders", time_column="when") as stream:
        found = find_reference(
            store.config, store.registry, "", source, stream=stream, fields=[Field(name="total", dtype=Float64)]
        )
    assert found is not None
    assert found.id.startswith("orders 2013-01-02")
    assert [start for start, _ in found.baseline.blocks] == [_START + day * _DAY for day in range(1, 5)]


def test_predictions_of_a_period_are_a_baseline(store: FeatureStore) -> None:
    store.registry.record_model(Model(name="scorer", service="scoring@1", dataset=_dataset(store)), who="tests")
    rows = [
        {"prediction_id": f"p{number}", "number": number / 48, "predicted_at": _START + number * _DAY / 24}
        for number in range(48)
    ]
    store.log_predictions("scorer", rows)
    source = BaselineSource(since=_START, until=_START + 2 * _DAY)
    with PredictionStream(store.config, "scorer@1") as stream:
        found = find_reference(
            store.config, store.registry, "scoring@1", source, stream=stream, fields=PREDICTION_FIELDS
        )
    assert found is not None
    assert found.baseline.whole.rows == 48
    assert found.baseline.whole.mean_of("number") == pytest.approx(47 / 96)
    assert found.baseline.whole.nulls("label") == 48


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        (BaselineSource(filter="gone > 1"), MonitorError, "gone"),
        (BaselineSource(filter="label >"), DefinitionError, "not valid SQL"),
        (BaselineSource(filter="user_id < 0"), DataError, "no rows"),
        (BaselineSource(weight="gone"), SchemaError, "gone"),
        (BaselineSource(weight="label"), DataError, "label"),
    ],
)
def test_what_cannot_be_a_baseline_is_said(
    store: FeatureStore, source: BaselineSource, error: type[Exception], says: str
) -> None:
    _dataset(store)
    with pytest.raises(error, match=says):
        _find(store, source)
    assert _files(store) == []


def test_the_log_of_another_version_is_another_stream(store: FeatureStore) -> None:
    _served(store, 1)
    assert ServingLog(store.config).services("scoring") == ["scoring@1"]
    period = ServingLog(store.config).stream("scoring@2").period(_START, _START + _DAY)
    assert period.rows == 0
