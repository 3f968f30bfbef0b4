"""The facts of a small store, read for real, and what the rules make of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, Model
from featurestore.definitions import storage_id
from featurestore.errors import DataError, MonitorError
from featurestore.offline.intake import ingest
from featurestore.serving.worker_status import StatusFile
from featurestore.types import Float64, String
from monitor.baselines import find_reference
from monitor.quality import QualityFacts, QualityLimits, ServedWindow, check_quality, filled_counts
from monitor.quality.reading import read_columns, read_quality_facts, read_served
from monitor.windows import Cut, ServiceLog, ServingLog, Window, profiled
from tests.monitor.conftest import SERVING_START, Scene

DAY = timedelta(days=1)


def log_of(scene: Scene) -> ServiceLog:
    return ServingLog(scene.config).stream("flight_delay@1")


def days(scene: Scene, count: int = 5) -> list[Window]:
    closed = log_of(scene).closed_windows(Cut(size=DAY), since=None, watermark=SERVING_START + DAY * count)
    return list(closed.windows)


def facts(scene: Scene, windows: list[Window], **settings: Any) -> QualityFacts:
    definition = scene.registry.service("flight_delay@1").definition
    reference = find_reference(scene.config, scene.registry, "flight_delay@1")
    log = log_of(scene)
    assert reference is not None
    return read_quality_facts(
        scene,
        "flight_delay@1",
        window=DAY,
        counts=filled_counts([(one.start, one.rows) for one in windows], length=DAY, end=windows[-1].end),
        recent=[(one.start, profiled(log, one, reference.baseline.bins)) for one in windows],
        served=[read_served(definition, one, log.files(one)) for one in windows],
        files=log.files(windows[-1]),
        reference=reference,
        **settings,
    )


def paging(found: Any) -> list[tuple[str, str]]:
    return [(one.rule, one.subject) for one in found if one.pages]


def test_a_service_that_is_well_pages_nobody(scene: Scene) -> None:
    scene.train()
    scene.serve_days(0, 5)
    limits = QualityLimits(training_age=DAY * 365)
    found = check_quality(facts(scene, days(scene)), limits, now=SERVING_START + DAY * 5)
    assert paging(found) == []
    assert {"schema_change", "type_change", "constant_feature", "frozen_view", "stale_features"} <= {
        one.rule for one in found
    }


def test_ages_of_served_rows_are_read_and_kept(scene: Scene) -> None:
    scene.serve(scene.rows(SERVING_START, missing=0.1))
    (window,) = days(scene, 1)
    definition = scene.registry.service("flight_delay@1").definition
    served = read_served(definition, window, log_of(scene).files(window))
    (weather,) = served.views
    assert (weather.view, weather.rows, weather.outside, weather.over_limit) == ("weather", 200, 0, 0)
    assert 160 < weather.present < 195
    assert weather.median_age == weather.greatest_age == 1800.0
    assert weather.newest is not None
    assert ServedWindow.from_dict(json.loads(json.dumps(served.to_dict()))) == served
    strict = read_served(definition, window, log_of(scene).files(window), max_age={"weather": timedelta(minutes=29)})
    assert strict.views[0].over_limit == weather.present


def test_a_column_that_is_gone_surplus_or_of_another_type(scene: Scene) -> None:
    rows = scene.rows(SERVING_START)
    texts = pa.array([f"{value:.3f}" if number else "warm" for number, value in enumerate(rows["temp"].to_pylist())])
    wrong = rows.drop_columns(["wind"]).append_column("gust", rows["wind"]).drop_columns(["temp"])
    scene.serve(wrong.append_column("temp", texts))
    (window,) = days(scene, 1)
    definition = scene.registry.service("flight_delay@1").definition
    columns = read_columns("flight_delay@1", definition, log_of(scene).files(window))
    found = check_quality(
        QualityFacts(service="flight_delay@1", window=DAY, columns=columns), QualityLimits(), now=SERVING_START
    )
    assert paging(found) == [("schema_change", "wind"), ("type_change", "temp"), ("schema_change", "gust")]
    assert "1 of 200 values cannot be read as double" in found[1].sentence
    assert "warm" not in "".join(one.sentence for one in found)
    assert found[0].views == ("weather",)


def test_a_type_that_reads_as_the_declared_one_is_told_and_breaks_nothing(scene: Scene) -> None:
    rows = scene.rows(SERVING_START)
    at = rows.column_names.index("hour")
    scene.serve(rows.set_column(at, "hour", pc.cast(rows["hour"], pa.int16())))
    (window,) = days(scene, 1)
    columns = read_columns(
        "flight_delay@1", scene.registry.service("flight_delay@1").definition, log_of(scene).files(window)
    )
    found = check_quality(
        QualityFacts(service="flight_delay@1", window=DAY, columns=columns), QualityLimits(), now=SERVING_START
    )
    assert [(one.rule, one.subject, one.verdict) for one in found if one.pages] == [("type_change", "hour", "drift")]


def test_a_damaged_file_is_named(scene: Scene) -> None:
    scene.serve(scene.rows(SERVING_START))
    (window,) = days(scene, 1)
    Path(log_of(scene).files(window)[0]).write_bytes(b"PAR1 no more")
    definition = scene.registry.service("flight_delay@1").definition
    with pytest.raises(MonitorError, match="damaged"):
        read_columns("flight_delay@1", definition, log_of(scene).files(window))
    with pytest.raises(MonitorError, match="cannot be read"):
        read_served(definition, window, log_of(scene).files(window))


def test_a_rehearsal_knows_nothing_of_ledgers_and_servers(scene: Scene) -> None:
    scene.train()
    replayed = scene.replayed()
    found = read_quality_facts(replayed, "flight_delay@1", window=DAY)
    assert (found.views, found.configuration, found.columns, found.training) == ((), None, None, None)


# A real store


AIRPORT = Entity(name="airport", join_keys=["origin"], dtypes=[String])
WEATHER = FeatureView(
    name="weather", entities=[AIRPORT], schema=[Field(name="temp", dtype=Float64)], ttl=timedelta(hours=2)
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    with FeatureStore.init(tmp_path / "repo", project="tests") as store:
        store.apply([FeatureService(name="svc", features=[WEATHER])])
        yield store


def load(store: FeatureStore, temp: float) -> None:
    store.ingest("weather", [{"origin": "JFK", "event_timestamp": datetime.now(UTC), "temp": temp}])


def test_loads_that_no_materialization_has_read_are_seen(store: FeatureStore) -> None:
    load(store, 1.0)
    store.materialize("weather")
    later = datetime.now(UTC) + timedelta(hours=3)
    read = read_quality_facts(store, "svc@1", window=DAY)
    assert read.views[0].unmaterialized_since is None
    assert paging(check_quality(read, QualityLimits(), now=later)) == []
    load(store, 2.0)
    load(store, 3.0)
    read = read_quality_facts(store, "svc@1", window=DAY)
    assert read.views[0].unmaterialized_since == read.views[0].loads[1]
    assert paging(check_quality(read, QualityLimits(), now=later)) == [("stopped_materialization", "weather")]


def test_the_newest_load_that_stands_says_with_what_it_was_written(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, 1.0)
    monkeypatch.setattr(ingest, "libraries", lambda: {"polars": "0.1.0"})
    load(store, 2.0)
    last = store.registry.loads(storage_id(WEATHER))[-1].load_id
    status = StatusFile(store.config.path(store.config.serving.log_path))
    status.current(store.registry.revision(), store.registry.resolved_services())
    found = check_quality(read_quality_facts(store, "svc@1", window=DAY), QualityLimits(), now=datetime.now(UTC))
    assert paging(found) == [("configuration_drift", f"weather/{last}")]
    monkeypatch.undo()
    load(store, 3.0)
    found = check_quality(read_quality_facts(store, "svc@1", window=DAY), QualityLimits(), now=datetime.now(UTC))
    assert paging(found) == []


def test_training_data_and_models_are_judged_by_their_manifests(store: FeatureStore) -> None:
    load(store, 1.0)
    frame = [{"origin": "JFK", "event_timestamp": datetime.now(UTC) - timedelta(days=day)} for day in (20, 30)]
    dataset = store.create_training_dataset("set", entity_df=frame, features="svc")
    environment = {"polars": "0.1.0"}
    store.registry.record_model(
        Model(name="m", service="svc@1", dataset=dataset.id, environment=environment), who="test"
    )
    status = StatusFile(store.config.path(store.config.serving.log_path))
    status.current(store.registry.revision(), store.registry.resolved_services())
    reference = find_reference(store.config, store.registry, "svc@1")
    now = datetime.now(UTC)
    found = check_quality(read_quality_facts(store, "svc@1", window=DAY, reference=reference), QualityLimits(), now=now)
    assert paging(found) == [("stale_training_data", dataset.id), ("configuration_drift", "m@1")]

    renamed = WEATHER.with_name("air")
    store.apply([FeatureService(name="svc", features=[renamed])], allow_breaking=True)
    store.registry.promote("svc@2", who="test")
    found = check_quality(
        read_quality_facts(store, "svc@1", window=DAY), QualityLimits(), now=now + timedelta(minutes=5)
    )
    said = {one.subject: one.sentence for one in found if one.pages}
    assert "behind for" in next(sentence for subject, sentence in said.items() if subject.startswith("pid "))
    assert any('"svc" stands for svc@2' in one.sentence for one in found)


@pytest.mark.parametrize(
    "settings",
    [{"average_run_length": 1}, {"volume_drop": 1.0}, {"stale_share": 0}, {"max_age": {"v": timedelta(0)}}],
)
def test_limits_have_ranges(settings: Any) -> None:
    with pytest.raises(DataError):
        QualityLimits(**settings)
