"""TLS over real connections: who is let in, and certificates that change while calls go on."""

from __future__ import annotations

import queue
import re
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from featurestore.config import Config
from featurestore.serving.certificates import Certificates
from featurestore.serving.rpc.credentials import server_credentials
from featurestore.settings.serving import ServingConfig, TlsConfig
from featurestore.v1 import serving_pb2 as pb

SERVICE = "/featurestore.v1.ServingService/"
SCHEMA = f"{SERVICE}GetServiceSchema"
ASKED = pb.GetServiceSchemaRequest(service="some").SerializeToString()
DOCUMENT = Path(__file__).parents[4] / "docs" / "serving.md"

Serving = Callable[..., Any]


def write(folder: Path, pair: tuple[bytes, bytes]) -> None:
    (folder / "server.pem").write_bytes(pair[0])
    (folder / "server.key").write_bytes(pair[1])


def certificates(folder: Path, client_ca: str = "") -> Certificates:
    tls = TlsConfig(certificate="server.pem", key="server.key", client_ca=client_ca)
    return Certificates(Config(root=folder, serving=ServingConfig(tls=tls)))


def shown(address: str) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain) as connection:
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def serial(pem: bytes) -> int:
    return x509.load_pem_x509_certificate(pem).serial_number


def ask(address: str, credentials: Any) -> grpc.StatusCode:
    """Return the status of a call over a connection of its own."""
    with grpc.secure_channel(address, credentials, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            channel.unary_unary(SCHEMA)(ASKED, timeout=5)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
        return grpc.StatusCode.OK


def test_a_client_that_knows_the_authority_is_answered_and_others_end(
    serving: Serving, tmp_path: Path, authority: Any, stranger: Any
) -> None:
    write(tmp_path, authority.issue())
    address = serving(credentials=server_credentials(certificates(tmp_path))).address
    assert ask(address, grpc.ssl_channel_credentials(authority.pem)) is grpc.StatusCode.OK
    assert ask(address, grpc.ssl_channel_credentials(stranger.pem)) is grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as plain:
        channel.unary_unary(SCHEMA)(ASKED, timeout=5)
    assert plain.value.code() is grpc.StatusCode.UNAVAILABLE
    assert ask(address, grpc.ssl_channel_credentials(authority.pem)) is grpc.StatusCode.OK


def test_a_certificate_changes_for_new_connections_while_an_old_one_goes_on(
    serving: Serving, tmp_path: Path, authority: Any
) -> None:
    write(tmp_path, first := authority.issue())
    held = certificates(tmp_path)
    address = serving(credentials=server_credentials(held)).address
    waiting: queue.Queue[bytes] = queue.Queue()
    lookup = pb.GetOnlineFeaturesRequest(service="some")
    lookup.columns.add(name="origin").strings.values.append("JFK")
    asked = pb.StreamOnlineFeaturesRequest(correlation_id=1, request=lookup).SerializeToString()
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(authority.pem)) as channel:
        stream = channel.stream_stream(f"{SERVICE}StreamOnlineFeatures")(iter(waiting.get, b""))
        waiting.put(asked)
        assert next(stream)
        assert shown(address) == serial(first[0])
        for _ in range(3):
            write(tmp_path, fresh := authority.issue())
            held.refresh()
            assert shown(address) == shown(address) == serial(fresh[0])
            assert ask(address, grpc.ssl_channel_credentials(authority.pem)) is grpc.StatusCode.OK
            waiting.put(asked)
            assert next(stream)
        # What is broken changes nothing, for anybody.
        (tmp_path / "server.key").write_text("broken")
        held.refresh()
        held.refresh()
        assert shown(address) == serial(fresh[0])
        waiting.put(asked)
        assert next(stream)
        waiting.put(b"")
        assert list(stream) == []


def test_mutual_tls_lets_in_who_has_a_certificate_of_the_authority(
    serving: Serving, tmp_path: Path, authority: Any, stranger: Any
) -> None:
    write(tmp_path, authority.issue())
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    held = certificates(tmp_path, "ca.pem")
    address = serving(credentials=server_credentials(held)).address

    def of(signer: Any) -> Any:
        certificate, key = signer.issue()
        return grpc.ssl_channel_credentials(authority.pem, key, certificate)

    assert ask(address, of(authority)) is grpc.StatusCode.OK
    assert ask(address, of(stranger)) is grpc.StatusCode.UNAVAILABLE
    assert ask(address, grpc.ssl_channel_credentials(authority.pem)) is grpc.StatusCode.UNAVAILABLE
    # The authorities of clients change as the certificate does.
    (tmp_path / "ca.pem").write_bytes(stranger.pem)
    held.refresh()
    assert ask(address, of(stranger)) is grpc.StatusCode.OK
    assert ask(address, of(authority)) is grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str, str], str]) -> Path:
    """Run the commands of the document that make certificates, and return their folder."""
    program("openssl", "openssl")
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    folder = tmp_path_factory.mktemp("made")
    ran = subprocess.run(["sh", "-e", "-c", commands], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return folder / "tls"


def test_the_commands_of_the_document_make_certificates_that_work(
    serving: Serving, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = serving(credentials=server_credentials(certificates(made, "ca.pem"))).address
    names: dict[str, Any] = {}
    text = DOCUMENT.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(import grpc\n\ncredentials = .*?)^```$", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(made.parent)
    with pytest.warns(ResourceWarning):  # files that are left open are a script's right
        exec(block.replace("6566", address.split(":")[1]), names)
    with names["channel"] as channel:
        assert channel.unary_unary(SCHEMA)(ASKED, timeout=10)
    assert ask(f"localhost:{address.split(':')[1]}", names["credentials"]) is grpc.StatusCode.OK
