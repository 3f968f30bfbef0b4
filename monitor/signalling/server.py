"""The monitor's own gRPC port, in a thread with a loop of its own; the home of grpc in the monitor."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

import grpc
import structlog
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection

from featurestore.config import Config
from featurestore.errors import AddressInUseError, ConfigError, FeatureStoreError
from featurestore.registry import Token
from featurestore.serving import exposure
from featurestore.serving.certificates import Certificates
from featurestore.serving.rpc.admission import TokenAdmission
from featurestore.serving.rpc.credentials import server_credentials
from featurestore.serving.rpc.gate import Gate
from featurestore.serving.rpc.server import Limits
from featurestore.serving.rpc.standard import REFLECTION, health_handler, reflected
from featurestore.serving.tokens import Caller, KnownTokens
from featurestore.v1 import signals_pb2 as pb
from monitor.signalling.feed import Event, Feed
from monitor.signalling.service import ACKNOWLEDGE, NAME, WATCH, SignalService

#: How often the database is asked for events that others wrote, and the registry for tokens.
_LOOK_SECONDS = 0.5
_RELOAD_SECONDS = 1.0
_STOP_SECONDS = 2.0
#: A request names services or says a reason: it is small.
_MESSAGE_BYTES = 1 << 20
_HINT = 'Check "host" and "port" under [signals] in featurestore.toml.'

_log = structlog.get_logger("monitor.signals")


class KnowsTokens(Protocol):
    """What the port needs of the registry."""

    def revision(self) -> int:
        """Return a number that grows with every change."""
        ...

    def tokens(self) -> list[Token]:
        """Return the tokens of callers."""
        ...


class Source(Protocol):
    """What the port tells and takes: :class:`monitor.signalling.source.SignalSource`. It is called in threads."""

    def read(self, after: int, limit: int) -> Sequence[Event]:
        """Return the events after a cursor, in order, at most so many."""
        ...

    def newest(self) -> int:
        """Return the cursor of the newest event; 0 before the first."""
        ...

    def answer(self, said: pb.AcknowledgeSignalRequest, who: Caller | None) -> pb.AcknowledgeSignalResponse:
        """Keep what a receiver says; None where nobody is asked who he is."""
        ...


class SignalServer:
    """Serves ``featurestore.v1.RetrainingService`` until it is closed.

    Args:
        config: its ``[signals]`` says where and for whom.
        source: the events, and what takes acknowledgements.
        registry: has the tokens.
        port: in the place of the one in the settings; 0 is a free one.

    Attributes:
        address: where it listens, ``host:port``.

    Raises:
        AddressInUseError: another process listens on the port.
        ConfigError: the address cannot be bound, or there is something wrong with the certificate.
    """

    def __init__(self, config: Config, source: Source, registry: KnowsTokens, *, port: int | None = None) -> None:
        section = config.signals
        self._config = config
        self._source = source
        self._registry = registry
        self._tokens = KnownTokens() if section.authentication == "token" else None
        self._certificates = Certificates(config, section="signals") if section.tls.enabled else None
        self._revision: int | None = None
        host, number = section.host, section.port if port is None else port
        _check_free(host, number)
        self._reload()
        where = f"[{host}]" if ":" in host else host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="signals")
        self._thread.start()
        try:
            self.address = f"{where}:{self._run(self._start(f'{where}:{number}'))}"
        except BaseException:
            self._end_loop()
            raise
        exposure.warn(section, self.address, registry.tokens, exposure.SIGNALS)
        if self._certificates is not None:
            self._certificates.tell()
        _log.info("signals are served", address=self.address, guards=exposure.guards(section))

    def close(self) -> None:
        """Serve no more; streams end, and their clients come back elsewhere with their cursors."""
        self._run(self._stop())
        self._end_loop()

    async def _start(self, address: str) -> int:
        section = self._config.signals
        self._feed = Feed(self._source.read, self._source.newest)
        self._look_now = asyncio.Event()
        self._service = SignalService(
            self._feed, self._source.answer, self._look_now.set, most_watchers=section.max_watchers
        )
        self._health = health.aio.HealthServicer()
        limits = Limits(calls=section.max_calls, message_bytes=_MESSAGE_BYTES)
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *limits.options()])
        self.gate = Gate(
            {f"/{NAME}/{ACKNOWLEDGE}": self._service.acknowledge},
            {
                # One request and many answers is a stream of requests on the wire that has one.
                f"/{NAME}/{WATCH}": self._service.watch,
                REFLECTION: reflected((NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)),
            },
            most=section.max_calls,
            section="signals",
            admission=None if self._tokens is None else TokenAdmission(self._tokens),
        )
        self._server.add_generic_rpc_handlers((self.gate, health_handler(self._health, most=section.max_calls)))
        try:
            port: int = (
                self._server.add_insecure_port(address)
                if self._certificates is None
                else self._server.add_secure_port(address, server_credentials(self._certificates))
            )
        except RuntimeError:  # grpc says no more than that it failed
            raise ConfigError(f"Signals cannot be served at {address}.", hint=_HINT) from None
        await self._server.start()
        for name in ("", NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._beside = [asyncio.create_task(self._keep_looking()), asyncio.create_task(self._keep_reloading())]
        return port

    async def _stop(self) -> None:
        await self._health.enter_graceful_shutdown()
        self._service.end()
        await self._server.stop(_STOP_SECONDS)
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await asyncio.to_thread(self._feed.close)

    async def _keep_looking(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), _LOOK_SECONDS)
            self._look_now.clear()
            await _told("look for events", self._feed.look)

    async def _keep_reloading(self) -> None:
        while True:
            await asyncio.sleep(_RELOAD_SECONDS)
            await _told("reload of tokens", lambda: asyncio.to_thread(self._reload))

    def _reload(self) -> None:
        if self._certificates is not None:
            self._certificates.refresh()
        if self._tokens is None:
            return
        revision = self._registry.revision()
        if revision != self._revision:
            self._tokens.replace(self._registry.tokens())
            self._revision = revision

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def serve_signals(config: Config, source: Source, registry: KnowsTokens) -> SignalServer | None:
    """Serve signals as the settings say; None where ``port`` is 0.

    Raises:
        AddressInUseError: another process listens on the port.
        ConfigError: the address cannot be bound, or there is something wrong with the certificate.
    """
    return SignalServer(config, source, registry) if config.signals.port else None


async def _told(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do something that is done again soon; a failure is logged and ends nothing."""
    try:
        await work()
    except FeatureStoreError as error:
        _log.error("background task failed", task=name, error=error.message, hint=error.hint)
    except Exception:  # noqa: BLE001 - what is unforeseen is told in our log, and must not end the task
        _log.exception("background task failed", task=name)


def _check_free(host: str, port: int) -> None:
    """Find out by the system's own words why an address cannot be bound; grpc does not tell."""
    family, *_, address = _resolved(host, port)
    with socket.socket(family, socket.SOCK_STREAM) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUseError(
                    f"Port {port} of {host}, for signals, is taken by another process.",
                    hint='Stop it, or choose another "port" under [signals] in featurestore.toml.',
                ) from None
            raise ConfigError(f"Signals cannot be served at {host}:{port}: {error.strerror}.", hint=_HINT) from None


def _resolved(host: str, port: int) -> Any:
    try:
        found: Iterable[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"Signals cannot be served at {host}: {error.strerror}.", hint=_HINT) from None
    return next(iter(found))
