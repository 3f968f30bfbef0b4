"""The monitor's port over real connections: streams that resume, slow watchers, tokens, TLS, refusals."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from featurestore.config import Config
from featurestore.errors import AddressInUseError, ConfigError, MonitorError, SignalStateError
from featurestore.registry import Token
from featurestore.registry.tokens import digest_of
from featurestore.serving.tokens import Caller
from featurestore.settings.serving import TlsConfig
from featurestore.settings.signals import SignalsConfig
from featurestore.v1 import signals_pb2 as pb
from monitor.signalling import service as service_module
from monitor.signalling.feed import Event
from monitor.signalling.server import SignalServer, serve_signals

WATCH = "/featurestore.v1.RetrainingService/WatchSignals"
ACKNOWLEDGE = "/featurestore.v1.RetrainingService/AcknowledgeSignal"


class Log:
    """Events as a database has them, and what was acknowledged."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.said: list[tuple[pb.AcknowledgeSignalRequest, str]] = []
        self.padding = ""
        self.away = False

    def add(self, service: str = "flight_delay@1") -> int:
        cursor = len(self.events) + 1
        signal = pb.RetrainingSignal(id=f"signal-{cursor}", service=service, reason=self.padding)
        data = pb.WatchSignalsResponse(cursor=cursor, signal=signal).SerializeToString()
        self.events.append(Event(cursor=cursor, service=service, data=data))
        return cursor

    def read(self, after: int, limit: int) -> list[Event]:
        self._reach()
        return self.events[after : after + limit]

    def newest(self) -> int:
        return len(self.events)

    def answer(self, said: pb.AcknowledgeSignalRequest, who: Caller | None) -> pb.AcknowledgeSignalResponse:
        self._reach()
        if said.id == "done":
            raise SignalStateError("Signal done is done.", hint="It stays so.")
        self.said.append((said, "" if who is None else who.name))
        return pb.AcknowledgeSignalResponse(state=said.state, cursor=self.add())

    def _reach(self) -> None:
        if self.away:
            raise MonitorError("The monitor's database is away.")


class Registry:
    """Tokens, as the registry hands them out."""

    def __init__(self) -> None:
        self.changes = 0
        self.known: list[Token] = []

    def revision(self) -> int:
        return self.changes

    def tokens(self) -> list[Token]:
        return self.known

    def replace(self, *tokens: Token) -> None:
        self.known = list(tokens)
        self.changes += 1


Start = Callable[..., SignalServer]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def start(tmp_path: Path, log: Log, registry: Registry) -> Iterator[Start]:
    started: list[SignalServer] = []

    def begin(port: int = 0, **settings: Any) -> SignalServer:
        config = Config(root=tmp_path, signals=SignalsConfig.model_validate(settings))
        started.append(SignalServer(config, log, registry, port=port))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def token(name: str, *scopes: str, services: tuple[str, ...] = ()) -> tuple[Token, tuple[tuple[str, str]]]:
    text = f"fs_{name:a<12}_{'x' * 43}"
    made = Token(
        name=name,
        id=text.split("_")[1],
        digest=digest_of(text),
        scopes=scopes,
        services=services,
        views=(),
        created_at=datetime.now(UTC),
        created_by="ada",
        expires_at=None,
        revoked_at=None,
    )
    return made, (("authorization", f"Bearer {text}"),)


def watch(channel: grpc.Channel, after: int = 0, *services: str, metadata: Any = ()) -> Any:
    asked = pb.WatchSignalsRequest(after=after, services=services)
    method = channel.unary_stream(
        WATCH,
        request_serializer=pb.WatchSignalsRequest.SerializeToString,
        response_deserializer=pb.WatchSignalsResponse.FromString,
    )
    return method(asked, metadata=metadata, timeout=30)


def acknowledge(channel: grpc.Channel, metadata: Any = (), **said: Any) -> pb.AcknowledgeSignalResponse:
    method = channel.unary_unary(
        ACKNOWLEDGE,
        request_serializer=pb.AcknowledgeSignalRequest.SerializeToString,
        response_deserializer=pb.AcknowledgeSignalResponse.FromString,
    )
    answer: pb.AcknowledgeSignalResponse = method(pb.AcknowledgeSignalRequest(**said), metadata=metadata, timeout=10)
    return answer


def refused(call: Callable[[], object]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value


def test_events_come_as_they_happen_after_those_that_there_were(start: Start, log: Log) -> None:
    for _ in range(3):
        log.add()
    with grpc.insecure_channel(start().address) as channel:
        stream = watch(channel, 1)
        assert [next(stream).cursor for _ in range(2)] == [2, 3]
        log.add()
        assert next(stream).signal.id == "signal-4"
        # An event that comes by this port is seen at once, not at the next look.
        assert acknowledge(channel, id="signal-4", state="SIGNAL_STATE_RUNNING").cursor == 5
        assert next(stream).cursor == 5
        stream.cancel()


def test_only_signals_of_the_services_that_are_named_come(start: Start, log: Log) -> None:
    for name in ("flight_delay@1", "churn@1", "flight_delay@2", "churn@2"):
        log.add(name)
    with grpc.insecure_channel(start().address) as channel:
        for services, expected in (
            (("churn",), [2, 4]),
            (("churn@2", "flight_delay@1"), [1, 4]),
            ((), [1, 2, 3, 4]),
        ):
            stream = watch(channel, 0, *services)
            assert [next(stream).cursor for _ in expected] == expected
            stream.cancel()


def test_a_watcher_that_resumes_after_any_restart_of_either_side_gets_each_event_once(start: Start, log: Log) -> None:
    """The server is closed and opened, streams are broken off, and events come all the while."""
    chance, seen, total = random.Random(7), [], 400
    writing = threading.Thread(target=lambda: [(log.add(), time.sleep(0.002)) for _ in range(total)])
    writing.start()
    server = start()
    restarts = 0
    while len(seen) < total:
        with grpc.insecure_channel(server.address) as channel:
            stream = watch(channel, seen[-1] if seen else 0)
            took = chance.randint(1, 60)
            closing = threading.Timer(chance.random() * 0.2, server.close) if restarts < 4 else None
            if closing is not None:
                closing.start()
            with suppress(grpc.RpcError):
                for event in islice(stream, min(took, total - len(seen))):
                    seen.append(event.cursor)  # noqa: PERF401 - those before the stream ends are kept
            stream.cancel()
        if closing is not None:
            closing.join()
            restarts += 1
            port = int(server.address.rpartition(":")[2])
            server.close = lambda: None  # type: ignore[method-assign]
            server = start(port)
    writing.join()
    assert restarts == 4
    assert seen == list(range(1, total + 1))


def test_a_server_that_ends_says_so_and_its_watchers_come_back(start: Start, log: Log) -> None:
    log.add()
    server = start()
    with grpc.insecure_channel(server.address) as channel:
        stream = watch(channel)
        assert next(stream).cursor == 1
        closing = threading.Thread(target=server.close)
        closing.start()
        error = refused(lambda: next(stream))
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "The server is stopping.")
        closing.join()
        server.close = lambda: None  # type: ignore[method-assign]


def test_watchers_that_read_nothing_are_bounded_and_let_go_and_delay_nobody(
    start: Start, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_module, "_STALLED_SECONDS", 1.0)
    log.padding = "x" * 500_000  # what waits on the way is some megabytes a connection
    for _ in range(50):
        log.add()
    server = start(max_watchers=20)
    # Without the probe a client's window stays small; with it one may grow until all events are on the way.
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
    channels = [grpc.insecure_channel(server.address, options=options) for _ in range(21)]
    try:
        stuck = [watch(channel) for channel in channels[:19]]
        for one in stuck:
            next(one)  # one event, and nothing more: the rest waits on the way
        quick = watch(channels[19])
        assert [next(quick).cursor for _ in range(50)] == list(range(1, 51))
        error = refused(lambda: next(watch(channels[20])))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "20 watch already, and no more may." in error.details()
        assert "max_watchers under [signals]" in error.details()
        deadline = time.monotonic() + 20
        while server._service.watching > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server._service.watching == 1, "the quick one alone has kept its place"
        again = watch(channels[20], 49)
        assert next(again).cursor == 50
        log.add()
        assert next(quick).cursor == 51
        # Who takes events again hears why the stream ends, and goes on from where it was.
        late, error = [1], None
        while error is None:
            try:
                late.append(next(stuck[0]).cursor)
            except grpc.RpcError as ended:
                error = ended
        assert (error.code(), error.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "An event was not taken in 1 seconds.",
        )
        assert late == list(range(1, late[-1] + 1))
        assert next(watch(channels[0], late[-1])).cursor == late[-1] + 1
    finally:
        for channel in channels:
            channel.close()


def test_an_acknowledgement_is_kept_and_what_cannot_be_is_a_status(start: Start, log: Log) -> None:
    with grpc.insecure_channel(start().address) as channel:
        answer = acknowledge(channel, id="a", state="SIGNAL_STATE_DONE", dataset="d@2", model="m@2", reason="it is")
        assert (answer.state, answer.cursor) == (pb.SIGNAL_STATE_DONE, 1)
        ((said, who),) = log.said
        assert (said.id, said.dataset, said.model, said.reason, who) == ("a", "d@2", "m@2", "it is", "")
        error = refused(lambda: acknowledge(channel, id="done", state="SIGNAL_STATE_RUNNING"))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error.details() == "Signal done is done.\nHint: It stays so."
        for path in (ACKNOWLEDGE, WATCH):
            error = refused(lambda path=path: list(channel.stream_stream(path)(iter([b"\xff"]), timeout=10)))
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "Generate the client from signals.proto." in error.details()
        error = refused(lambda: next(watch(channel, 99)))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        error = refused(lambda: next(watch(channel, 0, *(["x"] * 1_001))))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_database_that_is_away_ends_no_stream_and_refuses_acknowledgements(start: Start, log: Log) -> None:
    log.add()
    with grpc.insecure_channel(start().address) as channel, capture_logs() as logged:
        stream = watch(channel)
        assert next(stream).cursor == 1
        log.away = True
        error = refused(lambda: acknowledge(channel, id="a", state="SIGNAL_STATE_DONE"))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        time.sleep(0.7)
        log.away = False
        log.add()
        assert next(stream).cursor == 2
        stream.cancel()
    assert {one["event"] for one in logged} >= {"request failed", "background task failed"}


def test_a_token_opens_the_port_for_its_scope_and_its_services(start: Start, log: Log, registry: Registry) -> None:
    all_of_them, every = token("trainer", "signals")
    limited, some = token("churner", "signals", "read", services=("churn",))
    other, none = token("checkout", "read", "push", "log")
    registry.replace(all_of_them, limited, other)
    log.add("churn@1")
    log.add("flight_delay@1")
    log.add("churn@2")
    with grpc.insecure_channel(start(authentication="token").address) as channel:
        for metadata, code in (
            ((), grpc.StatusCode.UNAUTHENTICATED),
            ((("authorization", "Bearer fs_nobody_x"),), grpc.StatusCode.UNAUTHENTICATED),
            (none, grpc.StatusCode.PERMISSION_DENIED),
        ):
            assert refused(lambda metadata=metadata: next(watch(channel, metadata=metadata))).code() is code
            said = {"id": "a", "state": "SIGNAL_STATE_DONE"}
            assert refused(lambda said=said, shown=metadata: acknowledge(channel, shown, **said)).code() is code
        stream = watch(channel, metadata=every)
        assert [next(stream).cursor for _ in range(3)] == [1, 2, 3]
        stream.cancel()
        # Whose token is limited sees what it may see, and is told when it asks for more.
        stream = watch(channel, metadata=some)
        assert [next(stream).cursor for _ in range(2)] == [1, 3]
        stream.cancel()
        error = refused(lambda: next(watch(channel, 0, "churn", "flight_delay@1", metadata=some)))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "--scope signals --service flight_delay" in error.details()
        acknowledge(channel, every, id="a", state="SIGNAL_STATE_DONE")
    assert [who for _, who in log.said] == ["trainer"]


def test_a_stream_ends_soon_after_its_token_is_revoked(start: Start, log: Log, registry: Registry) -> None:
    made, metadata = token("trainer", "signals")
    registry.replace(made)
    log.add()
    with grpc.insecure_channel(start(authentication="token").address) as channel:
        stream = watch(channel, metadata=metadata)
        next(stream)
        registry.replace(replace(made, revoked_at=datetime.now(UTC)))
        error = refused(lambda: next(stream))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert 'Token "trainer" was revoked on' in error.details()


def test_health_is_open_and_reflection_tells_what_there_is(start: Start, registry: Registry) -> None:
    made, metadata = token("trainer", "signals")
    registry.replace(made)
    with grpc.insecure_channel(start(authentication="token").address) as channel:
        for name in ("", "featurestore.v1.RetrainingService"):
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = reflect(iter([asked]), metadata=metadata)
        assert "featurestore.v1.RetrainingService" in [one.name for one in answer.list_services_response.service]
        asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="featurestore.v1.RetrainingService")
        (answer,) = reflect(iter([asked]), metadata=metadata)
        assert answer.file_descriptor_response.file_descriptor_proto


def test_a_port_that_is_taken_is_named(start: Start, tmp_path: Path, log: Log, registry: Registry) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        with pytest.raises(AddressInUseError, match="for signals, is taken by another process") as refusal:
            start(held.getsockname()[1])
        assert "[signals]" in refusal.value.hint
    with pytest.raises(ConfigError, match=r"cannot be served at") as refusal:
        start(host="256.0.0.1")
    assert "[signals]" in refusal.value.hint
    assert serve_signals(Config(root=tmp_path), log, registry) is None
    rehearsal = Config(root=tmp_path, signals=SignalsConfig(port=7000, command=("true",))).for_replay("july")
    assert (rehearsal.signals.port, rehearsal.signals.command) == (0, ())


def test_a_port_that_others_reach_is_told_of(start: Start, registry: Registry) -> None:
    with capture_logs() as logged:
        start(host="0.0.0.0")
    said = [one["event"] for one in logged if one["log_level"] == "warning"]
    assert said == [
        "whoever reaches this port may see every retraining signal and say what became of it",
        "signals pass this port in clear text",
    ]
    with capture_logs() as logged:
        start(authentication="token")
    (warning,) = [one for one in logged if one["log_level"] == "warning"]
    assert "featurestore token create NAME --scope signals" in warning["hint"]
    assert registry.known == []


def test_tls_is_the_ports_own(start: Start, log: Log, tmp_path: Path, certificate: tuple[bytes, bytes]) -> None:
    for name, content in zip(("monitor.pem", "monitor.key"), certificate, strict=True):
        (tmp_path / name).write_bytes(content)
    log.add()
    server = start(tls=TlsConfig(certificate="monitor.pem", key="monitor.key"))
    credentials = grpc.ssl_channel_credentials(root_certificates=certificate[0])
    port = server.address.rpartition(":")[2]
    with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
        stream = watch(channel)
        assert next(stream).cursor == 1
        stream.cancel()
    (tmp_path / "monitor.key").unlink()
    with pytest.raises(ConfigError, match=r'"signals\.tls\.key": .* cannot be read'):
        start(tls=TlsConfig(certificate="monitor.pem", key="monitor.key"))
