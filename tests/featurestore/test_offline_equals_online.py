"""One value for one instant: what lookups serve, and what the join finds, after any history of a store."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as Number
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from featurestore import (
    Entity,
    FeatureClient,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    OnDemandFeatureView,
    types,
)
from featurestore.client import OnlineFeatures
from featurestore.config import FILE_NAME
from featurestore.pushing import Pusher
from featurestore.serving import lookup
from featurestore.serving.lookup import Lookups
from featurestore.serving.pushes import PushMethod
from featurestore.serving.runtime import compile_plans, served_services
from featurestore.types import (
    Array,
    Bool,
    Bytes,
    Date,
    Decimal,
    DType,
    Embedding,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Struct,
    Timestamp,
)

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)
#: Of the first version of the views and of the second, which share rows.
TTL = {1: timedelta(hours=1), 2: timedelta(hours=2)}
#: How long after the beginning of a history lookups are made as well: whatever is old then is not yet too old to be
#: written while the history goes on.
LATER = 10 * MINUTE
#: Ages of rows at the beginning of their history: at that later instant some are as old as a TTL allows, or a
#: microsecond older; and one is too old from the beginning.
AGES = [
    timedelta(0),
    MICROSECOND,
    MINUTE,
    *(ttl - LATER + edge for ttl in TTL.values() for edge in (-MICROSECOND, timedelta(0), MICROSECOND)),
    timedelta(hours=3),
]
USERS = range(12)
PLACES = ("JFK", "LAX")
#: Of a person, and of a trip.
HISTORIES_OF_AN_EXAMPLE = len(USERS) + len(USERS) * len(PLACES)
#: Examples for which a store is used: with more files in its tables, every step takes longer.
EXAMPLES_OF_A_STORE = 40
#: By number in a join's result.
STATUSES = {1: "PRESENT", 2: "NOT_FOUND", 3: "OUTSIDE_MAX_AGE"}

NESTED = Struct({"lat": Float64, "tags": Array(String), "seen": Struct({"at": Timestamp, "cost": Decimal(9, 3)})})
SCALARS: dict[str, DType] = {
    "yes": Bool,
    "i32": Int32,
    "i64": Int64,
    "f32": Float32,
    "f64": Float64,
    "text": String,
    "blob": Bytes,
    "day": Date,
    "at": Timestamp,
    "money": Decimal(10, 2),
    "huge": Decimal(38, 0),
    "tiny": Decimal(5, 5),
}
OTHERS: dict[str, DType] = {
    "plan": String,
    "rank": Int64,
    "ints": Array(Int64),
    "texts": Array(Array(String)),
    "costs": Array(Decimal(38, 10)),
    "days": Array(Timestamp),
    "vector": Embedding(3),
    "vectors": Array(Embedding(2)),
    "where": NESTED,
    "places": Array(NESTED),
}
DEFAULTS: dict[str, Any] = {
    "i64": -1,
    "f64": -0.5,
    "text": "none",
    "day": date(1970, 1, 2),
    "at": datetime(2024, 1, 1, tzinfo=UTC),
    "money": Number("-1.50"),
    "yes": True,
    "plan": "basic",
    "ints": [7, None],
    "vector": [0.5, 0.0, -1.0],
    "where": {"lat": 1.5, "tags": ["a", None], "seen": {"at": None, "cost": Number("0.125")}},
}

#: What is done: a step, a view, how many rows, and a seed of them.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "push",
                "push",
                "rpc",
                "rpc",
                "ingest",
                "ingest",
                "ingest",
                "flush",
                "materialize",
                "full",
                "early",
                "late",
            ]
        ),
        st.sampled_from(["people", "trips"]),
        st.integers(1, 40),
        st.integers(0, 2**16),
    ),
    min_size=2,
    max_size=8,
)

Step = tuple[str, str, int, int]


class Row(NamedTuple):
    """A row of a view: of whom, how old when the history began, when it was written, and a seed of its values."""

    user: int
    place: str
    age: timedelta
    created: int | None
    seed: int


def rows_of(many: int, seed: int, ages: Sequence[timedelta]) -> list[Row]:
    """Return some rows; fewer of the same seed are the first ones of them."""
    chance = random.Random(seed)
    return [
        Row(
            chance.choice(USERS),
            chance.choice(PLACES),
            chance.choice(ages),
            chance.choice([None, 0, 1]),
            chance.randrange(2**16),
        )
        for _ in range(many)
    ]


def views(version: int) -> dict[str, FeatureView]:
    """Return the stored views; the second version has another TTL, and defaults, and the same rows."""
    given = DEFAULTS if version == 2 else {}

    def schema(fields: Mapping[str, DType]) -> list[Field]:
        return [Field(name=name, dtype=dtype, default=given.get(name)) for name, dtype in fields.items()]

    user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
    trip = Entity(name="trip", join_keys=["number", "place", "due"], dtypes=[Int64, String, Date])
    people = FeatureView(name="people", entities=[user], ttl=TTL[version], schema=schema(SCALARS))
    trips = FeatureView(name="trips", entities=[trip], ttl=TTL[version], schema=schema(OTHERS))
    return {"people": people, "trips": trips}


def service(version: int) -> FeatureService:
    """Return a service of both views, one of them twice, and of features computed from them."""
    stored = views(version)
    friend = stored["people"].with_join_key_map({"user_id": "friend_id"}, name="friend")
    computed = OnDemandFeatureView(
        name="computed",
        inputs=[stored["people"], friend, stored["trips"]],
        request=[Field(name="basket", dtype=Float64), Field(name="asked", dtype=Int64, default=3)],
        schema=[
            Field(name="share", dtype=Float64),
            Field(name="whole", dtype=Int64),
            Field(name="either", dtype=Float64, default=0.25),
            Field(name="label", dtype=String),
            Field(name="between", dtype=Float64),
        ],
        expressions={
            "share": "basket / f64 * 0.3",
            "whole": "i32 * asked + rank",
            "either": "COALESCE(f64, friend__f64)",
            "label": "CASE WHEN yes THEN text ELSE plan END",
            "between": "friend__f64 - f64",
        },
    )
    return FeatureService(name="scoring", features=[stored["people"], friend, stored["trips"], computed])


def value(dtype: DType, chance: random.Random) -> Any:
    """Return some value of a type, an unusual one as often as not."""
    if dtype.fields:
        return {name: None if chance.random() < 0.2 else value(inner, chance) for name, inner in dtype.fields}
    if dtype.size:
        return [value(Float32, chance) for _ in range(dtype.size)]
    if dtype.element is not None:
        some = range(chance.choice([0, 1, 2, 3]))
        return [None if chance.random() < 0.2 else value(dtype.element, chance) for _ in some]
    if dtype.precision:
        digits = chance.choice([0, 1, 10**dtype.precision - 1, chance.randrange(10**dtype.precision)])
        return Number((chance.randrange(2) if digits else 0, Number(digits).as_tuple().digits, -dtype.scale))
    numbers = [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e-45, 1.5, chance.uniform(-1e6, 1e6)]
    made: dict[str, Callable[[], Any]] = {
        "Bool": lambda: chance.random() < 0.5,
        "Int32": lambda: chance.choice([0, -(2**31), 2**31 - 1, chance.randrange(1000)]),
        "Int64": lambda: chance.choice([0, -(2**63), 2**63 - 1, chance.randrange(-1000, 1000)]),
        "Float32": lambda: struct.unpack("f", struct.pack("f", chance.choice(numbers)))[0],
        "Float64": lambda: chance.choice([*numbers, 5e-324, -1.7976931348623157e308]),
        "String": lambda: chance.choice(["", "a", "\0", "ﬀ🛫", "x" * 300, str(chance.random())]),
        "Bytes": lambda: chance.choice([b"", b"\0", b"\xff\xfe", chance.randbytes(200)]),
        "Date": lambda: chance.choice([date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1), date(2024, 2, 29)]),
        "Timestamp": lambda: chance.choice(
            [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), datetime.now(UTC)]
        ),
    }
    return made[dtype.name]()


def exactly(found: Any) -> Any:
    """Return a value as one that is equal only to the same: bit for bit, but NaN is NaN."""
    if isinstance(found, Mapping):
        return {name: exactly(one) for name, one in found.items()}
    if isinstance(found, (list, tuple)):
        return [exactly(one) for one in found]
    if isinstance(found, float):
        return "NaN" if found != found else struct.pack("d", found)
    return type(found).__name__, found


class World:
    """A store on the disk, a server's lookups and pushes, which keep rows all the while, and one history after another.

    Attributes:
        seen: how often a row had which status; only such rows tell something as are not all missing.
        histories: of keys, that ended without a mismatch.
        values: that were compared.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stores = count()
        self._numbers = count(1)
        self._store: FeatureStore | None = None
        self._left = 0
        self.seen: Counter[str] = Counter()
        self.histories = 0
        self.values = 0

    def close(self) -> None:
        """Close what is open."""
        if self._store is not None:
            self._pushes.close()
            self._store.close()
            self._store = None

    def _open(self) -> None:
        self.close()
        folder = self._folder / f"store-{next(self._stores)}"
        FeatureStore.init(folder, project="shop").close()
        settings = folder / FILE_NAME
        settings.write_text(settings.read_text() + "\n[push]\nflush_seconds = 3600\n")
        store = self._store = FeatureStore(folder)
        store.apply(service(1))
        store.promote("scoring@1")  # so that it stays live beside the second
        store.apply(service(2))
        self._lookups = Lookups(
            store.online, compile_plans(served_services(store.registry)), max_rows=1_000, row_cache=1 << 24
        )
        pusher = Pusher(store.config, store.registry, store.offline, store.online, store.who)
        self._pushes = PushMethod(pusher, max_rows=1_000)
        self._client = FeatureClient(transport=self._answer)
        self._left = EXAMPLES_OF_A_STORE

    def _answer(self, method: str, request: bytes) -> bytes:
        return self._pushes.answers(request) if method == "PushFeatures" else self._lookups.transport(method, request)

    def check(self, steps: Sequence[Step], seed: int) -> None:
        """Do the steps with keys that no other history has, and compare the stores at the end, or wherever asked."""
        if self._left == 0:
            self._open()
        self._left -= 1
        assert self._store is not None
        history = _History(self, self._store, self._client, next(self._numbers), random.Random(seed))
        for step in steps:
            history.do(*step)
            history.look()  # so that rows are kept, of which the next step must make some stale
            if step[0] == "materialize":
                history.compare()
        history.compare()
        self.histories += HISTORIES_OF_AN_EXAMPLE


class _History:
    """What becomes of some keys."""

    def __init__(
        self, world: World, store: FeatureStore, client: FeatureClient, number: int, chance: random.Random
    ) -> None:
        self._world = world
        self._store = store
        self._client = client
        self._number = number
        self._chance = chance
        self._base = datetime.now(UTC)
        self._ages = chance.sample(AGES, 3)  # few, so that there are ties
        everybody = [*map(self._user, USERS), self._user(len(USERS)), None]
        self._asked = [
            {"user_id": user, "friend_id": chance.choice(everybody), "number": self._number, "place": place, "due": due}
            | {"basket": chance.choice([1.0, 0.1, None]), "asked": chance.choice([1, 2**40, None])}
            for user, due in zip(everybody, [*map(self._due, USERS), self._due(0), None], strict=True)
            for place in (*PLACES, chance.choice(["SFO", None]))
        ]

    def _user(self, user: int) -> int:
        return self._number * 100 + user

    def _due(self, user: int) -> date:
        return date(2024, 1, 1) + timedelta(days=user)

    def _rows(self, view: str, rows: Sequence[Row]) -> pa.Table:
        fields = SCALARS if view == "people" else OTHERS
        keys: dict[str, DType] = {"user_id": Int64} if view == "people" else {}
        keys |= {} if view == "people" else {"number": Int64, "place": String, "due": Date}
        columns: dict[str, list[Any]] = {name: [] for name in (*keys, *fields)}
        for row in rows:
            chance = random.Random(row.seed)
            for name, key in self._key(view, row.user, row.place).items():
                columns[name].append(key)
            for name, dtype in fields.items():
                columns[name].append(None if chance.random() < 0.25 else value(dtype, chance))
        arrays = {name: pa.array(columns[name], dtype.to_arrow()) for name, dtype in (keys | fields).items()}
        instant = Timestamp.to_arrow()
        arrays["event_timestamp"] = pa.array([self._base - row.age for row in rows], instant)
        created = [None if row.created is None else self._base + row.created * MINUTE for row in rows]
        arrays["created_timestamp"] = pa.array(created, instant)
        return pa.table(arrays)

    def _key(self, view: str, user: int, place: str) -> dict[str, Any]:
        if view == "people":
            return {"user_id": self._user(user)}
        return {"number": self._number, "place": place, "due": self._due(user)}

    def do(self, step: str, view: str, many: int, seed: int) -> None:
        """Do one step."""
        store, rows = self._store, rows_of(many, seed, self._ages)
        early = self._base - 30 * MINUTE
        if step == "ingest":
            assert store.ingest(view, self._rows(view, rows)).written == len(rows)
        elif step == "push":
            assert store.push(view, self._rows(view, rows)).accepted == len(rows)
        elif step == "rpc":
            assert self._client.push(view, self._rows(view, rows)).accepted == len(rows)
        elif step == "flush":
            store.flush_pushes()
        elif step == "compact":
            store.compact(view)
        elif step == "early":
            store.materialize(view, end=early)
        elif step == "late":
            store.materialize(view, start=early)
        else:
            store.materialize(view, full=step == "full")

    def look(self) -> None:
        """Look everything up."""
        for version in TTL:
            self._client.get_online_features(f"scoring@{version}", self._asked)

    def compare(self) -> None:
        """Bring online and offline what is in neither yet, and compare them: now, and when rows come of age."""
        self._store.flush_pushes()
        for view in ("people", "trips"):
            self._store.materialize(view)
        filled = datetime.now(UTC)
        for version in TTL:
            name = f"scoring@{version}"
            now = self._client.get_online_features(name, self._asked)
            with clock_at(self._base + LATER):
                later = self._client.get_online_features(name, self._asked)
            joined = self._joined(name, [now.served_at, later.served_at])
            self._compare(now, joined.slice(0, len(self._asked)), filled)
            self._compare(later, joined.slice(len(self._asked)), filled)

    def _joined(self, name: str, instants: Sequence[datetime]) -> pa.Table:
        keys = {"user_id": Int64, "friend_id": Int64, "number": Int64, "place": String, "due": Date}
        given = {"basket": Float64, "asked": Int64, "event_timestamp": Timestamp}
        schema = pa.schema([(one, dtype.to_arrow()) for one, dtype in (keys | given).items()])
        asked = [one | {"event_timestamp": instant} for instant in instants for one in self._asked]
        table = pa.Table.from_pylist(asked, schema)
        return self._store.get_historical_features(table, name, with_status=True).to_arrow()

    def _compare(self, served: OnlineFeatures, joined: pa.Table, filled: datetime) -> None:
        online, values = served.to_arrow(), served.to_dict()
        for feature in served.names:
            right = joined[feature].to_pylist()
            assert online[feature].type == joined[feature].type
            assert exactly(online[feature].to_pylist()) == exactly(right), (served.service, feature)
            assert exactly(values[feature]) == exactly(right), (served.service, feature)
            self._world.values += len(right)
        for use in ("people", "friend", "trips"):
            numbers = joined[f"{use}__status"].to_pylist()
            events = joined[f"{use}__event_timestamp"].to_pylist()
            for number, event, status, at in zip(
                numbers, events, served.statuses[use], served.event_timestamps[use], strict=True
            ):
                said = STATUSES[number]
                self._world.seen[said] += 1
                if event is not None and event < filled - max(TTL.values()):
                    # Too old for every version: not brought online, or removed (docs/serving.md).
                    assert status in ("OUTSIDE_MAX_AGE", "NOT_FOUND")
                    continue
                assert (status, at) == (said, event), (served.service, use)


@contextmanager
def clock_at(instant: datetime) -> Iterator[None]:
    """Let lookups be made at an instant."""

    class Clock:
        """What a lookup takes of the module ``time``."""

        @staticmethod
        def time_ns() -> int:
            return types.microseconds(instant) * 1000

    real = lookup.time
    lookup.time = Clock  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        lookup.time = real  # type: ignore[misc]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("worlds"))
    yield made
    made.close()


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, seed=st.integers(0, 2**16))
# Rows of a later load that share all instants with pushed ones, which a flush has put into an earlier load.
@example(steps=[("push", "people", 40, 1), ("flush", "people", 1, 1), ("ingest", "people", 40, 2)], seed=1)
def test_lookups_serve_what_the_join_finds_at_the_same_instant_after_any_history(
    world: World, steps: Sequence[Step], seed: int
) -> None:
    world.check(steps, seed)


def test_the_histories_were_such_that_every_status_came(world: World) -> None:
    assert set(world.seen) == {"PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE"}
