"""Bytes that are no request, or hardly one: right statuses, nothing of ours in them, and others are answered meanwhile.

The long form is in ``tests/soak/test_malformed.py``.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from featurestore.definitions import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.online import MemoryStore
from featurestore.registry.records import Registered
from featurestore.serving.log import log_table
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import compile_plan
from featurestore.serving.rpc.server import Limits, Methods
from featurestore.types import (
    Array,
    Bool,
    Bytes,
    Date,
    Decimal,
    Embedding,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Struct,
    Timestamp,
)
from featurestore.v1 import serving_pb2 as pb

SERVING = "/featurestore.v1.ServingService/"
LOOKUP = f"{SERVING}GetOnlineFeatures"
STREAM = f"{SERVING}StreamOnlineFeatures"
ADVANCE = "/featurestore.v1.ReplayService/AdvanceClock"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#: By path, the message that a method takes.
TAKES: dict[str, type[Message]] = {
    LOOKUP: pb.GetOnlineFeaturesRequest,
    f"{SERVING}GetServiceSchema": pb.GetServiceSchemaRequest,
    STREAM: pb.StreamOnlineFeaturesRequest,
    ADVANCE: pb.AdvanceClockRequest,
    HEALTH: health_pb2.HealthCheckRequest,
    REFLECTION: reflection_pb2.ServerReflectionRequest,
}
STREAMS = {STREAM, REFLECTION}
UNARY = [path for path in TAKES if path not in STREAMS]
#: What a request that makes no sense may end with. Others are a fault of ours.
FINE = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
#: Ours, Python's or a library's: nothing of it may be in an answer.
INSIDE = ("Traceback", 'File "', "DecodeError", "Exception", "Error(", "site-packages", " object at 0x")

NOW = datetime(2024, 1, 1, tzinfo=UTC)
TYPES = {
    "a_bool": Bool,
    "a_int": Int32,
    "a_long": Int64,
    "a_single": Float32,
    "a_double": Float64,
    "a_text": String,
    "a_blob": Bytes,
    "a_date": Date,
    "a_time": Timestamp,
    "a_price": Decimal(10, 2),
    "a_list": Array(Int64),
    "a_vector": Embedding(2),
    "a_record": Struct({"on": Date, "prices": Array(Decimal(5, 1)), "at": Timestamp}),
}
KEYS = {"id": String, "number": Int64, "price": Decimal(6, 2)}
VIEW = FeatureView(
    name="view",
    entities=[Entity(name="thing", join_keys=list(KEYS), dtypes=list(KEYS.values()))],
    schema=[Field(name="x", dtype=Float64)],
)
#: Views of one key: requests for one of their rows are read without protobuf.
NUMBERED = FeatureView(
    name="numbered",
    entities=[Entity(name="one", join_keys=["number"], dtypes=[Int64])],
    schema=[Field(name="x", dtype=Float64)],
)
NAMED = FeatureView(
    name="named",
    entities=[Entity(name="other", join_keys=["id"], dtypes=[String])],
    schema=[Field(name="x", dtype=Float64)],
)
COMPUTED = OnDemandFeatureView(
    name="computed",
    inputs=[VIEW],
    request=[Field(name=name, dtype=dtype) for name, dtype in TYPES.items()],
    schema=[
        Field(name="total", dtype=Decimal(10, 2)),
        Field(name="sum", dtype=Int64),
        Field(name="t", dtype=Timestamp),
    ],
    expressions={"total": "a_price + a_price", "sum": "a_long + a_int", "t": "a_time"},
)


def services() -> Lookups:
    """Return lookups of services that take three keys, columns of every type, and a single key."""
    plans = {}
    for service in (
        FeatureService(name="plain", features=[VIEW]),
        FeatureService(name="typed", features=[VIEW, COMPUTED]),
        FeatureService(name="numbered", features=[NUMBERED]),
        FeatureService(name="named", features=[NAMED]),
    ):
        one = Registered(
            project="test",
            kind="feature_service",
            name=service.name,
            version=1,
            content_hash="abc",
            decode=lambda service=service: service,
            pins={"view": 1, "computed": 1, "numbered": 1, "named": 1},
            applied_at=NOW,
            applied_by="tester",
        )
        plans[service.name] = plans[one.id] = compile_plan(one)
    store = MemoryStore()
    store.advance(None, 0, {})
    return Lookups(store, plans, max_rows=5, replay=True, row_cache=1 << 16)


# Requests: some that are right, and what becomes of messages when somebody makes them up


def column(request: pb.GetOnlineFeaturesRequest, name: str, dtype: Any, rows: int) -> None:
    """Add a column that is as it should be."""
    one = request.columns.add(name=name)
    values: dict[str, Any] = {"int64s": 1, "doubles": 0.5, "strings": "1.5", "blobs": b"b", "bools": True}
    getattr(one, dtype.sent).SetInParent()
    for _ in range(rows):
        if dtype.sent != "nested":
            getattr(one, dtype.sent).values.append(values[dtype.sent])
        elif dtype.size:
            one.nested.values.add(floats=[0.5, 1.5])
        elif dtype.fields:
            one.nested.values.add(int32s=[1], int64s=[2]).nested.add(strings=["1.5"])
        else:
            one.nested.values.add(int64s=[1, 2])
    one.nulls = b"\x01"


def lookup(service: str, rows: int = 2) -> pb.GetOnlineFeaturesRequest:
    request = pb.GetOnlineFeaturesRequest(service=service, request_id="r", routing_key="k")
    for name, dtype in (KEYS if service.startswith("plain") else KEYS | TYPES).items():
        column(request, name, dtype, rows)
    return request


def one_row(service: str, name: str, request_id: str = "r") -> pb.GetOnlineFeaturesRequest:
    request = pb.GetOnlineFeaturesRequest(service=service, request_id=request_id)
    column(request, name, KEYS[name], 1)
    request.columns[0].nulls = b""
    return request


def right(path: str) -> list[bytes]:
    """Return requests of a method that are right."""
    short = [one_row("numbered", "number"), one_row("named@1", "id"), one_row("named", "id", "")]
    if path == LOOKUP:
        made: Iterable[Message] = [lookup("plain"), lookup("typed"), lookup("typed@1", 0), *short]
    elif path == STREAM:
        made = [
            pb.StreamOnlineFeaturesRequest(correlation_id=7, request=one)
            for one in (lookup("plain"), lookup("typed"), *short)
        ]
    elif path == ADVANCE:
        made = [pb.AdvanceClockRequest(now=1)]
    elif path == REFLECTION:
        made = [
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="featurestore.v1.ServingService"),
            reflection_pb2.ServerReflectionRequest(list_services="*"),
        ]
    elif path == HEALTH:
        made = [
            health_pb2.HealthCheckRequest(),
            health_pb2.HealthCheckRequest(service="featurestore.v1.ServingService"),
        ]
    else:
        made = [TAKES[path](service="typed")]
    return [one.SerializeToString() for one in made]


_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}
#: Names that mean something to the server, so that what is made up gets past the first check.
_NAMES = st.sampled_from(
    [*KEYS, *TYPES, "plain", "typed", "typed@1", "numbered", "named", "1.5", "featurestore.v1.ServingService"]
)
_TEXTS = _NAMES | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def messages(descriptor: Descriptor, depth: int = 3) -> st.SearchStrategy[Message]:
    """Return a strategy for messages of a type, with any of its fields."""
    kind = GetMessageClass(descriptor)
    fields = {
        one.name: st.lists(found, max_size=3) if one.is_repeated and not _is_map(one) else found
        for one in descriptor.fields
        if (found := _values(one, depth)) is not None
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: kind(**values))


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any] | None:
    if _is_map(field):
        keys, values = (_values(one, depth) for one in field.message_type.fields)
        assert keys is not None
        assert values is not None
        return st.dictionaries(keys, values, max_size=3)
    if field.message_type is not None:
        return messages(field.message_type, depth - 1) if depth else None
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=10)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _TEXTS
    return _SCALARS[field.cpp_type]


def damaged(chosen: random.Random, data: bytes) -> bytes:
    """Return bytes with a few faults: bits turned, bytes left out, put in, doubled, lengths changed, ends cut off."""
    found = bytearray(data)
    for _ in range(chosen.randint(1, 4)):
        at = chosen.randrange(len(found) + 1)
        match chosen.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << chosen.randrange(8)
            case 1 if at < len(found):
                found[at] = chosen.choice((0, 1, 0x7F, 0x80, 0xFF, chosen.randrange(256)))
            case 2:
                del found[at : at + chosen.randint(1, 8)]
            case 3:
                found[at:at] = chosen.randbytes(chosen.randint(1, 8))
            case 4:
                end = min(len(found), at + chosen.randint(1, 64))
                found[at:at] = found[at:end]
            case _:
                del found[at:]
    return bytes(found)


#: Values at the ends of what their types hold, and texts that are almost numbers.
_STRANGE: dict[str, tuple[Any, ...]] = {
    "int64s": (0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, -(2**63), 10**15, -(10**15), 2**40),
    "doubles": (0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7e308, 3.4028235677973366e38, -3.5e38),
    "strings": (
        "",
        "1.5",
        "1.555",
        "NaN",
        "Infinity",
        "1e999",
        "1e-999",
        "-0",
        "1_0",
        " 1",
        "\u0661",
        "\0",
        "x" * 999,
        "9" * 40,
    ),
    "blobs": (b"", b"\0", b"\xff" * 99),
    "bools": (True, False),
}


def strange(chosen: random.Random) -> pb.GetOnlineFeaturesRequest:
    """Return a lookup that is laid out as it should be, but for a few columns whose values are not what one expects."""
    request = lookup(chosen.choice(("plain", "typed", "typed@1")), chosen.randint(0, 5))
    for one in chosen.sample(list(request.columns), min(len(request.columns), chosen.randint(1, 4))):
        kind = one.WhichOneof("values")
        if kind == "nested":
            for value in one.nested.values:
                value.Clear()
                nest(chosen, value, chosen.choice((1, 2, 3, 50)))
        else:
            values = getattr(one, kind).values
            values[:] = chosen.choices(_STRANGE[kind], k=len(values))
        one.nulls = chosen.choice((b"", b"\x02", b"\xff", b"\xff" * 9))
    request.routing_key = chosen.choice(_STRANGE["strings"])
    request.request_id = chosen.choice(_STRANGE["strings"])
    return request


def nest(chosen: random.Random, value: Any, depth: int) -> None:
    """Fill a Values with anything, and with others in it."""
    for name, width in (("int32s", 31), ("int64s", 63)):
        getattr(value, name).extend(chosen.choices((0, 1, -(2**width), 2**width - 1), k=chosen.randrange(3)))
    for name in ("doubles", "floats"):
        getattr(value, name).extend(chosen.choices((0.5, math.nan, math.inf), k=chosen.randrange(3)))
    value.strings.extend(chosen.choices(_STRANGE["strings"], k=chosen.randrange(3)))
    value.blobs.extend(chosen.choices(_STRANGE["blobs"], k=chosen.randrange(2)))
    value.bools.extend(chosen.choices((True, False), k=chosen.randrange(2)))
    value.nulls = chosen.choice((b"", b"\x01", b"\xff" * 3))
    if depth > 1:
        for _ in range(chosen.randint(1, 2) if depth < 5 else 1):
            nest(chosen, value.nested.add(), depth - 1)


def made_up(path: str) -> st.SearchStrategy[bytes]:
    """Return a strategy for bytes that somebody might send to a method."""
    serialized = messages(TAKES[path].DESCRIPTOR).map(lambda one: one.SerializeToString())
    faulty = st.builds(damaged, st.randoms(use_true_random=False), st.sampled_from(right(path)) | serialized)
    found = st.binary(max_size=60) | serialized | faulty
    if path not in (LOOKUP, STREAM):
        return found
    odd = st.randoms(use_true_random=False).map(strange)
    if path == STREAM:
        return found | odd.map(lambda one: pb.StreamOnlineFeaturesRequest(request=one).SerializeToString())
    return found | odd.map(lambda one: one.SerializeToString())


# The checks


def check_said(*said: str) -> None:
    for text in said:
        assert not any(inside in text for inside in INSIDE), text


def check_code(code: grpc.StatusCode, path: str, data: bytes, details: str) -> grpc.StatusCode:
    assert code in FINE, (path, data.hex(), code, details)
    return code


class RefusedError(Exception):
    """What a call ends with that is refused, without a network."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


class Context:
    """What a method needs of a call, without a network."""

    def __init__(self, requests: Iterable[bytes] = ()) -> None:
        self._requests = iter(requests)
        self.written: list[bytes] = []

    def time_remaining(self) -> float | None:
        return None

    async def send_initial_metadata(self, metadata: object) -> None:
        """Nobody reads it."""

    async def read(self) -> Any:
        return next(self._requests, grpc.aio.EOF)

    async def write(self, data: bytes) -> None:
        self.written.append(data)

    async def abort(self, code: grpc.StatusCode, details: str, trailing: object) -> None:  # noqa: ARG002
        raise RefusedError(code, details)


class Details:
    """What a gate needs of a call."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


async def check_inside(served: Any, path: str, data: bytes) -> grpc.StatusCode:
    """Answer a request as the server does, without a network, and check what it ends with."""
    call = served.gate.service(Details(path))
    context = Context([data])
    try:
        if path in STREAMS:
            await call.stream_stream(None, context)
        else:
            await call.unary_unary(data, context)
    except RefusedError as refused:
        check_said(refused.details)
        return check_code(refused.code, path, data, refused.details)
    if path == STREAM:
        answer = pb.StreamOnlineFeaturesResponse.FromString(context.written[0])
        assert answer.error.code in {one.value[0] for one in FINE}, (data.hex(), answer.error.message)
        check_said(answer.error.message, answer.error.hint)
    return grpc.StatusCode.OK


def check_log(lookups: Lookups, data: bytes) -> None:
    """Check that what was answered can be written into the serving log: one row that cannot would stop all.

    And that a request which is answered by the shortest way is a request, and has the answer of the long way.
    """
    short = lookups.answer_one_row(data)
    if short is not None:
        request = pb.GetOnlineFeaturesRequest.FromString(data)
        long = lookups.answer(request)
        assert request.request_id == "" or short == long, data.hex()
        assert (short.entry.columns, short.entry.rows) == (long.entry.columns, long.entry.rows), data.hex()
    try:
        entry = lookups.get_online_features(data).entry
    except Exception:  # noqa: BLE001 - refused; with what is checked elsewhere
        return
    log_table(entry.plan, [entry], replay=True)


def check_over_the_wire(channel: grpc.Channel, path: str, data: bytes) -> grpc.StatusCode:
    """Send bytes to a method, and check what comes back."""
    try:
        if path in STREAMS:
            answers = list(channel.stream_stream(path)(iter([data]), timeout=20))
            if path == STREAM:
                error = pb.StreamOnlineFeaturesResponse.FromString(answers[0]).error
                assert error.code in {one.value[0] for one in FINE}, (data.hex(), error.message)
                check_said(error.message, error.hint)
        else:
            channel.unary_unary(path)(data, timeout=20)
    except grpc.RpcError as error:
        check_said(error.details(), *(str(one) for one in error.trailing_metadata()))
        return check_code(error.code(), path, data, error.details())
    return grpc.StatusCode.OK


@pytest.fixture
def lookups() -> Lookups:
    return services()


@pytest.fixture
def served(serving: Callable[..., Any]) -> Any:
    return serving(methods=Methods(advance=lambda _: 0), limits=Limits(message_bytes=1 << 20))


@pytest.fixture
def channel(served: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.address) as opened:
        yield opened


def test_the_requests_that_are_damaged_are_right_before(channel: grpc.Channel) -> None:
    for path in TAKES:
        for data in right(path):
            assert check_over_the_wire(channel, path, data) is grpc.StatusCode.OK


@pytest.mark.parametrize("path", [one for one in TAKES if one != HEALTH], ids=lambda path: path.rpartition("/")[2])
def test_whatever_is_sent_is_answered_with_a_status_that_is_meant(served: Any, lookups: Lookups, path: str) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=made_up(path))
    def check(data: bytes) -> None:
        served.run(check_inside(served.server, path, data))
        if path == LOOKUP:
            check_log(lookups, data)

    with capture_logs() as logged:
        check()
    assert logged == []
    assert served.settle() == 0


@pytest.mark.parametrize("path", TAKES, ids=lambda path: path.rpartition("/")[2])
def test_over_the_wire_it_is_the_same_and_other_clients_are_answered(
    served: Any, channel: grpc.Channel, path: str
) -> None:
    right_request = lookup("plain").SerializeToString()
    with grpc.insecure_channel(served.address, options=[("grpc.use_local_subchannel_pool", 1)]) as other:

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(data=made_up(path))
        def check(data: bytes) -> None:
            check_over_the_wire(channel, path, data)
            assert other.unary_unary(LOOKUP)(right_request, timeout=5)

        with capture_logs() as logged:
            check()
    assert logged == []
    assert served.settle() == 0


def test_a_stream_outlives_what_is_sent_into_it(served: Any, channel: grpc.Channel) -> None:
    chosen = random.Random(6)
    sent = []
    for number in range(300):
        good = pb.StreamOnlineFeaturesRequest(correlation_id=number, request=lookup("typed")).SerializeToString()
        sent += [good, damaged(chosen, good)]
    answers = [pb.StreamOnlineFeaturesResponse.FromString(one) for one in channel.stream_stream(STREAM)(iter(sent))]
    assert len(answers) == 600
    for number, answer in enumerate(answers[::2]):
        assert (answer.correlation_id, answer.WhichOneof("answer")) == (number, "response")
    assert served.settle() == 0
