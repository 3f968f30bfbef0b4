"""Requests of one entity row, read without protobuf: as protobuf reads them, and answered as by the long way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurestore.definitions import Entity, FeatureService, FeatureView, Field
from featurestore.errors import InvalidRequestError
from featurestore.online import LmdbStore, OnlineStore
from featurestore.online.base import Row, Waiting, order_prefix
from featurestore.online.redis.store import RedisStore
from featurestore.serving import one_row
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import StoredView, compile_plan
from featurestore.serving.routing import Canary
from featurestore.settings.online import RedisConfig
from featurestore.types import Float64, Int32, Int64, String
from featurestore.v1 import serving_pb2 as pb
from tests.services import registered

HOUR = timedelta(hours=1)
NOW = 5 * HOUR // timedelta(microseconds=1)


def view(name: str, key: str, dtype: Any, ttl: timedelta | None = None) -> FeatureView:
    fields = [Field(name=f"{name}_a", dtype=Float64), Field(name=f"{name}_b", dtype=Float64, default=7.0)]
    return FeatureView(name=name, entities=[Entity(name=key, join_keys=[key], dtypes=[dtype])], ttl=ttl, schema=fields)


AGING, AGELESS = view("aging", "user_id", Int64, HOUR), view("ageless", "user_id", Int64)
TITLED, SMALL = view("titled", "title", String), view("small", "number", Int32)
SERVICES = {
    "numbers": FeatureService(name="numbers", features=[AGELESS[["ageless_b"]], AGING]),
    "texts": FeatureService(name="texts", features=[TITLED]),
    "small": FeatureService(name="small", features=[SMALL]),
    "pairs": FeatureService(name="pairs", features=[AGELESS, TITLED]),
    "n" * 126: FeatureService(name="long", features=[TITLED]),
}


PLANS = {name: compile_plan(registered(service)) for name, service in SERVICES.items()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    opened = LmdbStore(tmp_path / "online", durable=False)
    opened.advance(None, NOW, {})
    yield opened
    opened.close()


def put(store: OnlineStore, view: StoredView, key: int | str, event: int, value: float | None) -> None:
    columns = {one.name: pa.array([value], one.dtype.to_arrow()) for one in view.codec.fields}
    columns["event_timestamp"] = pa.array([event], pa.timestamp("us", "UTC"))
    number = np.array([event])
    prefix = order_prefix(number, number, number == number, number, number)
    (encoded,) = view.keys.encode([[key]])
    assert encoded is not None
    row: Row = (encoded, view.codec.encode(pa.table(columns), prefix=prefix)[0])
    store.put_newest(view.storage_id, [row])


def asked(service: str, column: str, *values: int | str, request_id: str = "", **more: Any) -> bytes:
    made = pb.GetOnlineFeaturesRequest(service=service, request_id=request_id, **more)
    where = made.columns.add(name=column)
    (where.strings.values if isinstance(values[0], str) else where.int64s.values).extend(values)  # type: ignore[arg-type]
    return made.SerializeToString()


def check_as_protobuf(data: bytes, known: dict[bytes, one_row.OneRow]) -> bool:
    """Check that a request is read as protobuf reads it, and return whether it is read at all."""
    found = one_row.read(data, known)
    if found is None:
        return False
    shape, key, request_id = found
    message = pb.GetOnlineFeaturesRequest.FromString(data)
    assert shape.plan is PLANS[message.service]
    (column,) = message.columns
    values = getattr(column, str(column.WhichOneof("values"))).values
    assert (column.name, list(values), column.nulls) == (shape.key, [key], b"")
    assert (message.request_id, message.routing_key) == (request_id, "")
    return True


@pytest.fixture
def known(store: LmdbStore) -> dict[bytes, one_row.OneRow]:
    lookups = Lookups(store, PLANS, max_rows=5, replay=True, row_cache=1 << 20)
    return dict(lookups._one_rows)


NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-200, 200)
TEXTS = st.text(max_size=90)
CHECKED = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


@CHECKED
@given(NUMBERS, TEXTS, TEXTS)
def test_requests_of_the_usual_form_are_read(
    known: dict[bytes, one_row.OneRow], number: int, text: str, request_id: str
) -> None:
    short = len(request_id.encode()) < 128
    small = -(1 << 62) <= number < 1 << 62
    assert check_as_protobuf(asked("numbers", "user_id", number, request_id=request_id), known) == (small and short)
    fits = len(pb.Column(name="title", strings=pb.StringValues(values=[text])).SerializeToString()) < 128
    assert check_as_protobuf(asked("texts", "title", text, request_id=request_id), known) == (fits and short)


@CHECKED
@given(st.data())
def test_whatever_else_comes_is_left_to_protobuf(known: dict[bytes, one_row.OneRow], data: st.DataObject) -> None:
    """Bytes that are almost such a request: what is read of them is what protobuf reads."""
    request = data.draw(
        st.sampled_from(
            [
                asked("numbers", "user_id", 77, request_id="r-1"),
                asked("texts", "title", "Emma", request_id="r-1"),
                asked("texts", "title", ""),
            ]
        )
    )
    changed = bytearray(request)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        kind = data.draw(st.sampled_from(("set", "cut", "add")))
        if kind == "add":
            changed[at:at] = data.draw(st.binary(min_size=1, max_size=3))
        elif kind == "cut":
            del changed[at:]
        elif at < len(changed):
            changed[at] = data.draw(st.integers(0, 255))
    check_as_protobuf(bytes(changed), known)


@pytest.mark.parametrize("request_id", ["", "r-1"])
def test_a_part_of_a_request_is_left_to_protobuf(known: dict[bytes, one_row.OneRow], request_id: str) -> None:
    for whole in (asked("numbers", "user_id", 77, request_id=request_id), asked("texts", "title", "Emma")):
        read = [check_as_protobuf(whole[:end], known) for end in range(len(whole) + 1)]
        assert sum(read) == (2 if request_id and b"user_id" in whole else 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0a",
        asked("numbers", "user_id", 1, 2),
        asked("numbers", "user_id", "1"),
        asked("numbers", "user", 1),
        asked("numbers", "user_id", 1, routing_key="r"),
        asked("numbers", "user_id", 1, request_id="r-1", routing_key="r"),
        # An id whose length is written in two bytes, the first of which is what stands behind it.
        asked("numbers", "user_id", 1) + b"\x1a\x85\x00" + b"r" * 5 + b"\x22\x7d" + b"r" * 125,
        asked("small", "number", 1),
        asked("pairs", "user_id", 1),
        asked("n" * 126, "title", "Emma"),
        asked("nobody", "user_id", 1),
        asked("numbers", "user_id", 1) + asked("", "user_id", 2),
        pb.GetOnlineFeaturesRequest(
            service="numbers",
            columns=[pb.Column(name="user_id", int64s=pb.Int64Values(values=[0]), nulls=b"\x01")],
        ).SerializeToString(),
        pb.GetOnlineFeaturesRequest(service="numbers", columns=[pb.Column(name="user_id")]).SerializeToString(),
    ],
)
def test_other_requests_go_the_long_way(known: dict[bytes, one_row.OneRow], data: bytes) -> None:
    assert one_row.read(data, known) is None


@CHECKED
@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=140))
def test_a_request_of_a_stream_is_taken_out_of_its_envelope(number: int, request: bytes) -> None:
    """Any bytes will do as the request; protobuf would have to be able to read them."""
    field = b"" if number == 0 else b"\x08" + _varint(number)
    data = field + b"\x12" + _varint(len(request)) + request
    found = one_row.within(data)
    assert found == ((field, request) if len(request) < 128 and number < 1 << 63 else None)
    assert one_row.within(b"\x12\x85\x00" + b"r" * 132) is None  # a length in two bytes, and more behind it
    assert one_row.within(data[:-1]) is None
    assert one_row.within(data + b"\x00") is None


def _varint(value: int) -> bytes:
    return pb.StreamOnlineFeaturesRequest(correlation_id=value).SerializeToString()[1:] or b"\x00"


EVENTS = st.integers(NOW - 2 * HOUR // timedelta(microseconds=1), NOW)
DEEDS = st.sampled_from(("ask", "ask", "ask another", "write one", "write other"))
STEPS = st.lists(st.tuples(DEEDS, st.integers(0, 1), EVENTS), min_size=4, max_size=25)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(STEPS)
def test_the_short_way_gives_what_the_long_way_gives(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    """Between writes to both views, with rows that are too old, absent, defaulted, read and known."""
    store = LmdbStore(tmp_path_factory.mktemp("online"), durable=False)
    store.advance(None, NOW, {})
    ways = [Lookups(store, PLANS, max_rows=5, replay=True, row_cache=size) for size in (1 << 20, 0)]
    ageless, aging = PLANS["numbers"].stored
    for step, key, event in steps:
        if step == "ask another":
            ways[0].get_online_features(asked("texts", "title", str(event % 3)))
        elif step != "ask":
            put(store, ageless if step == "write one" else aging, key, event, None if event % 3 == 0 else event / 7)
        else:
            request = asked("numbers", "user_id", key, request_id="r")
            long = ways[1].answer(pb.GetOnlineFeaturesRequest.FromString(request))
            for way in ways:  # one keeps rows, the other does not
                short = way.answer_one_row(request)
                assert short is not None
                assert short.response == long.response
                assert short.entry == long.entry
    store.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(STEPS)
def test_the_short_way_to_another_process_gives_what_the_long_way_gives(
    redis_settings: RedisConfig, steps: Any
) -> None:
    """From the first request on, before anything was written; and after a table was replaced as a whole."""
    store = RedisStore(redis_settings)
    store.clear()
    store.advance(None, NOW, {})
    lookups = Lookups(store, PLANS, max_rows=5, replay=True, row_cache=1 << 20)
    ageless, aging = PLANS["numbers"].stored

    async def ask(waiting: Waiting, key: int) -> None:
        request = asked("numbers", "user_id", key, request_id="r")
        long = lookups.answer(pb.GetOnlineFeaturesRequest.FromString(request))
        for seconds in (None, 20.0, 0.9):
            short = await lookups.get_online_features_waiting(request, waiting, seconds)
            assert short.response == long.response
            assert short.entry == long.entry

    async def run() -> None:
        waiting = store.waiting()
        for step, key, event in steps:
            if step == "ask another":
                store.replace(aging.storage_id, [])
            elif step != "ask":
                view = ageless if step == "write one" else aging
                put(store, view, key, event, None if event % 3 == 0 else event / 7)
            await ask(waiting, key)
        await waiting.close()

    asyncio.run(run())
    store.close()


def test_a_row_is_served_once_it_is_written(store: LmdbStore) -> None:
    """Also where rows of another view were read between."""
    lookups = Lookups(store, PLANS, max_rows=5, replay=True, row_cache=1 << 20)
    numbers, seen = asked("numbers", "user_id", 1, request_id="r"), []
    for number in range(4):
        put(store, PLANS["numbers"].stored[1], 1, NOW - 10 + number, number / 2)
        if number % 2:
            lookups.get_online_features(asked("texts", "title", "Emma"))
        for _ in range(2):
            answer = lookups.answer_one_row(numbers)
            assert answer is not None
            rows = pb.GetOnlineFeaturesResponse.FromString(answer.response).rows
            seen.append(rows[1].doubles[0])
    assert seen == [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5]


def test_a_name_with_a_canary_goes_the_long_way(store: LmdbStore) -> None:
    lookups = Lookups(store, PLANS, max_rows=5, replay=True, row_cache=1 << 20)
    request = asked("numbers", "user_id", 1, request_id="r")
    assert lookups.answer_one_row(request) is not None
    other = replace(PLANS["numbers"], id="numbers@2")
    lookups.serve(PLANS, {"numbers": Canary(other, 1.0, ("user_id",))})
    assert lookups.answer_one_row(request) is None
    assert lookups.get_online_features(request).entry.plan is other
    lookups.serve({"numbers": other}, {})
    answer = lookups.answer_one_row(request)
    assert answer is not None
    assert answer.entry.plan is other


def test_a_request_without_an_id_gets_one(store: LmdbStore) -> None:
    lookups = Lookups(store, PLANS, max_rows=5, replay=True, row_cache=1 << 20)
    made = set()
    for _ in range(3):
        answer = lookups.answer_one_row(asked("numbers", "user_id", 1))
        assert answer is not None
        assert pb.GetOnlineFeaturesResponse.FromString(answer.response).request_id == answer.entry.request_id
        made.add(answer.entry.request_id)
    assert len(made) == 3


def test_bytes_that_protobuf_cannot_read_are_refused(store: LmdbStore) -> None:
    lookups = Lookups(store, PLANS, max_rows=5, replay=True, row_cache=1 << 20)
    broken = asked("texts", "title", "Emma").replace(b"Emma", b"Em\xff\xff")
    with pytest.raises(DecodeError):
        pb.GetOnlineFeaturesRequest.FromString(broken)
    with pytest.raises(InvalidRequestError):
        lookups.get_online_features(broken)
