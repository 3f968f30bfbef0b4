"""How fresh the online store is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.config import load
from featurestore.serving.metrics.freshness import BACKLOG, BACKLOG_SINCE, NEWEST, ROWS, online_samples
from featurestore.types import Int64

VIEW = FeatureView(name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)])


def test_each_view_that_is_served_has_its_rows_and_its_newest_instant(tmp_path: Path) -> None:
    newest = datetime.now(UTC).replace(microsecond=250_000) - timedelta(hours=1)
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([FeatureService(name="svc", features=[VIEW])])
        config = load(tmp_path / "repo")
        assert [one.values for one in online_samples(config) if one.metric is ROWS] == [(0,)]
        assert [one for one in online_samples(config) if one.metric is NEWEST] == []
        rows = [{"user": user, "x": 1, "event_timestamp": newest - timedelta(days=user)} for user in range(3)]
        store.ingest("counts", rows)
        store.materialize("counts")
    found = {(one.metric, one.labels): one.values for one in online_samples(config)}
    assert found[ROWS, ("counts", "1")] == (3,)
    assert found[NEWEST, ("counts", "1")] == (newest.timestamp(),)


def test_pushed_rows_that_wait_are_told_of_with_the_oldest(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    with FeatureStore.init(tmp_path / "repo", project="shop") as store:
        store.apply([FeatureService(name="svc", features=[VIEW])])
        store.push("counts", [{"user": user, "x": 1, "event_timestamp": before} for user in range(3)])
        found = {one.metric: one.values for one in online_samples(load(tmp_path / "repo"))}
        assert found[BACKLOG] == (3,)
        assert before.timestamp() <= found[BACKLOG_SINCE][0] <= datetime.now(UTC).timestamp()
    found = {one.metric: one.values for one in online_samples(load(tmp_path / "repo"))}
    assert found[BACKLOG] == (0,)
    assert BACKLOG_SINCE not in found
