"""The thin client against the real port: it waits for a monitor that is away, and goes on where it was."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from featurestore.client import SignalClient
from featurestore.config import Config
from featurestore.errors import (
    ConfigError,
    InvalidRequestError,
    LimitExceededError,
    ServerUnavailableError,
    ServingError,
    SignalStateError,
    UnauthenticatedError,
)
from featurestore.settings.signals import SignalsConfig
from featurestore.v1 import signals_pb2 as pb
from monitor.signalling.feed import Event
from monitor.signalling.server import SignalServer


class Log:
    """Events as a database has them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.said: list[pb.AcknowledgeSignalRequest] = []

    def add(self) -> None:
        cursor = len(self.events) + 1
        data = pb.WatchSignalsResponse(cursor=cursor).SerializeToString()
        self.events.append(Event(cursor=cursor, service="scoring@1", data=data))

    def read(self, after: int, limit: int) -> list[Event]:
        return self.events[after : after + limit]

    def newest(self) -> int:
        return len(self.events)

    def answer(self, said: pb.AcknowledgeSignalRequest, _: Any) -> pb.AcknowledgeSignalResponse:
        if said.id == "done":
            raise SignalStateError("Signal done is done.", hint="It stays so.")
        self.said.append(said)
        return pb.AcknowledgeSignalResponse(state=said.state, cursor=1)


class Registry:
    """No tokens."""

    def revision(self) -> int:
        return 1

    def tokens(self) -> list[Any]:
        return []


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def start(tmp_path: Path, log: Log) -> Iterator[Callable[..., SignalServer]]:
    started: list[SignalServer] = []

    def begin(port: int = 0, **settings: Any) -> SignalServer:
        config = Config(root=tmp_path, signals=SignalsConfig.model_validate(settings))
        started.append(SignalServer(config, log, Registry(), port=port))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def test_it_goes_on_where_it_was_after_the_monitor_was_away(start: Callable[..., SignalServer], log: Log) -> None:
    log.add()
    server = start()
    with SignalClient(server.address) as client:
        events = client.watch()
        assert next(events).cursor == 1
        server.close()
        log.add()
        log.add()
        begun: list[SignalServer] = []
        port = int(server.address.rpartition(":")[2])
        again = threading.Timer(0.5, lambda: begun.append(start(port)))
        again.start()
        assert [next(events).cursor for _ in range(2)] == [2, 3]
        again.join()
        server.close = lambda: None  # type: ignore[method-assign]
        # A program that begins anew gives the cursor that it has kept.
        assert next(client.watch(after=2, services=["scoring"])).cursor == 3


def test_an_acknowledgement_waits_for_the_monitor_too(start: Callable[..., SignalServer], log: Log) -> None:
    server = start()
    port = int(server.address.rpartition(":")[2])
    server.close()
    server.close = lambda: None  # type: ignore[method-assign]
    again = threading.Timer(0.5, lambda: start(port))
    with SignalClient(server.address) as client:
        again.start()
        answer = client.acknowledge("a", "DONE", dataset="d@2", model="m@2", reason="it is")
        again.join()
        assert answer.state == pb.SIGNAL_STATE_DONE
    (said,) = log.said
    assert (said.id, said.dataset, said.model, said.reason) == ("a", "d@2", "m@2", "it is")


def test_several_monitors_are_one(start: Callable[..., SignalServer], log: Log) -> None:
    """Only the one that leads listens."""
    log.add()
    server = start()
    with SignalClient(["127.0.0.1:1", server.address]) as client:
        assert next(client.watch()).cursor == 1
        assert client.acknowledge("a", "RUNNING").state == pb.SIGNAL_STATE_RUNNING


def test_what_cannot_be_is_an_error_in_our_words(start: Callable[..., SignalServer], log: Log) -> None:
    address = start(max_watchers=1).address
    with SignalClient(address) as client:
        with pytest.raises(InvalidRequestError, match="WORKING"):
            client.acknowledge("a", "WORKING")
        with pytest.raises(SignalStateError, match="Signal done is done") as refused:
            client.acknowledge("done", "RUNNING")
        assert refused.value.hint == "It stays so."
        with pytest.raises(InvalidRequestError, match="There is no event 9 here"):
            next(client.watch(after=9))
        log.add()
        watching = client.watch()
        next(watching)
        with pytest.raises(LimitExceededError, match="1 watch already"):
            next(client.watch())
    with pytest.raises(ServingError, match="is closed"):
        next(watching)
    with pytest.raises(ServingError, match="is closed"):
        client.acknowledge("a", "DONE")


def test_nobody_there_is_said_after_the_timeout() -> None:
    with (
        SignalClient("127.0.0.1:1", timeout=0.3) as client,
        pytest.raises(ServerUnavailableError, match=r"No monitor answers at 127\.0\.0\.1:1") as refused,
    ):
        client.acknowledge("a", "DONE")
    assert "featurestore monitor start" in refused.value.hint


def test_a_token_goes_with_each_call(start: Callable[..., SignalServer]) -> None:
    address = start(authentication="token").address
    for token, kind in ((None, UnauthenticatedError), ("fs_nobody_x", UnauthenticatedError)):
        with SignalClient(address, token=token) as client, pytest.raises(kind):
            next(client.watch())
    with pytest.raises(ConfigError, match="cross the network"):
        SignalClient("monitor.example.com:7000", token="fs_nobody_x")


def test_it_speaks_tls(start: Callable[..., SignalServer], log: Log, tmp_path: Path, certificate: Any) -> None:
    for name, content in zip(("monitor.pem", "monitor.key"), certificate, strict=True):
        (tmp_path / name).write_bytes(content)
    log.add()
    server = start(tls={"certificate": "monitor.pem", "key": "monitor.key"})
    where = f"localhost:{server.address.rpartition(':')[2]}"
    with SignalClient(where, ca=tmp_path / "monitor.pem") as client:
        assert [one.cursor for one in islice(client.watch(), 1)] == [1]


def test_it_needs_nothing_but_grpc_and_protobuf() -> None:
    program = (
        "import sys; from featurestore.client.signals import SignalClient; "
        "print(sorted({'polars', 'duckdb', 'pydantic', 'sqlalchemy', 'monitor'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
