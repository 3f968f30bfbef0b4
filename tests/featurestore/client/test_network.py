"""Calls over gRPC: attempts, deadlines, several servers and connections, tokens, TLS, and what an error says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from featurestore.client import FeatureClient
from featurestore.errors import (
    ConfigError,
    DeadlineExceededError,
    FeatureStoreError,
    InvalidRequestError,
    LimitExceededError,
    ObjectNotFoundError,
    PermissionDeniedError,
    ServerUnavailableError,
    ServingError,
    UnauthenticatedError,
)

KEYS = {"k": [1, 2]}


def failing(code: grpc.StatusCode, text: str = "", *, times: int = 1_000_000, then: Any = None) -> Any:
    """Return an answer that is a status so many times, and then another one."""
    left = iter(range(times))

    def answer(request: bytes, context: Any) -> bytes:
        if next(left, None) is None:
            made: bytes = then(request, context)
            return made
        context.abort(code, text)
        raise AssertionError("abort raises")

    return answer


GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


@pytest.mark.parametrize("code", GONE)
def test_a_call_is_tried_again_when_its_server_was_not_there_or_went_away(
    connect: Any, scripted: Any, code: grpc.StatusCode
) -> None:
    server = scripted()
    server.answers["GetOnlineFeatures"] = failing(code, times=2, then=server.answers["GetOnlineFeatures"])
    assert connect(server.address).get_online_features("svc", KEYS).to_dict() == {"x": [1.0, 2.0]}
    assert server.count("GetOnlineFeatures") == 3


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code not in (grpc.StatusCode.OK, *GONE)])
def test_any_other_status_is_an_error_at_once(connect: Any, scripted: Any, code: grpc.StatusCode) -> None:
    server = scripted()
    server.answers["GetServiceSchema"] = failing(code, "Why.")
    with pytest.raises(FeatureStoreError) as caught:
        connect(server.address).get_schema("svc")
    assert caught.value.__suppress_context__
    assert server.count("GetServiceSchema") == 1


def test_a_clock_that_may_have_moved_is_not_moved_again(connect: Any, scripted: Any) -> None:
    server = scripted()
    server.answers["AdvanceClock"] = failing(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(ServerUnavailableError):
        connect(server.address).advance_clock(datetime(2024, 1, 1, tzinfo=UTC))
    assert server.count("AdvanceClock") == 1


def test_attempts_end_within_the_deadline_and_with_their_number(connect: Any, scripted: Any) -> None:
    server = scripted()
    server.answers["GetServiceSchema"] = failing(grpc.StatusCode.UNAVAILABLE, "It cannot.\nHint: Wait.")
    started = time.monotonic()
    with pytest.raises(ServerUnavailableError, match="It cannot") as caught:
        connect(server.address, timeout=0.5, retries=1000).get_schema("svc")
    assert time.monotonic() - started < 3
    assert caught.value.hint == "Wait."
    assert 2 <= server.count("GetServiceSchema") <= 6
    server.calls.clear()
    with pytest.raises(ServerUnavailableError):
        connect(server.address, timeout=30, retries=1).get_schema("svc")
    assert server.count("GetServiceSchema") == 2


@pytest.mark.parametrize("per_call", [True, False])
def test_a_server_that_is_too_slow_is_not_waited_for(connect: Any, scripted: Any, per_call: bool) -> None:
    server = scripted()
    go_on = threading.Event()
    server.answers["GetServiceSchema"] = lambda *_: bytes(go_on.wait(20))
    client, options = (
        (connect(server.address), {"timeout": 0.2}) if per_call else (connect(server.address, timeout=0.2), {})
    )
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
        client.get_schema("svc", **options)
    assert time.monotonic() - started < 10
    go_on.set()


def test_the_deadline_is_that_of_the_whole_and_not_of_each_call(connect: Any, scripted: Any) -> None:
    server = scripted()
    whole = server.answers["GetServiceSchema"]

    def slow(request: bytes, context: Any) -> bytes:
        left.append(context.time_remaining())
        time.sleep(0.3)
        return bytes(whole(request, context))

    left: list[float] = []
    server.answers["GetServiceSchema"] = slow
    server.answers["GetOnlineFeatures"] = lambda _, context: left.append(context.time_remaining()) or b""
    with pytest.raises(ServingError, match="names no service"):
        connect(server.address, timeout=5).get_online_features("svc", KEYS)
    assert left[0] < 5.5
    assert left[1] <= left[0] - 0.25


def test_another_server_answers_where_one_is_gone_and_at_once(connect: Any, scripted: Any) -> None:
    gone, there = scripted(), scripted()
    gone.stop()
    client = connect([gone.address, there.address], retries=0)
    for _ in range(20):
        assert client.get_online_features("svc", KEYS).to_dict() == {"x": [1.0, 2.0]}
    assert client.is_serving()
    there.stop()
    assert not client.is_serving()
    with pytest.raises(ServerUnavailableError, match=f"{gone.address}, {there.address}"):
        client.get_schema("svc")


def test_no_call_fails_while_one_server_of_two_is_drained(scripted: Any) -> None:
    draining, staying = scripted(), scripted()
    errors: list[Exception] = []
    stop = threading.Event()

    def ask(client: FeatureClient) -> None:
        while not stop.is_set():
            try:
                client.get_online_features("svc", KEYS)
            except FeatureStoreError as error:
                errors.append(error)

    with FeatureClient([draining.address, staying.address], timeout=20) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        _until(lambda: len(draining.calls) > 50)
        draining.stop(grace=5)
        before = len(staying.calls)
        _until(lambda: len(staying.calls) > before + 50)
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_server_that_comes_back_is_used_again(connect: Any, scripted: Any) -> None:
    server = scripted()
    client = connect(server.address, timeout=20, retries=100)
    client.get_schema("svc")
    server.stop()
    with pytest.raises(ServerUnavailableError):
        client.get_schema("svc", timeout=0.3)
    again = scripted(address=server.address)
    assert client.get_schema("svc").service == "svc@1"
    assert again.calls


@pytest.mark.parametrize("connections", [1, 3])
def test_calls_in_turn_use_each_connection(connect: Any, scripted: Any, connections: int) -> None:
    server = scripted()
    client = connect(server.address, connections=connections)
    for _ in range(3 * connections):
        client.get_schema("svc")
    peers = [peer for _, peer, _ in server.calls]
    assert {peers.count(peer) for peer in peers} == {3}
    assert len(set(peers)) == connections


def test_a_call_takes_the_connection_that_is_least_busy(scripted: Any) -> None:
    server = scripted()
    go_on = threading.Event()
    whole = server.answers["GetServiceSchema"]

    def answer(request: bytes, context: Any) -> bytes:
        if b"slow" in request:
            go_on.wait(20)
        return bytes(whole(request, context))

    server.answers["GetServiceSchema"] = answer
    with FeatureClient(server.address, connections=2, timeout=30) as client:
        slow = threading.Thread(target=client.get_schema, args=("slow",))
        slow.start()
        _until(lambda: len(server.calls) == 1)
        for _ in range(4):
            client.get_schema("svc")
        go_on.set()
        slow.join()
    busy, *others = [peer for _, peer, _ in server.calls]
    assert busy not in others


def test_a_token_is_sent_however_it_is_given(connect: Any, scripted: Any, tmp_path: Path) -> None:
    server = scripted()
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    for token in ("a-text", file, lambda: "from-a-function"):
        client = connect(server.address, token=token)
        client.get_schema("svc")
    sent = [metadata["authorization"] for _, _, metadata in server.calls]
    assert sent == ["Bearer a-text", "Bearer from-a-file", "Bearer from-a-function"]
    client = connect(server.address, token=file)
    client.get_schema("svc")
    replacement = tmp_path / "new"
    replacement.write_text("another")
    replacement.rename(file)
    client.get_schema("svc")
    assert server.calls[-1][2]["authorization"] == "Bearer another"
    assert connect(server.address).get_schema("svc")
    assert "authorization" not in server.calls[-1][2]


def test_a_token_that_is_none_is_refused_without_being_shown(connect: Any, scripted: Any, tmp_path: Path) -> None:
    server = scripted()
    for token in ("", "se cret", "secret\n", "sécret"):
        with pytest.raises(ConfigError, match="characters") as caught:
            connect(server.address, token=token).get_schema("svc")
        assert "cret" not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read"):
        connect(server.address, token=tmp_path / "none").get_schema("svc")


def test_a_token_does_not_cross_a_network_unencrypted_unless_that_is_said(connect: Any) -> None:
    for address in ("10.0.0.1:6566", "features.example:6566", "dns:///features.example:6566"):
        with pytest.raises(ConfigError, match="cross the network"):
            connect(address, token="t")
        connect(address, token="t", tls=False)
        connect(address, token="t", tls=True)
    for address in ("127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/features"):
        connect(address, token="t")


@pytest.mark.parametrize(
    ("code", "text", "kind", "said", "hint"),
    [
        ("UNAUTHENTICATED", "", UnauthenticatedError, "does not know who calls", "token="),
        ("UNAUTHENTICATED", "The token is revoked.\nHint: Ask.", UnauthenticatedError, "is revoked", "Ask"),
        ("PERMISSION_DENIED", "It may not push.", PermissionDeniedError, "may not push", ""),
        ("RESOURCE_EXHAUSTED", "At most 5 rows.\nHint: Fewer.", LimitExceededError, "At most 5", "Fewer"),
        ("RESOURCE_EXHAUSTED", "Received message larger", LimitExceededError, "too large for one message", "fewer"),
        ("INVALID_ARGUMENT", "No.", InvalidRequestError, "No", ""),
        ("NOT_FOUND", "No.", ObjectNotFoundError, "No", ""),
        ("UNIMPLEMENTED", "", InvalidRequestError, "has no GetServiceSchema", "older"),
        ("INTERNAL", "It failed.", ServingError, "It failed", ""),
        ("DATA_LOSS", "", ServingError, "answered DATA_LOSS", ""),
    ],
)
def test_a_status_is_an_error_that_says_what_to_do(
    connect: Any, scripted: Any, code: str, text: str, kind: type[FeatureStoreError], said: str, hint: str
) -> None:
    server = scripted()
    server.answers["GetServiceSchema"] = failing(grpc.StatusCode[code], text)
    with pytest.raises(kind, match=said) as caught:
        connect(server.address).get_schema("svc")
    assert type(caught.value) is kind
    assert hint in caught.value.hint


def test_bytes_that_are_no_answer_are_an_error(connect: Any, scripted: Any) -> None:
    server = scripted()
    server.answers["GetServiceSchema"] = lambda *_: b"\xff\xff"
    with pytest.raises(ServingError, match="is not a GetServiceSchemaResponse"):
        connect(server.address).get_schema("svc")


@pytest.mark.parametrize(
    ("addresses", "options", "said"),
    [
        ((), {}, "needs the address"),
        ("localhost", {}, "no address"),
        ([7], {}, "no address"),
        ("localhost:1", {"connections": 0}, "0 connections"),
        ("localhost:1", {"certificate": "c"}, "go together"),
        ("localhost:1", {"ca": "c", "tls": False}, "tls=False"),
        ("localhost:1", {"ca": "no-such-file"}, "no-such-file cannot be read"),
    ],
)
def test_a_client_that_cannot_work_is_refused_when_it_is_made(
    connect: Any, addresses: Any, options: Any, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        connect(addresses, **options)
    assert caught.value.hint


def test_a_closed_client_says_that_it_is_closed(connect: Any, scripted: Any) -> None:
    server = scripted()
    client = connect(server.address)
    client.get_schema("svc")
    client.close()
    assert client.is_serving() is False
    with pytest.raises(ServingError, match="is closed"):
        client.get_schema("svc")


def test_a_call_that_is_under_way_when_its_client_is_closed_ends_with_that_error(scripted: Any) -> None:
    server = scripted()
    go_on = threading.Event()
    server.answers["GetServiceSchema"] = lambda *_: bytes(go_on.wait(20))
    client = FeatureClient(server.address, timeout=20)
    errors: list[FeatureStoreError] = []

    def ask() -> None:
        try:
            client.get_schema("svc")
        except FeatureStoreError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    _until(lambda: len(server.calls) == 1)
    client.close()
    asking.join()
    go_on.set()
    assert "is closed" in errors[0].message


class Signer:
    """An authority that signs certificates into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.ca = folder / "ca.pem"
        self._write(self.ca, self._certificate(self._name, self._key.public_key(), ca=True))

    def signed(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate for localhost, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self._write(certificate, self._certificate(subject, key.public_key(), ca=False))
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, file

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, file: Path, certificate: x509.Certificate) -> None:
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def test_tls_shows_the_server_to_the_client_and_the_client_to_the_server(
    connect: Any, scripted: Any, tmp_path: Path
) -> None:
    signer = Signer(tmp_path)
    certificate, key = signer.signed("server")
    pair = [(key.read_bytes(), certificate.read_bytes())]
    server = scripted(grpc.ssl_server_credentials(pair))
    assert connect(server.address, ca=signer.ca, token="t").get_schema("svc").service == "svc@1"
    for options in ({"tls": True}, {}):  # one that trusts nobody who signed it, and one that speaks no TLS
        with pytest.raises(ServerUnavailableError, match="No feature server answers") as caught:
            connect(server.address, retries=0, **options).get_schema("svc")
        assert ("over TLS" in caught.value.message) == bool(options)
        assert ("ca=" in caught.value.hint) == bool(options)
    ours, our_key = signer.signed("client")
    mutual = scripted(grpc.ssl_server_credentials(pair, signer.ca.read_bytes(), require_client_auth=True))
    found = connect(mutual.address, ca=signer.ca, certificate=ours, key=our_key).get_schema("svc")
    assert found.service == "svc@1"
    with pytest.raises(ServerUnavailableError):
        connect(mutual.address, ca=signer.ca, retries=0).get_schema("svc")
