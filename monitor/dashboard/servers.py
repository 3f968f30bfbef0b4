"""What servers count, read in a thread of the dashboard: once for all pages, and only from where the settings say."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import structlog

from featurestore.config import Config
from featurestore.errors import FeatureStoreError, ServingError
from featurestore.serving.metrics.parsing import CallTotals, parse
from monitor.dashboard.traffic import Followed, Reading, growth, traffic

#: How often servers are read, and how soon for the second time: one reading says nothing of a second. In seconds.
EVERY_SECONDS, SOON_SECONDS = 5.0, 2.0
#: How far back figures go, in seconds.
WINDOW_SECONDS = 300.0
#: For how long a server may be silent, in seconds, and how much it may say, in bytes.
_TIMEOUT, _LARGEST = 2.0, 16_000_000
#: Servers that are read at once.
_AT_ONCE = 8
#: Addresses of one name: more of them are no servers of a feature store.
_MOST = 256
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where one listens, one is not called
_HINT = 'Start it (featurestore serve), or name where it is: "server_metrics" under [dashboard] in featurestore.toml.'

_log = structlog.get_logger("monitor.dashboard")


def metrics_addresses(config: Config) -> tuple[str, ...]:
    """Return where the metrics of this store's servers are: as ``[dashboard]`` lists them, else as ``[serving]`` says.

    Args:
        config: of the store.

    Returns:
        Addresses of HTTP; none where no server shows metrics.
    """
    if config.dashboard.server_metrics:
        return config.dashboard.server_metrics
    serving = config.serving
    if not serving.metrics_port:
        return ()
    host = _ANYWHERE.get(serving.metrics_host, serving.metrics_host)
    return (f"http://{f'[{host}]' if ':' in host else host}:{serving.metrics_port}/metrics",)


@dataclass
class _Seen:
    """What was heard of one server, at one address of its name."""

    url: str
    address: str
    followed: Followed = field(default_factory=Followed)
    readings: deque[Reading] = field(default_factory=deque)
    fault: str = ""
    hint: str = ""

    @property
    def name(self) -> str:
        """What people know it by; what stands behind a question mark may be a secret."""
        shown = self.url.partition("?")[0]
        return shown if self.address in ("", urlsplit(self.url).hostname) else f"{shown} ({self.address})"


class Servers:
    """Reads the metrics of servers while it is open.

    Args:
        addresses: of their metrics; see :func:`metrics_addresses`.
        project: whose servers they are.
        clock: seconds of a clock that only goes forward.
    """

    def __init__(
        self, addresses: tuple[str, ...], *, project: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._addresses = addresses
        self._project = project
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read, if there is anything to be read."""
        if self._addresses and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dashboard-servers", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._stop.set()
        if self._thread is not None:
            # Not for ever: it may wait for the answer of a server, or of whoever knows its address.
            self._thread.join(2 * _TIMEOUT)
            self._thread = None

    def values(self) -> dict[str, Any]:
        """Return the traffic of the last minutes and the state of each server, as JSON values."""
        with self._lock:
            said = [{"server": one.name, "fault": one.fault, "hint": one.hint} for one in self._seen.values()]
            # What a server did before it was lost is no traffic of now.
            ends = [
                (one.readings[0], one.readings[-1])
                for one in self._seen.values()
                if len(one.readings) > 1 and not one.fault
            ]
        grown = [growth(*pair) for pair in ends]
        return {
            "configured": bool(self._addresses),
            "measured": bool(grown),
            "servers": said,
            **traffic(grown),
        }

    def look(self) -> None:
        """Read every server once."""
        targets = [(url, address) for url in self._addresses for address in _addresses(urlsplit(url))]
        with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(targets))), thread_name_prefix="dashboard-server") as pool:
            for (url, address), (counted, fault) in zip(targets, pool.map(self._heard, targets), strict=True):
                self._keep(url, address, counted, fault)
        with self._lock:
            oldest = self._clock() - WINDOW_SECONDS
            for key, one in list(self._seen.items()):
                while one.readings and one.readings[0].at < oldest:
                    one.readings.popleft()
                # Of a server that has left its name nobody has to be told for ever.
                if key not in targets and not one.readings:
                    del self._seen[key]

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:  # noqa: BLE001 - what is unforeseen is told in our log, and the next look may be better
                _log.exception("servers cannot be read")
            with self._lock:
                young = any(len(one.readings) == 1 for one in self._seen.values())
            if self._stop.wait(SOON_SECONDS if young else EVERY_SECONDS):
                return

    def _heard(self, target: tuple[str, str]) -> tuple[CallTotals | None, str]:
        try:
            counted = parse(_fetched(*target))
        except FeatureStoreError as error:
            return None, error.message
        except TimeoutError:
            return None, f"it does not answer within {_TIMEOUT:g} seconds"
        except OSError as error:
            return None, error.strerror or str(error)
        except http.client.HTTPException as error:
            return None, f"what answers does not speak HTTP ({type(error).__name__})"
        if counted.project != self._project:
            return None, f'it is a server of project "{counted.project}"'
        return counted, ""

    def _keep(self, url: str, address: str, counted: CallTotals | None, fault: str) -> None:
        with self._lock:
            one = self._seen.setdefault((url, address), _Seen(url=url, address=address))
            told, one.fault, one.hint = one.fault, "", ""
            if counted is not None:
                one.readings.append(Reading(at=self._clock(), totals=one.followed.take(counted.totals)))
                return
            one.fault, one.hint = f"{one.name} cannot be read: {fault.rstrip('.')}.", _HINT
        if told != one.fault:
            _log.warning("server cannot be read", server=one.name, reason=fault)


def _addresses(url: SplitResult) -> Iterator[str]:
    """Yield the addresses behind a name: several servers may have one, each with counters of its own.

    Of a machine that has several, one is taken: it would be counted twice.
    """
    host = url.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        yield host
        return
    if url.scheme == "https":  # a certificate is of the name
        yield ""
        return
    try:
        found = socket.getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
    except OSError:  # whoever calls it hears the same, and says it
        yield ""
        return
    same = [str(one[4][0]) for one in found if one[0] == found[0][0]]
    if any(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in same):
        yield ""
        return
    yield from dict.fromkeys(same[:_MOST])


def _fetched(url: str, address: str) -> str:
    """Return what is at an address; no redirection is followed, and no proxy asked.

    Raises:
        ServingError: it says that it cannot be had, or it is too long.
        OSError: it cannot be reached.
        http.client.HTTPException: it is nothing that HTTP knows.
    """
    parts = urlsplit(url)
    host, deadline = address or parts.hostname or "", time.monotonic() + _TIMEOUT
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, parts.port, timeout=_TIMEOUT)
    try:
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        connection.request("GET", path, headers={"host": parts.netloc, "accept": "text/plain"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise ServingError(f"it answers with status {answer.status}")
        read = b""
        while part := answer.read1(65_536):
            read += part
            if len(read) > _LARGEST:
                raise ServingError(f"it says more than {_LARGEST // 1_000_000} MB")
            if time.monotonic() > deadline:
                raise TimeoutError
        return read.decode(errors="replace")
    finally:
        connection.close()
