"""Servers as users start them, with tokens and TLS: what they say, whom they answer, what they learn while they run."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from featurestore import Entity, FeatureService, FeatureStore, FeatureView, Field
from featurestore.cli.app import run as command_line
from featurestore.serving import exposure
from featurestore.settings.serving import ServingConfig, TlsConfig
from featurestore.types import Int64
from featurestore.v1 import serving_pb2 as pb
from tests import forking

SCHEMA = "/featurestore.v1.ServingService/GetServiceSchema"
VIEW = FeatureView(name="counts", entities=[Entity(name="user", dtypes=[Int64])], schema=[Field(name="x", dtype=Int64)])
SERVICES = [FeatureService(name=name, features=[VIEW]) for name in ("svc", "other")]


class Served:
    """A server process, what it announced, and its log."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "featurestore", "serve", "--port", "0", "--repo", str(folder), *arguments]
        self.process = forking.Forked(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r" at (\S+):(\d+),", self.line)
        self.port = int(found[2]) if found else 0
        self.log: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else {"event": line})

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    def said(self, event: str, *, by: int = 1) -> dict[str, Any]:
        """Wait until so many processes have an event in their log, and return the first."""
        deadline = time.monotonic() + 20
        while True:
            found = [line for line in list(self.log) if line["event"] == event]
            if len(found) >= by:
                return found[0]
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    with FeatureStore.init(tmp_path / "repo") as store:
        store.apply(SERVICES)
    return tmp_path / "repo"


@pytest.fixture
def start(repo: Path) -> Iterator[Callable[..., Served]]:
    served: list[Served] = []

    def begin(*arguments: str, **settings: str) -> Served:
        file = repo / "featurestore.toml"
        text = file.read_text()
        if settings:
            lines = "".join(f'{name.replace("__", ".")} = "{value}"\n' for name, value in settings.items())
            file.write_text(text.replace("[serving]\n", f"[serving]\n{lines}"))
        served.append(Served(repo, *arguments))
        return served[-1]

    yield begin
    for one in served:
        one.stop()


def code(port: int, metadata: Any = (), credentials: Any = None, service: str = "svc") -> str:
    """Return the status of a call over a connection of its own."""
    about = [("grpc.use_local_subchannel_pool", 1)]
    address = f"127.0.0.1:{port}"
    channel = (
        grpc.insecure_channel(address, options=about)
        if credentials is None
        else grpc.secure_channel(address, credentials, options=about)
    )
    with channel:
        try:
            asked = pb.GetServiceSchemaRequest(service=service).SerializeToString()
            channel.unary_unary(SCHEMA)(asked, metadata=metadata, timeout=5)
        except grpc.RpcError as error:
            name: str = error.code().name
            return name
    return "OK"


def soon(expected: str, ask: Callable[[], str], within: float = 10.0) -> float:
    """Wait until a call has a status, in ten connections running: several workers share the port."""
    began = time.monotonic()
    while [ask() for _ in range(10)] != [expected] * 10:
        assert time.monotonic() < began + within, ask()
        time.sleep(0.05)
    return time.monotonic() - began


def bearer(text: str) -> Any:
    return (("authorization", f"Bearer {text}"),)


def test_workers_learn_of_tokens_that_are_made_revoked_and_expire(start: Callable[..., Served], repo: Path) -> None:
    served = start("--workers", "2", authentication="token")
    assert served.line.rstrip().endswith(f"at 127.0.0.1:{served.port}, 2 workers, tokens.")
    assert served.said("there is no valid token, so every call will be refused")["hint"]
    assert code(served.port) == "UNAUTHENTICATED"
    with FeatureStore(repo) as store:
        made = store.registry.create_token("some", ["read"], services=["svc"], who="ada")
        soon("OK", lambda: code(served.port, bearer(made.text)))
        assert code(served.port, bearer(made.text), service="svc@1") == "OK"
        assert code(served.port, bearer(made.text), service="other") == "PERMISSION_DENIED"
        expires = datetime.now(UTC) + timedelta(seconds=8)
        brief = store.registry.create_token("brief", ["read"], expires_at=expires, who="ada")
        soon("OK", lambda: code(served.port, bearer(brief.text)), within=8)
        store.registry.revoke_token("some", who="ada")
        soon("UNAUTHENTICATED", lambda: code(served.port, bearer(made.text)))
        soon("UNAUTHENTICATED", lambda: code(served.port, bearer(brief.text)), within=20)
        time.sleep(2.5)  # both workers have noticed, and one of them has entered it
        entered = [(one.object, one.details["change"]) for one in store.registry.audit(action="token")]
        assert entered.count(("brief", "expire")) == 1
        assert store.registry.verify_audit() == []
    assert served.stop() == 0
    shown = json.dumps(served.log)
    assert made.text not in shown
    assert made.text.rpartition("_")[2] not in shown


def test_a_registry_that_is_away_takes_no_token_away(start: Callable[..., Served], repo: Path) -> None:
    with FeatureStore(repo) as store:
        made = store.registry.create_token("some", ["read"], who="ada")
    served = start(authentication="token")
    assert code(served.port, bearer(made.text)) == "OK"
    for file in (repo / "data").glob("registry.db*"):
        file.write_bytes(b"no database any more" * 500)
    served.said("background task failed")
    assert code(served.port, bearer(made.text)) == "OK"
    assert code(served.port, bearer("fs_a_b")) == "UNAUTHENTICATED"


def test_a_certificate_is_renewed_in_all_workers_without_a_restart(
    start: Callable[..., Served], repo: Path, authority: Any
) -> None:
    (repo / "tls").mkdir()

    def write(pair: tuple[bytes, bytes]) -> int:
        (repo / "tls" / "server.key").write_bytes(pair[1])
        (repo / "tls" / "server.pem").write_bytes(pair[0])
        return x509.load_pem_x509_certificate(pair[0]).serial_number

    (repo / "tls" / "ca.pem").write_bytes(authority.pem)
    first = write(authority.issue())
    served = start(
        "--workers",
        "2",
        tls__certificate="tls/server.pem",
        tls__key="tls/server.key",
        tls__client_ca="tls/ca.pem",
    )
    assert served.line.rstrip().endswith(", 2 workers, mutual TLS.")
    assert served.said("certificate in use")["serial"] == f"{first:x}"
    certificate, key = authority.issue()
    mine = grpc.ssl_channel_credentials(authority.pem, key, certificate)
    assert code(served.port, credentials=mine) == "OK"
    assert code(served.port, credentials=grpc.ssl_channel_credentials(authority.pem)) == "UNAVAILABLE"
    assert code(served.port) == "UNAVAILABLE"
    second = write(authority.issue())
    served.said("certificate changed", by=2)
    soon(f"{second:x}", lambda: f"{_shown(served.port):x}")
    assert code(served.port, credentials=mine) == "OK"
    (repo / "tls" / "server.key").write_text("broken")
    served.said("certificate not changed", by=2)
    assert _shown(served.port) == second
    events = [line["event"] for line in served.log]
    assert [events.count(one) for one in ("certificate in use", "certificate changed", "certificate not changed")] == [
        1,
        2,
        2,
    ]


def _shown(port: int) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def test_a_certificate_that_cannot_be_used_is_said_in_a_sentence_and_nothing_starts(
    start: Callable[..., Served], repo: Path, authority: Any, stranger: Any
) -> None:
    (repo / "server.pem").write_bytes(authority.issue()[0])
    (repo / "server.key").write_bytes(stranger.issue()[1])
    served = start("--workers", "2", tls__certificate="server.pem", tls__key="server.key")
    assert served.stop() == 1
    assert served.line == ""
    assert [line["event"].split(":")[0] for line in served.log] == ["Error", "Hint"]
    assert "is not that of the certificate" in served.log[0]["event"]


def test_commands_call_a_guarded_server_with_what_they_are_given(
    start: Callable[..., Served], repo: Path, authority: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, key = authority.issue()
    for name, content in (("server.pem", certificate), ("server.key", key), ("ca.pem", authority.pem)):
        (repo / name).write_bytes(content)
    with FeatureStore(repo) as store:
        row = {"user": 1, "x": 7, "event_timestamp": datetime.now(UTC)}
        store.ingest("counts", [row])
        store.materialize("counts")
        (repo / "token").write_text(store.registry.create_token("some", ["read"], who="ada").text + "\n")
    served = start(authentication="token", tls__certificate="server.pem", tls__key="server.key")
    address = f"127.0.0.1:{served.port}"
    secured = ["--ca", str(repo / "ca.pem")]
    known = [*secured, "--token-file", str(repo / "token")]

    def said(*arguments: str) -> tuple[int, str]:
        code = command_line([*arguments], debug=False)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    assert said("health", address, *secured) == (0, f"{address} is serving.\n")
    assert said("health", address)[0] == 1
    assert '"x": 7' in said("get", "svc", "user=1", "--server", address, *known, "--format", "json")[1]
    code, text = said("get", "svc", "user=1", "--server", address, *secured)
    assert code == 1
    assert text.startswith("Error: ")
    assert "token" in text
    load = ("loadtest", "svc", "--server", address, "--rate", "20", "--duration", "1s", "-C", str(repo))
    tested = json.loads(said(*load, *known, "--format", "json")[1])
    assert set(tested["codes"]) == {"OK"}
    code, text = said(*load, *secured)
    assert code == 1
    assert "token" in text
    code, text = said(*load, "--token-file", str(repo / "nothing"))
    assert code == 1
    assert "nothing cannot be read" in text


def test_a_port_that_others_can_reach_and_nothing_guards_is_warned_of(start: Callable[..., Served]) -> None:
    served = start("--host", "0.0.0.0")
    served.said("values pass this port in clear text")
    assert [(line["level"], line["event"]) for line in served.log[:2]] == [
        ("warning", "whoever reaches this port may read every feature and change what is served"),
        ("warning", "values pass this port in clear text"),
    ]
    assert all(line["hint"] for line in served.log[:2])


PLAIN, TLS = TlsConfig(), TlsConfig(certificate="a", key="b")
MUTUAL = TlsConfig(certificate="a", key="b", client_ca="c")


@pytest.mark.parametrize(
    ("address", "tls", "authentication", "said"),
    [
        ("127.0.0.1:1", PLAIN, "none", []),
        ("[::1]:1", PLAIN, "none", []),
        ("localhost:1", PLAIN, "none", []),
        ("0.0.0.0:1", PLAIN, "none", ["whoever", "values pass"]),
        ("[::]:1", PLAIN, "none", ["whoever", "values pass"]),
        ("192.0.2.1:1", TLS, "none", ["whoever"]),
        ("192.0.2.1:1", MUTUAL, "none", []),
        ("0.0.0.0:1", PLAIN, "token", ["there is no valid token", "tokens and values pass"]),
        ("0.0.0.0:1", TLS, "token", ["there is no valid token"]),
        ("127.0.0.1:1", PLAIN, "token", ["there is no valid token"]),
    ],
)
def test_what_is_open_is_said_and_nothing_else(
    address: str, tls: TlsConfig, authentication: Any, said: list[str]
) -> None:
    with capture_logs() as logged:
        exposure.warn(ServingConfig(tls=tls, authentication=authentication), address, list)
    assert [line["event"].startswith(one) for line, one in zip(logged, said, strict=True)] == [True] * len(said)
    assert all(line["hint"] for line in logged)
