"""A query that cannot run over the files that are here is refused before it is a version, which stay for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, SqlSource
from featurestore.errors import DefinitionError, ObjectNotFoundError
from featurestore.types import Float64


def turnover(query: str, path: str = "orders.csv") -> FeatureView:
    return FeatureView(
        name="turnover",
        entities=[Entity(name="shop")],
        schema=[Field(name="total", dtype=Float64)],
        source=SqlSource(query=query, sources=[FileSource(name="orders", path=path)]),
    )


RIGHT = "SELECT shop, event_timestamp, sum(amount) AS total FROM orders GROUP BY ALL"
WRONG = RIGHT.replace("amount", "amont")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    (tmp_path / "orders.csv").write_text("shop,amount,event_timestamp\n7,1.5,2024-01-01T12:00:00Z\n")
    return FeatureStore.init(tmp_path)


def test_a_column_that_no_source_has_is_refused_with_the_line_of_the_query(store: FeatureStore) -> None:
    view = turnover(WRONG)
    for attempt in (store.plan, store.apply):
        with pytest.raises(DefinitionError, match=r'cannot run over its sources .*"amont" not found') as raised:
            attempt([FeatureService(name="shops", features=[view])])
        assert f"{Path(__file__).name}:20" in raised.value.where
        assert "EXPLAIN" not in str(raised.value)
    with pytest.raises(ObjectNotFoundError):
        store.get("turnover")


@pytest.mark.parametrize("path", ["nowhere.csv", "broken.parquet"])
def test_where_the_files_are_not_there_nothing_is_said(store: FeatureStore, path: str) -> None:
    (store.config.root / "broken.parquet").write_bytes(b"no table")
    assert not store.apply([turnover(WRONG, path)]).is_empty


def test_a_view_that_stays_as_it_is_is_not_looked_at_again(store: FeatureStore) -> None:
    view = turnover(RIGHT)
    store.apply([view])
    (store.config.root / "orders.csv").write_text("shop,event_timestamp\n")
    assert store.apply([view]).is_empty
    with pytest.raises(DefinitionError, match="cannot run"):
        store.apply([replace(view, schema=[Field(name="total", dtype=Float64, ge=0)])])
