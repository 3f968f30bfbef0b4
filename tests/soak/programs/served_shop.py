"""What the programs that load a server share: a shop whose rows tell of themselves, and what must be true of answers.

The event time of a row is its number, in microseconds after ``START``, and every feature of it follows from its key and
its number. So a torn row shows in any one response, and the newest row of a key has the greatest number, whoever wrote
it, in whatever order.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field, OnDemandFeatureView
from featurestore.client import OnlineFeatures
from featurestore.config import FILE_NAME
from featurestore.registry import live_views, stored_once
from featurestore.types import Float64, Int64, String

START = datetime(2024, 1, 1, tzinfo=UTC)
KEYS = range(1_500)
SETTINGS = """
[push]
flush_seconds = 1.0
"""
#: Rows of a load.
LOADED = 300
#: Features of the view, in versions with tables of their own: in another order, some that others have not.
SHAPES = (
    ("number", "half", "text"),
    ("text", "number", "half", "more"),
    ("extra", "number", "text", "half"),
    ("half", "more", "text", "number"),
)
#: Versions of each; they differ in their TTL, and the last shape stays.
OF_A_SHAPE = 3
DTYPES = {"number": Int64, "half": Float64, "text": String, "more": Int64, "extra": Int64}
#: Which key a use of the view is asked by.
USES = {"": "user_id", "again__": "user_id", "friend__": "friend_id"}


def definitions(version: int) -> FeatureService:
    """Return a version of the service: the view, some features of it again, and the same for another key."""
    shape = min((version - 1) // OF_A_SHAPE, len(SHAPES) - 1)
    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    schema = [Field(name=name, dtype=DTYPES[name]) for name in SHAPES[shape]]
    view = FeatureView(name="clicks", entities=[user], schema=schema, ttl=timedelta(days=1, minutes=version))
    friend = view.with_join_key_map({"user_id": "friend_id"}, name="friend")
    apart = OnDemandFeatureView(
        name="apart",
        inputs=[view, friend],
        schema=[Field(name="apart", dtype=Int64)],
        expressions={"apart": "number - friend__number"},
    )
    features = [view, view[["text", "number"]].with_name("again"), friend]
    return FeatureService(name="scoring", features=[*features, apart] if version % 2 else features)


def begin(folder: Path) -> None:
    """Make the shop, with a row of every key."""
    with FeatureStore.init(folder, project="shop") as store:
        file = folder / FILE_NAME
        file.write_text(file.read_text() + SETTINGS)
    with FeatureStore(folder) as store:
        store.apply(definitions(1))
        store.promote("scoring@1")
        first = now()
        store.ingest("clicks", table([(key, first) for key in KEYS]), load_id="first")
        store.materialize("clicks")


def now() -> int:
    """Return the number of a row that is true now."""
    return time.time_ns() // 1000 - int(START.timestamp()) * 1_000_000


def values(key: int, number: int) -> dict[str, Any]:
    """Return the features of a row."""
    return {
        "number": number,
        "half": number / 2,
        "text": f"{key}:{number}" * 3,
        "more": number + key,
        "extra": number - key,
    }


def table(rows: Sequence[tuple[int, int]], names: Sequence[str] = SHAPES[0]) -> pa.Table:
    """Return rows, each a key and a number, as they are loaded and pushed."""
    made = [values(key, number) for key, number in rows]
    columns = {name: pa.array([one[name] for one in made], DTYPES[name].to_arrow()) for name in names}
    instants = [START + timedelta(microseconds=number) for _, number in rows]
    return pa.table(
        {"user_id": pa.array([key for key, _ in rows], pa.int64()), **columns}
        | {"event_timestamp": pa.array(instants, pa.timestamp("us", "UTC"))}
    )


def load_of(number: int) -> list[tuple[int, int]]:
    """Return the rows of a load: of some keys, the fewest of them the newest."""
    chance = random.Random(number)
    ages = [0 if chance.random() < 0.5 else chance.randrange(600_000_000) for _ in range(LOADED)]
    # The last three bits tell who wrote a row, so that no two write the same.
    return [(key, (number - age) | 7) for key, age in zip(chance.sample(KEYS, LOADED), ages, strict=True)]


class Asked:
    """What is known when a lookup begins: no answer to it may be behind that."""

    def __init__(self, truth: Truth, rows: Sequence[Mapping[str, int]]) -> None:
        self.rows = rows
        keys = {row[column] for row in rows for column in USES.values()}
        self.acknowledged = {key: truth.acknowledged.get(key, 0) for key in keys}
        self.seen = {table: {key: known.get(key, 0) for key in keys} for table, known in list(truth.seen.items())}


class Truth:
    """What was acknowledged and seen, by everybody, and what follows from it for the next answer.

    Attributes:
        acknowledged: by key, the greatest number that a push was acknowledged of.
        kept: which rows somebody was told of that they are stored.
        seen: by version of the view and key, the greatest number that an answer had.
        versions: answers by the version of the service that gave them.
    """

    def __init__(self) -> None:
        self.acknowledged: dict[int, int] = {}
        self.kept: Counter[tuple[int, int]] = Counter()
        self.seen: dict[int, dict[int, int]] = {}
        self.versions: Counter[str] = Counter()
        self._features: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def accept(self, rows: Sequence[tuple[int, int]]) -> None:
        """Take in that a push of rows was acknowledged."""
        with self._lock:
            self.kept.update(rows)
            for key, number in rows:
                self.acknowledged[key] = max(number, self.acknowledged.get(key, 0))

    def check(self, asked: Asked, answer: OnlineFeatures, view: int) -> None:
        """Check an answer, which version ``view`` of the view gave, against what was known when it was asked for."""
        found = answer.to_dict()
        newest: dict[int, int] = {}
        for use, column in USES.items():
            names = [name for name in found if name.startswith(use) and (use or "__" not in name) and name != "apart"]
            instants = answer.event_timestamps[use.removesuffix("__") or "clicks"]
            for place, row in enumerate(asked.rows):
                key = row[column]
                number = found[f"{use}number"][place]
                assert number is not None, f"{answer.service} has no row of {key} as {use or 'itself'}"
                right = values(key, number)
                for name in names:
                    plain = name.removeprefix(use)
                    value = found[name][place]
                    # A feature that was added is null in rows of before.
                    assert value == right[plain] or (value is None and plain in ("more", "extra")), (
                        f"{answer.service} has a torn row of {key}: {name} is {value!r} with number {number}"
                    )
                assert instants[place] == START + timedelta(microseconds=number)
                assert newest.setdefault(key, number) == number, f"{answer.service}: two snapshots of {key}"
        if "apart" in found:
            apart = [newest[row["user_id"]] - newest[row["friend_id"]] for row in asked.rows]
            assert found["apart"] == apart
        behind = {key for key, number in newest.items() if number < asked.acknowledged[key]}
        assert not behind, f"{answer.service}: acknowledged, and not served: {behind}"
        before = asked.seen.get(view, {})
        back = {key for key, number in newest.items() if number < before.get(key, 0)}
        assert not back, f"{answer.service}: a row was newer before: {back}"
        with self._lock:
            assert self._features.setdefault(answer.service, tuple(found)) == tuple(found)
            known = self.seen.setdefault(view, {})
            for key, number in newest.items():
                known[key] = max(number, known.get(key, 0))
            self.versions[answer.service] += 1

    def compare(self, folder: Path) -> dict[str, int]:
        """Flush, and check that each table that is fed has every row that was told of, and has it once."""
        with FeatureStore(folder) as store:
            store.flush_pushes()
            assert store.status()["push"]["rows"] == 0
            for name, features in self._features.items():
                outputs = store.registry.service(name).definition.outputs
                assert sorted(features) == sorted(one.name for fields in outputs.values() for one in fields), name
            live = stored_once(live_views(store.registry, "clicks"))
            for view in live:
                files = store.offline.table(view.definition).files()
                table = pa.concat_tables([pq.read_table(file, columns=["user_id", "number"]) for file in files])
                found = _counted(table)
                assert set(found.values()) == {1}, f"{view.id}: a row is twice in the offline store"
                lost = self.kept.keys() - found.keys()
                assert not lost, f"{view.id}: {len(lost)} rows are not in the offline store: {list(lost)[:5]}"
        return {"tables": len(live), "rows told of": self.kept.total()}


def _counted(rows: pa.Table) -> Counter[tuple[int, int]]:
    return Counter(zip(rows["user_id"].to_pylist(), rows["number"].to_pylist(), strict=True))
