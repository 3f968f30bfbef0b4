"""Rows that share key, event time and created time: online the one that the join finds, whatever came when."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.errors import OfflineStoreError
from featurestore.types import Int64, String

USERS = (1, 2)
NOW = datetime.now(UTC) - timedelta(hours=1)
VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], dtypes=[Int64])],
    schema=[Field(name="seen", dtype=Int64)],
)
WIDER = replace(VIEW, schema=[*VIEW.schema, Field(name="plan", dtype=String)])

ROWS = st.lists(
    st.tuples(st.sampled_from(USERS), st.integers(0, 1), st.sampled_from([None, 0, 1])), min_size=1, max_size=3
)
#: What is done, and with which rows. ``died`` is a flush that dies between what it publishes and what it settles.
STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "push", "ingest", "ingest", "flush", "died", "materialize"]), ROWS),
    min_size=2,
    max_size=9,
)


def compare(folder: Path, steps: Sequence[tuple[str, Any]], *, versions: bool) -> None:
    numbers = itertools.count()
    with FeatureStore.init(folder) as store:
        store.apply([VIEW, FeatureService(name="scoring", features=[VIEW])])
        if versions:
            store.promote("scoring@1")
            store.apply([WIDER, FeatureService(name="scoring", features=[WIDER])])
        stale = False
        settle = store.online.settle

        def dies(*_: object) -> int:
            raise OfflineStoreError("died")

        for step, given_rows in steps:
            rows = [
                {
                    "user_id": user,
                    "seen": next(numbers),
                    **({"plan": "basic"} if versions else {}),
                    "event_timestamp": NOW + timedelta(seconds=event),
                    "created_timestamp": None if created is None else NOW + timedelta(seconds=created),
                }
                for user, event, created in given_rows
            ]
            if step == "push":
                assert store.push("clicks", rows).accepted == len(rows)
            elif step == "ingest":
                store.ingest("clicks", rows)
                stale = True
            elif step == "materialize":
                store.materialize("clicks")
                stale = False
            else:
                store.online.settle = dies if step == "died" else settle  # type: ignore[method-assign]
                try:
                    store.flush_pushes()
                except OfflineStoreError:
                    pass
                finally:
                    store.online.settle = settle  # type: ignore[method-assign]
        if stale:
            store.materialize("clicks")
        # Not followed by a materialization, which would mend what a flush had made wrong.
        store.flush_pushes()
        now = datetime.now(UTC)
        for service in ("scoring@1", "scoring@2") if versions else ("scoring",):
            asked = [{"user_id": user, "event_timestamp": now} for user in USERS]
            joined = store.get_historical_features(asked, service).to_polars()["seen"].to_list()
            served = store.get_online_features(service, [{"user_id": user} for user in USERS]).to_dict()["seen"]
            assert served == joined, service


@pytest.mark.parametrize("versions", [False, True])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_online_is_what_the_join_finds_whatever_the_order_of_pushes_loads_and_flushes(
    versions: bool, steps: Sequence[tuple[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder) / "shop", steps, versions=versions)


@pytest.mark.soak
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, versions=st.booleans())
def test_a_thousand_histories_have_no_mismatch(versions: bool, steps: Sequence[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder) / "shop", steps, versions=versions)
