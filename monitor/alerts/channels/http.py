"""The one HTTP client of the channels.

What makes it safe beside an ordinary one: it connects only to an address that was checked (:mod:`.addresses`), follows
no redirect, which would lead elsewhere unchecked, and uses no proxy of the environment, which would resolve the name
again. An attempt ends in time, whatever the far side does: the time is that of the attempt as a whole, as a far side
that sends a byte now and then keeps to any limit of a single read. Of an answer only the beginning is kept. What failed
is told by scheme, host and port: path, query and user of an address often are its secret.
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

import httpcore

from featurestore.errors import ConfigError
from monitor.alerts.base import Outcome, Status
from monitor.alerts.channels import addresses, tls
from monitor.alerts.channels.addresses import UnreachableError

#: Bytes of an answer that are kept; what the channels read of one is far shorter.
LARGEST_ANSWER = 65_536

_PORTS = {"http": 80, "https": 443}
_GONE, _TOO_LARGE = 410, 413
#: Of a failure, what a proxy says that cannot know what became of the request behind it, and a timeout.
_UNCERTAIN = frozenset({408, 502, 504})

#: Bytes that are sent at once.
_PIECE = 16_384

#: What may stand in a path and a query as it is.
_SAFE = "%/:=&?~#+!$,;'@()*[]-._"


class Settings(Protocol):
    """What the client takes of a channel's section."""

    @property
    def timeout_seconds(self) -> float:
        """How long an attempt may take."""
        ...

    @property
    def allow_private_addresses(self) -> bool:
        """Whether the host may be on this machine or in a private network."""
        ...

    @property
    def ca_file(self) -> str:
        """Certificates to trust in place of the public ones."""
        ...


class Address:
    """An HTTP address; what is shown of it is :attr:`where`.

    Args:
        text: the URL.
        what: what it is, for the error: ``The url of channel "ops"``.

    Attributes:
        where: scheme, host and port.

    Raises:
        ConfigError: it is not one of HTTP.
    """

    def __init__(self, text: str, what: str) -> None:
        try:
            parts = urlsplit(text)
            port, host = parts.port, (parts.hostname or "").encode("idna").decode()
        except ValueError:  # UnicodeError too: a label that no name can have
            parts, port, host = urlsplit(""), None, ""
        if parts.scheme not in _PORTS or not host or any(one.isspace() or not one.isprintable() for one in text):
            raise ConfigError(f"{what} is not an HTTP address.", hint="Write it as https://host/path.")
        self.scheme, self.host = parts.scheme, host
        self.port = port or _PORTS[parts.scheme]
        shown = f"[{host}]" if ":" in host else host
        self.where = f"{parts.scheme}://{shown}" + (f":{port}" if port else "")
        self._path = quote(parts.path, safe=_SAFE)
        self._query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
        self.headers: dict[str, str] = {}
        if parts.username is not None:
            self.headers = basic(unquote(parts.username), unquote(parts.password or ""))

    def target(self, below: str = "") -> str:
        """Return path and query, or those of something below: ``/api/v2/alerts``."""
        return (self._path.rstrip("/") + below if below else self._path or "/") + self._query


def encoded(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; what UTF-8 cannot hold, half a surrogate pair, becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header by which a user proves who it is (RFC 7617)."""
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the far side said.

    Attributes:
        where: the far side.
        status: the HTTP status.
        headers: by name in small letters; the last of one name.
        body: its first :data:`LARGEST_ANSWER` bytes.
    """

    where: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    def fields(self) -> dict[str, Any]:
        """Return the JSON object that it is; an empty one if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:  # of another encoding, too
            return {}
        return found if isinstance(found, dict) else {}

    def retry_after(self, now: datetime) -> float | None:
        """Return the seconds that its Retry-After asks for (RFC 9110, 10.2.3); None if it says nothing readable."""
        text = self.headers.get("retry-after", "").strip()
        if text.isdecimal():
            return float(text)
        try:
            instant = parsedate_to_datetime(text)
        except ValueError:
            return None
        return max(0.0, (instant - now).total_seconds()) if instant.tzinfo is not None else None

    def outcome(self, now: datetime, said: str = "") -> Outcome:
        """Return what the status means where nothing more is known of the receiver.

        Most failures are tried again, as a receiver that refuses may be mended; only a message that is too large stays
        so.

        Args:
            now: the wall clock.
            said: what the answer adds; no secret can be in it.
        """
        if self.ok:
            return Outcome(Status.DELIVERED)
        reason = f"{self.where} answered {self.status}" + (f": {said}" if said else "")
        if self.status == _GONE:
            return Outcome(Status.GONE, reason)
        if self.status == _TOO_LARGE:
            return Outcome(Status.REFUSED, reason)
        return Outcome(Status.RETRY, reason, self.retry_after(now), untaken=self.status not in _UNCERTAIN)


class Client:
    """Makes requests for one channel, each over a connection of its own.

    A connection that waits for the next alert would mostly be found broken by it, and its address was checked long ago.

    Args:
        channel: the channel's name.
        settings: its section.

    Raises:
        ConfigError: the CA file cannot be used.
    """

    def __init__(self, channel: str, settings: Settings) -> None:
        self._channel = channel
        self._ca_file = settings.ca_file
        if self._ca_file:
            _ = self._context  # a file that cannot be used is found now, and not with the first page
        self._timeout = settings.timeout_seconds
        self._allow_private = settings.allow_private_addresses

    def call(
        self,
        method: str,
        address: Address,
        *,
        below: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Make one request.

        Args:
            method: ``POST``, ``GET`` ...
            address: where.
            below: see :meth:`Address.target`.
            headers: beside those that every request has.
            body: what is sent.

        Raises:
            UnreachableError: there was no answer.
        """
        network = _Network(address, self._timeout, allow_private=self._allow_private)
        url = httpcore.URL(
            scheme=address.scheme, host=address.host, port=address.port, target=address.target(below).encode()
        )
        sent = {"user-agent": "featurestore-monitor", "accept": "*/*", **address.headers, **(headers or {})}
        context = self._context if address.scheme == "https" else None
        connection = httpcore.HTTPConnection(url.origin, ssl_context=context, network_backend=network)
        try:
            with connection, connection.stream(method, url, headers=list(sent.items()), content=body) as response:
                return Answer(
                    where=address.where,
                    status=response.status,
                    headers={key.decode("ascii").lower(): value.decode("latin-1") for key, value in response.headers},
                    body=_beginning(response.iter_stream()),
                )
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise self._unreachable(address, error, network) from error

    def reach(self, address: Address, *, now: datetime) -> str:
        """Connect and say nothing; return a remark on the certificate, or "".

        Args:
            address: where.
            now: the wall clock.

        Raises:
            UnreachableError: there is no connection, or its certificate is not accepted.
        """
        network = _Network(address, self._timeout, allow_private=self._allow_private)
        try:
            stream = network.connect_tcp(address.host, address.port)
            try:
                if address.scheme == "http":
                    return ""
                stream = stream.start_tls(self._context, address.host)
                certificate = stream.get_extra_info("ssl_object").getpeercert()
            finally:
                stream.close()
        except (httpcore.TimeoutException, httpcore.NetworkError) as error:
            raise self._unreachable(address, error, network) from error
        said = tls.remark(certificate, now=now)
        return f"{address.where}: {said}" if said else ""

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return tls.context(self._channel, self._ca_file, protocol="http")

    def _unreachable(self, address: Address, error: Exception, network: _Network) -> UnreachableError:
        fault = tls.fault(error.__cause__)
        if fault:
            reason = f"{address.where}: {fault}"
        elif isinstance(error, httpcore.TimeoutException):
            reason = f"{address.where} did not answer in {self._timeout:g} s"
        elif isinstance(error, httpcore.ConnectError):
            cause = error.__cause__
            said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
            reason = f"no connection to {address.where}: {said}"
        elif isinstance(error, httpcore.NetworkError):
            reason = f"the connection to {address.where} broke"
        else:
            reason = f"{address.where} answered what is not HTTP"
        return UnreachableError(reason, untaken=not network.written)


def _beginning(chunks: Iterable[bytes]) -> bytes:
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) >= LARGEST_ANSWER:
            break
    return body[:LARGEST_ANSWER]


class _Network(httpcore.NetworkBackend):
    """Connects to checked addresses, and ends with the attempt's time.

    Attributes:
        written: whether anything of a request has gone out.
    """

    def __init__(self, address: Address, timeout: float, *, allow_private: bool) -> None:
        self._address = address
        self._allow_private = allow_private
        self._end = time.monotonic() + timeout
        self._backend = httpcore.SyncBackend()
        self.written = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the attempt's own time counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        found = addresses.checked(host, port, allow_private=self._allow_private)
        failure: Exception = httpcore.ConnectError("it has no address")
        for number, address in enumerate(found):
            # Each has its share of the time: one that never answers leaves some to the others.
            share = self.left() / (len(found) - number)
            try:
                stream = self._backend.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:  # the next address may do
                failure = error
            else:
                return _Timed(stream, self)
        raise failure

    def left(self) -> float:
        """Return the seconds that are left of the attempt.

        Raises:
            httpcore.ReadTimeout: none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left


class _Timed(httpcore.NetworkStream):
    """A stream whose every step has only what is left of the attempt's time."""

    def __init__(self, stream: httpcore.NetworkStream, network: _Network) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._network.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._network.written = True
        # In pieces: the stream below gives each of its own the whole time.
        for start in range(0, len(buffer), _PIECE):
            self._stream.write(buffer[start : start + _PIECE], self._network.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._network.left()), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
