"""The one HTTP client, against real receivers: certificates, time, size, and where it connects."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurestore.errors import ConfigError
from monitor.alerts.base import Status
from monitor.alerts.channels.addresses import UnreachableError
from monitor.alerts.channels.http import LARGEST_ANSWER, Address, Answer, Client, encoded
from tests.contract.channel_far_sides.receiving import Reply, certificate_file, receiving

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class _Section:
    timeout_seconds: float = 5.0
    allow_private_addresses: bool = True
    ca_file: str = ""


def _call(url: str, section: _Section | None = None, **sent: Any) -> Answer:
    return Client("ops", section or _Section()).call("POST", Address(url, "The url"), **sent)


def _now() -> datetime:
    return datetime.now(UTC)


def test_a_certificate_of_the_ca_file_is_trusted(tmp_path: Path) -> None:
    file = certificate_file(tmp_path)
    with receiving(certificate=file) as receiver:
        answer = _call(receiver.url, _Section(ca_file=str(file)), body=b"x")
        assert (answer.status, receiver.requests[0].body) == (204, b"x")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"since": _now() - timedelta(days=9), "until": _now() - timedelta(days=2)}, "certificate has expired"),
        ({"since": _now() + timedelta(days=2)}, "certificate is not yet valid"),
        ({"host": "elsewhere.example.com"}, "IP address mismatch"),
    ],
)
def test_a_certificate_that_is_not_right_is_told_and_nothing_is_sent(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    file = certificate_file(tmp_path, **settings)
    with receiving(certificate=file) as receiver:
        client, address = Client("ops", _Section(ca_file=str(file))), Address(receiver.url, "The url")
        for attempt in (lambda: client.call("POST", address), lambda: client.reach(address, now=_now())):
            with pytest.raises(UnreachableError, match=said) as raised:
                attempt()
            assert raised.value.reason.startswith(f"{receiver.url}: its certificate is not accepted")
            assert raised.value.untaken
        assert receiver.requests == []


def test_one_that_nobody_vouches_for_is_not_trusted(tmp_path: Path) -> None:
    with (
        receiving(certificate=certificate_file(tmp_path)) as receiver,
        pytest.raises(UnreachableError, match=r"self.signed certificate"),
    ):
        _call(receiver.url)


def test_one_that_ends_soon_is_remarked_on(tmp_path: Path) -> None:
    end = _now() + timedelta(days=5)
    file = certificate_file(tmp_path, until=end)
    with receiving(certificate=file) as receiver:
        client, address = Client("ops", _Section(ca_file=str(file))), Address(receiver.url, "The url")
        assert client.reach(address, now=_now()) == f"{receiver.url}: its certificate ends on {end:%Y-%m-%d}"
        assert client.reach(address, now=end - timedelta(days=30)) == ""
        assert receiver.requests == []


def test_a_far_side_without_tls_is_told() -> None:
    with receiving() as receiver, pytest.raises(UnreachableError, match="no TLS with it: wrong version number"):
        _call(receiver.url.replace("http:", "https:"))


@pytest.mark.parametrize("text", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_ca_file_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match='ca_file of channel "ops"'):
        Client("ops", _Section(ca_file=str(file)))


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A far side that does as it likes with each connection."""
    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                serve(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_a_far_side_that_sends_a_byte_now_and_then_is_left_in_time() -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65_536)
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"y" * 400:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    with _listening(drip) as url:
        began = time.monotonic()
        with pytest.raises(UnreachableError, match=r"did not answer in 0\.4 s") as raised:
            _call(url, _Section(timeout_seconds=0.4))
        assert time.monotonic() - began < 10  # all of it takes twenty
        assert not raised.value.untaken


def test_a_name_that_takes_all_the_time_to_resolve_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def slow(*asked: Any, **options: Any) -> Any:
        time.sleep(0.3)
        return real(*asked, **options)

    with receiving() as receiver:
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with pytest.raises(UnreachableError, match=r"did not answer in 0\.2 s") as raised:
            _call(receiver.url, _Section(timeout_seconds=0.2))
        assert raised.value.untaken
        assert receiver.requests == []


def test_a_body_without_end_is_left_at_its_beginning() -> None:
    def flood(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"z" * 65_536)

    with _listening(flood) as url:
        assert len(_call(url).body) == LARGEST_ANSWER


def test_an_address_where_nobody_listens_is_surely_untaken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UnreachableError, match="no connection to http") as raised:
        _call(f"http://127.0.0.1:{port}/x")
    assert raised.value.untaken


def test_a_connection_that_breaks_after_the_request_may_have_taken_it() -> None:
    with _listening(lambda connection: connection.recv(65_536) and None) as url:
        with pytest.raises(UnreachableError) as raised:
            _call(url)
        assert not raised.value.untaken


def test_what_is_not_http_is_told() -> None:
    def greet(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"220 mail.example.com ESMTP\r\n")

    with _listening(greet) as url, pytest.raises(UnreachableError, match="is not HTTP"):
        _call(url)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = socket.getaddrinfo

    def once(host: str, *rest: Any, **options: Any) -> Any:
        # A name that is public when it is checked, and another host's the next time.
        asked.append(host)
        return real("127.0.0.1", *rest, **options) if host == "hooks.example.com" else real(host, *rest, **options)

    with receiving() as receiver:
        monkeypatch.setattr(socket, "getaddrinfo", once)
        answer = _call(receiver.url.replace("127.0.0.1", "hooks.example.com"))
        assert answer.status == 204
        assert asked.count("hooks.example.com") == 1
        assert receiver.requests[0].headers["host"].startswith("hooks.example.com:")


def test_the_next_address_is_tried_where_the_first_has_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        port = int(receiver.url.rpartition(":")[2])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in ("127.0.0.2", "127.0.0.1")]
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **o: found if host == "two.example.com" else real(host, *a, **o)
        )
        assert _call(f"http://two.example.com:{port}/").status == 204


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_address_is_not_called_unless_allowed(host: str) -> None:
    with receiving() as receiver:
        with pytest.raises(UnreachableError, match="allow_private_addresses"):
            _call(receiver.url.replace("127.0.0.1", host), _Section(allow_private_addresses=False))
        assert receiver.requests == []


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with receiving() as other, receiving(lambda _: Reply(307, {"location": other.url})) as receiver:
        answer = _call(receiver.url)
        assert (answer.status, answer.outcome(_NOW).status) == (307, Status.RETRY)
        assert other.requests == []


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receiving() as receiver:
        assert _call(receiver.url).status == 204


@pytest.mark.parametrize(
    ("text", "where", "target"),
    [
        ("https://hooks.example.com/a/b?c=d", "https://hooks.example.com", "/a/b?c=d"),
        ("HTTP://Hooks.Example.com:8080", "http://hooks.example.com:8080", "/"),
        ("http://[::1]:90/x", "http://[::1]:90", "/x"),
        ("https://user:hunter2@hooks.example.com/s#part", "https://hooks.example.com", "/s"),
        ("https://bücher.example/ä?ö=%20", "https://xn--bcher-kva.example", "/%C3%A4?%C3%B6=%20"),
    ],
)
def test_what_is_shown_and_what_is_asked_for(text: str, where: str, target: str) -> None:
    address = Address(text, "The url")
    assert (address.where, address.target()) == (where, target)


def test_a_user_becomes_a_header() -> None:
    with receiving() as receiver:
        _call(receiver.url.replace("http://", "http://us%40er:p%3Aw@"))
        assert receiver.requests[0].headers["authorization"] == "Basic dXNAZXI6cDp3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hooks.example.com/x",
        "ftp://hooks.example.com",
        "http://",
        "http://[::1",
        "http://host:port/",
        "http://host:99999/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/a\r\nx: y",
        f"https://{'a' * 70}.example.com",
    ],
)
def test_what_is_no_address_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Address(text, "The url")
    assert raised.value.message == "The url is not an HTTP address."
    assert raised.value.hint


@given(st.text())
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    for one in (text, f"https://hooks.example.com/{text}", f"https://{text}/"):
        try:
            address = Address(one, "The url")
        except ConfigError:
            continue
        assert address.target().isascii()
        assert address.where.isascii()


def test_something_below_an_address_keeps_its_path_and_query() -> None:
    assert Address("http://h/prefix/?a=b", "The url").target("/api/v2/alerts") == "/prefix/api/v2/alerts?a=b"
    assert Address("http://h", "The url").target("/api/v2/alerts") == "/api/v2/alerts"


@pytest.mark.parametrize(
    ("status", "expected", "untaken"),
    [
        (200, Status.DELIVERED, False),
        (302, Status.RETRY, True),
        (400, Status.RETRY, True),
        (401, Status.RETRY, True),
        (408, Status.RETRY, False),
        (410, Status.GONE, False),
        (413, Status.REFUSED, False),
        (429, Status.RETRY, True),
        (500, Status.RETRY, True),
        (502, Status.RETRY, False),
        (503, Status.RETRY, True),
        (504, Status.RETRY, False),
    ],
)
def test_what_a_status_means(status: int, expected: Status, untaken: bool) -> None:
    outcome = Answer(where="http://h", status=status, headers={}, body=b"").outcome(_NOW)
    assert (outcome.status, outcome.untaken) == (expected, untaken)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Fri, 01 May 2026 12:02:00 GMT", 120.0),
        ("Fri, 01 May 2026 11:00:00 GMT", 0.0),
        ("Fri, 01 May 2026 12:02:00", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
        ("Fri, 99 May 2026 12:02:00 GMT", None),
    ],
)
def test_when_to_come_again(text: str, seconds: float | None) -> None:
    answer = Answer(where="http://h", status=429, headers={"retry-after": text}, body=b"")
    assert answer.retry_after(_NOW) == seconds


@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b"\xff", b"{", b"nul"])
def test_a_body_that_is_no_object_has_no_fields(body: bytes) -> None:
    assert Answer(where="http://h", status=200, headers={}, body=body).fields() == {}


def test_half_a_surrogate_pair_can_be_sent() -> None:
    assert encoded({"a": "\ud800ä"}) == '{"a":"?ä"}'.encode()


def test_the_tests_have_a_certificate_that_others_accept(tmp_path: Path) -> None:
    # Otherwise the refusals above would prove nothing.
    file = certificate_file(tmp_path)
    with receiving(certificate=file) as receiver:
        port = int(receiver.url.rpartition(":")[2])
        context = ssl.create_default_context(cafile=str(file))
        with (
            socket.create_connection(("127.0.0.1", port), 5) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
        ):
            assert connection.version() == "TLSv1.3"
