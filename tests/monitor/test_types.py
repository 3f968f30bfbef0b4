"""A service with features of every kind of type, from its baseline to the windows and the parity of what it served."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal as Number
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.client import FeatureClient
from featurestore.serving.log import log_table
from featurestore.serving.lookup import LogEntry, Lookups
from featurestore.serving.runtime import compile_plans, served_services
from featurestore.types import Array, Decimal, Embedding, Float64, Int64, String, Struct
from monitor.baselines import find_reference
from monitor.parity import check_parity
from monitor.windows import Cut, ServingLog, profiled

START = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = FeatureView(
    name="view",
    entities=[Entity(name="thing", join_keys=["price"], dtypes=[Decimal(6, 2)])],
    schema=[
        Field(name="money", dtype=Decimal(10, 2)),
        Field(name="list", dtype=Array(Float64)),
        Field(name="vector", dtype=Embedding(2)),
        Field(name="record", dtype=Struct({"n": Int64, "where": Embedding(2)})),
    ],
)
ASKED = OnDemandFeatureView(
    name="asked",
    inputs=[VIEW],
    request=[Field(name="words", dtype=Array(String)), Field(name="here", dtype=Embedding(2))],
    schema=[Field(name="double", dtype=Decimal(10, 2)), Field(name="place", dtype=Embedding(2))],
    expressions={"double": "money + money", "place": "here"},
)
ROWS: list[dict[str, Any]] = [
    {"money": Number("1.10"), "list": [1.0, None, math.nan], "vector": [1.0, 2.0], "record": {"n": 1, "where": None}},
    {"money": Number("2.20"), "list": [], "vector": None, "record": {"n": None, "where": [0.5, 0.5]}},
    {"money": None, "list": None, "vector": [0.0, -0.0], "record": None},
]


def test_values_of_every_type_are_profiled_and_agree_with_the_join(tmp_path: Path) -> None:
    requests = [
        {"price": Number(number), "words": ["a", None] if number else [], "here": [1.0, 2.0]} for number in range(4)
    ]
    with FeatureStore.init(tmp_path, project="tests") as store:
        store.apply([FeatureService(name="svc", features=[VIEW, ASKED])])
        rows = [{"price": Number(at), "event_timestamp": START} | row for at, row in enumerate(ROWS)]
        assert store.ingest("view", rows).written == 3
        store.materialize("view")
        training = [one | {"event_timestamp": START + timedelta(days=day)} for day in range(3) for one in requests]
        store.create_training_dataset("set", entity_df=training, features="svc")

        lookups = Lookups(store.online, compile_plans(served_services(store.registry)), max_rows=10)
        entries: list[LogEntry] = []

        def transport(method: str, data: bytes) -> bytes:
            if method == "GetOnlineFeatures":
                entries.append(lookups.get_online_features(data).entry)
            return lookups.transport(method, data)

        FeatureClient(transport=transport).get_online_features("svc", requests)
        folder = store.config.path(store.config.serving.log_path) / "svc"
        folder.mkdir(parents=True)
        pq.write_table(log_table(entries[0].plan, entries, replay=False), folder / "one.parquet")

        reference = find_reference(store.config, store.registry, "svc@1")
        assert reference is not None
        log = ServingLog(store.config)
        later = datetime.now(UTC) + timedelta(hours=1)
        stream = log.stream("svc@1")
        (window,) = stream.closed_windows(Cut(size=timedelta(minutes=1)), since=None, watermark=later).windows
        profile = profiled(stream, window, reference.baseline.bins)
        nulls = {"money": 2, "list.norm": 2, "vector.pca1": 2, "record": 2, "double": 2, "place.length": 0}
        assert {name: profile.nulls(name) for name in nulls} == nulls
        assert profile.mean_of("double") == pytest.approx(3.3)
        assert reference.baseline.whole.nulls("vector.norm") == 6

        report = check_parity(store, "svc@1")
        assert (report.checked, report.mismatches, report.lagged, report.examples) == (4, 0, 0, ())

        changed = ROWS[0] | {"list": [1.0, 0.0, math.nan]}
        store.ingest("view", [{"price": Number(0), "event_timestamp": START} | changed])
        report = check_parity(store, "svc@1")
        # The row was corrected after it had been served: no fault of serving.
        assert (report.mismatches, report.late, report.features[0].rows) == (0, 1, {"superseded": 1})
