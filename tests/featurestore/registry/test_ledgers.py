"""Loads, materializations, datasets and models."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from featurestore.definitions import Evaluation, Model, MonitorPolicy
from featurestore.errors import DefinitionError, ObjectNotFoundError, RegistryError
from featurestore.registry import Load, Registry, current_user, values

Build = Callable[..., MonitorPolicy]


def record(registry: Registry, load_id: str, storage_id: str = "weather-1", **other: Any) -> Load:
    counts: dict[str, Any] = {"table_version": 1, "rows_read": 3, "rows_written": 3, **other}
    return registry.record_load(load_id=load_id, storage_id=storage_id, author="ada", **counts)


def test_loads_of_a_table_are_numbered_in_the_order_of_recording(registry: Registry) -> None:
    record(registry, "a")
    record(registry, "x", "planes-1")
    record(registry, "b", rows_read=5, rows_quarantined=2, reasons={"temp is null": 2})
    assert [(load.load_id, load.order) for load in registry.loads("weather-1")] == [("a", 1), ("b", 2)]
    assert [load.order for load in registry.loads("planes-1")] == [1]
    assert registry.load("weather-1", "b").reasons == {"temp is null": 2}
    assert registry.loads("nothing") == []


def test_a_load_that_is_recorded_twice_is_one_load(registry: Registry) -> None:
    first = record(registry, "a")
    entries = len(registry.audit())
    assert record(registry, "a", table_version=9) == first
    assert registry.loads("weather-1") == [first]
    assert len(registry.audit()) == entries


def test_a_clock_that_is_set_back_does_not_reorder_publications(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record(registry, "a")
    monkeypatch.setattr(values, "now", lambda: 1)
    second = record(registry, "b")
    assert second.published_at > first.published_at


def test_a_load_that_contradicts_itself_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="read 3 rows, but wrote 1 and quarantined 1"):
        record(registry, "a", rows_written=1, rows_quarantined=1)
    with pytest.raises(ObjectNotFoundError, match='No load "a" of weather-1'):
        registry.load("weather-1", "a")


def test_one_load_id_for_two_tables_is_two_loads(registry: Registry) -> None:
    """Workflow engines give one run id to all the loads of a run."""
    first, second = record(registry, "a"), record(registry, "a", "planes-1")
    assert (first.order, second.order) == (1, 1)
    assert registry.load("weather-1", "a") == first
    assert registry.load("planes-1", "a") == second


def test_the_last_materialization_is_remembered(registry: Registry) -> None:
    assert registry.last_materialization("weather-1") is None
    until = datetime(2013, 3, 31, 23, tzinfo=UTC)
    registry.record_materialization("weather-1", 3, until, {"read": 1}, who="ada")
    done = registry.record_materialization("weather-1", 2, until, {"read": 5, "written": 5}, who="ada")
    assert registry.last_materialization("weather-1") == done
    assert (done.table_version, done.until, done.counts) == (2, until, {"read": 5, "written": 5})


def test_a_range_that_was_materialized_is_in_the_audit_and_is_not_the_last_materialization(registry: Registry) -> None:
    start = datetime(2013, 1, 1, tzinfo=UTC)
    registry.record_range("weather-1", 3, (start, None), {"read": 1}, who="ada")
    assert registry.last_materialization("weather-1") is None
    (entry,) = registry.audit(action="materialize")
    assert (entry.object, entry.who) == ("weather-1", "ada")
    assert entry.details == {"table_version": 3, "from": start.isoformat(), "to": None, "counts": {"read": 1}}


def test_datasets_are_versioned_and_keep_their_manifest(registry: Registry) -> None:
    manifest = {"service": "flight_delay@1", "rows": 3, "share": 0.1, "views": [{"id": "weather@1"}]}
    assert registry.record_dataset("delays", manifest, who="ada").id == "delays@1"
    assert registry.record_dataset("delays", {}, who="ada").id == "delays@2"
    assert registry.dataset("delays@1").manifest == manifest
    assert registry.dataset("delays").version == 2
    assert [one.id for one in registry.datasets()] == ["delays@1", "delays@2"]


def test_what_is_no_dataset_is_refused(registry: Registry) -> None:
    registry.record_dataset("delays", {}, who="ada")
    with pytest.raises(ObjectNotFoundError, match='no dataset "delay"') as caught:
        registry.dataset("delay")
    assert caught.value.hint == 'Did you mean "delays"?'
    with pytest.raises(ObjectNotFoundError, match='no dataset "delays@3"') as caught:
        registry.dataset("delays@3")
    assert caught.value.hint == "There is: delays@1."
    with pytest.raises(DefinitionError, match="cannot name a dataset"):
        registry.record_dataset("my delays", {}, who="ada")
    with pytest.raises(RegistryError, match='manifest of dataset "delays" cannot be kept as JSON'):
        registry.record_dataset("delays", {"at": datetime(2013, 1, 1, tzinfo=UTC)}, who="ada")


def model(**other: Any) -> Model:
    return Model(**{"name": "ridge", "service": "flight_delay", "dataset": "delays", **other})


def test_a_model_names_the_service_and_dataset_versions_it_was_made_with(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    registry.record_dataset("delays", {}, who="ada")
    said = {
        "hyperparameters": {"l2": 1.5},
        "metrics": {"mae": np.float64(9.5)},
        "feature_importances": {"temp": 0.75},
        "environment": {"python": "3.11"},
        "evaluation": Evaluation(task="binary", label_delay=timedelta(days=7), missing_outcome="negative"),
        "importance_intervals": {"temp": (0.5, 1.0)},
    }
    made = registry.record_model(model(**said), who="ada")
    registry.apply([policy(ttl=None)], who="ada")
    registry.record_model(model(service="flight_delay@2", dataset="delays@1", git_commit="abc"), who="ada")
    assert (made.id, made.service, made.dataset) == ("ridge@1", "flight_delay@1", "delays@1")
    assert {part: getattr(made, part) for part in said} == said
    assert registry.model("ridge@1") == made
    assert registry.model("ridge").git_commit == "abc"
    assert [one.id for one in registry.models("flight_delay@2")] == ["ridge@2"]
    assert [one.id for one in registry.models("flight_delay")] == ["ridge@1", "ridge@2"]
    assert [one.id for one in registry.models()] == ["ridge@1", "ridge@2"]


def test_what_becomes_known_of_a_model_is_added_and_audited(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    registry.record_dataset("delays", {}, who="ada")
    made = registry.record_model(
        model(feature_importances={"temp": 0.75}, importance_intervals={"temp": (0.5, 1.0)}), who="ada"
    )
    assert (made.evaluation, made.reference_performance) == (Evaluation(), {})
    assert registry.update_model("ridge", who="eve") == made, "nothing was said"
    evaluation = Evaluation(task="regression", label_delay=timedelta(hours=36))
    told = registry.update_model("ridge@1", who="eve", evaluation=evaluation, reference_performance={"rows": 3})
    assert (told.evaluation, told.reference_performance) == (evaluation, {"rows": 3})
    assert told.importance_intervals == {"temp": (0.5, 1.0)}, "what was not said stays"
    told = registry.update_model("ridge@1", who="eve", feature_importances={"temp": 0.25})
    assert (told.feature_importances, told.importance_intervals) == ({"temp": 0.25}, {})
    assert registry.model("ridge") == told
    assert [(one.who, one.object) for one in registry.audit()[-2:]] == [("eve", "ridge@1")] * 2
    assert registry.verify_audit() == []
    with pytest.raises(DefinitionError, match='importance of "tmp"'):
        registry.update_model("ridge", who="eve", feature_importances={"tmp": 0.25})
    with pytest.raises(DefinitionError, match="as the interval of 'temp'"):
        registry.update_model("ridge", who="eve", importance_intervals={"temp": (0.5, 1.0)})


def test_a_model_of_unknown_parts_is_refused(registry: Registry, policy: Build) -> None:
    registry.apply([policy()], who="ada")
    with pytest.raises(ObjectNotFoundError, match="no dataset"):
        registry.record_model(model(), who="ada")
    registry.record_dataset("delays", {}, who="ada")
    with pytest.raises(ObjectNotFoundError, match="no feature service"):
        registry.record_model(model(service="other"), who="ada")
    with pytest.raises(DefinitionError, match='importance of "tmp", which is no feature of "flight_delay"') as refused:
        registry.record_model(model(feature_importances={"tmp": 1.0}), who="ada")
    assert refused.value.hint == 'Did you mean "temp"?'
    with pytest.raises(RegistryError, match='hyperparameters of model "ridge" cannot be kept as JSON'):
        registry.record_model(model(hyperparameters={"l2": math.nan}), who="ada")
    with pytest.raises(ObjectNotFoundError, match='no model "ridge"'):
        registry.model("ridge")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a b"},
        {"service": None},
        {"hyperparameters": [1]},
        {"metrics": {"mae": math.nan}},
        {"metrics": {"mae": True}},
        {"feature_importances": {"temp": "high"}},
        {"environment": {"python": 3.11}},
        {"evaluation": {"task": "binary"}},
        {"importance_intervals": {"temp": (0, 1)}},
        {"feature_importances": {"temp": 2.0}, "importance_intervals": {"temp": (0, 1)}},
        {"feature_importances": {"temp": 2.0}, "importance_intervals": {"temp": 1}},
        {"feature_importances": {"temp": 2.0}, "importance_intervals": [1]},
    ],
)
def test_a_model_that_says_nothing_sensible_is_refused_when_it_is_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        model(**wrong)


def test_the_user_of_the_machine_is_marked_as_unverified() -> None:
    assert current_user().endswith(" (unverified)")
    assert "@" in current_user()


@pytest.mark.parametrize("commit", ["f" * 101, "4d1c\x00", "4d1c\n"])
def test_what_is_no_commit_is_refused_before_one_of_the_databases_cannot_keep_it(commit: str) -> None:
    with pytest.raises(DefinitionError, match="git_commit that names none"):
        model(git_commit=commit)


def test_a_change_of_a_table_is_recorded_once_and_says_which_loads_are_in(registry: Registry) -> None:
    for number in range(1, 4):
        registry.record_load(
            load_id=f"load-{number}", storage_id="t-1", table_version=number, rows_read=1, rows_written=1, author="ada"
        )
    for _ in range(2):
        registry.record_change(
            "t-1", action="restore", table_version=4, details={"to": "x"}, withdrawn=["load-2", "load-3"], who="bob"
        )
    assert [one.withdrawn_at is None for one in registry.loads("t-1")] == [True, False, False]
    registry.record_change("t-1", action="restore", table_version=5, details={}, reinstated=["load-2"], who="bob")
    # A process that reads the table's log late must not withdraw it again.
    registry.record_change("t-1", action="restore", table_version=4, details={}, withdrawn=["load-2"], who="bob")
    assert [one.withdrawn_at is None for one in registry.loads("t-1")] == [True, True, False]
    assert [one.details["table_version"] for one in registry.audit(action="restore")] == [4, 5]
    again = registry.record_load(
        load_id="load-3", storage_id="t-1", table_version=6, rows_read=2, rows_written=2, author="ada"
    )
    assert (again.order, again.rows_written, again.withdrawn_at) == (4, 2, None)
    assert registry.loaded() == ["t-1"]
