"""A small store with something of everything, for the tests that take it elsewhere; and what must be so there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, Model
from featurestore.definitions import storage_id
from featurestore.streaming import quarantine_of
from featurestore.streaming.messages import Message, Poisoned
from featurestore.types import Float64, Int64
from monitor.alerts.base import Kind
from monitor.alerts.outbox import enqueue
from monitor.history import History

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
SPENDING = FeatureView(name="spending", entities=[USER], schema=[Field(name="total", dtype=Float64, ge=0)])
CLICKS = FeatureView(name="clicks", entities=[USER], ttl=timedelta(days=30), schema=[Field(name="seen", dtype=Int64)])
SCORING = FeatureService(name="scoring", features=[SPENDING, CLICKS])
START = datetime.now(UTC) - timedelta(days=2)
USERS = 40
#: Who was erased before the store was moved.
ERASED = 7


def spent(users: Sequence[int], *, hours: float, total: float = 1.0) -> list[dict[str, Any]]:
    at = START + timedelta(hours=hours)
    return [{"user_id": one, "total": total + one, "event_timestamp": at} for one in users]


def clicked(users: Sequence[int], *, hours: float, seen: int = 1) -> list[dict[str, Any]]:
    at = START + timedelta(hours=hours)
    return [{"user_id": one, "seen": seen + one, "event_timestamp": at} for one in users]


def fill(folder: Path) -> None:
    """Make the store: loads, a compaction, a restore, an erasure, a dataset, a model, pushes, logs, and an alert."""
    store = FeatureStore.init(folder, project="shop")
    store.apply([SCORING])
    everybody = range(USERS)
    for hours in (1, 2, 3):
        store.ingest("spending", spent(everybody, hours=hours), load_id=f"load-{hours}")
    store.ingest("spending", [*spent([1], hours=4), *spent([2], hours=4, total=-9)])
    store.ingest("clicks", clicked(everybody, hours=1))
    rows = [{"user_id": one, "label": one, "event_timestamp": START + timedelta(hours=2.5)} for one in everybody]
    store.create_training_dataset("sales", entity_df=rows, features="scoring", label="label")
    store.registry.record_model(Model(name="taste", service="scoring@1", dataset="sales@1"), who="tests")
    store.compact("spending")
    store.restore("spending", to="load-2")
    store.restore("spending", to="load-3")
    store.erase("user", {"user_id": ERASED}, request="GDPR-1")
    store.materialize("spending")
    store.materialize("clicks")
    store.promote("scoring@1")
    scored = store.get_batch_features("scoring", [{"user_id": one} for one in (1, 2, 3)])
    made = [{"prediction_id": f"p-{row}", "request_id": scored.request_id, "row": row, "label": "x"} for row in (0, 1)]
    store.log_predictions("taste", made)
    quarantine_of(store.config).add("s", "spending", [_poisoned()])
    store.push("clicks", clicked([1, 2], hours=5))
    store._pusher._log.seal()
    store.push("clicks", clicked([2, 3], hours=6))
    leave(store)
    with History(store.config.database_url(store.config.monitor.database)) as history:
        for number in (1, 2):
            _tell(history, number)
        with history.write() as connection:  # so that the newest number is of no row
            connection.exec_driver_sql("DELETE FROM outbox WHERE incident = 'drift-2'")


def leave(store: FeatureStore) -> None:
    """Close a store as a process does that is killed: what was pushed stays in the log."""
    pusher = store.__dict__.pop("_pusher", None)
    if pusher is not None:
        pusher.flusher._end()
    store.close()


def _poisoned() -> Poisoned:
    message = Message(topic="t", partition=0, offset=1, timestamp=0, key=None, value=b'{"user_id": 1}')
    return Poisoned(message=message, reason="no row")


def _tell(history: History, number: int) -> None:
    with history.write() as connection:
        enqueue(
            connection,
            instance=history.instance,
            channel="ops",
            kind=Kind.FIRING,
            project="shop",
            service="scoring@1",
            incident=f"drift-{number}",
            sequence="1",
            severity="page",
            payload={"summary": "skew"},
            now=START,
        )


def lookups(store: FeatureStore) -> list[dict[str, Any]]:
    found = store.get_online_features(
        features="scoring", entity_rows=[{"user_id": one} for one in range(USERS + 2)]
    ).to_dict()
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def offline_rows(store: FeatureStore, view: FeatureView) -> Counter[tuple[Any, ...]]:
    """Return how often each row is in a view's table."""
    rows = store.offline.rows_by_event_time(view, after=None).read_all().to_pylist()
    names = ["user_id", *(one.name for one in view.schema), "event_timestamp"]
    return Counter(tuple(row[name] for name in names) for row in rows)


def check_whole(store: FeatureStore) -> None:
    """Check what must be so wherever the store is: audit log, dataset, who was erased, and rows that were pushed."""
    assert store.verify_audit().problems == ()
    assert store.reproduce_dataset("sales").proved
    assert store.get_training_dataset("sales").to_arrow().num_rows == USERS - 1
    store.flush_pushes()
    late, rows = START + timedelta(hours=4), offline_rows(store, CLICKS)
    pushed = {key: count for key, count in rows.items() if key[0] < USERS and key[2] > late}
    assert sorted((user, count) for (user, _, _), count in pushed.items()) == [(1, 1), (2, 1), (2, 1), (3, 1)]
    assert store.ingest("spending", spent([ERASED], hours=9)).suppressed == 1
    assert storage_id(SPENDING) in store.online.status()
