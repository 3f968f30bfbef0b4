"""The dashboard's port, in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
import threading
import time
from typing import Any

import structlog
import uvicorn

from featurestore.config import Config
from featurestore.errors import AddressInUseError, ConfigError
from featurestore.store import FeatureStore
from monitor.dashboard.application import Dashboard

#: How long a server may take to begin, and how long it waits for what it is still sending when it ends, in seconds.
_START_SECONDS, _END_SECONDS = 30.0, 2
_BACKLOG = 128
_HINT = 'Check "host" and "port" under [dashboard] in featurestore.toml.'

_log = structlog.get_logger("monitor.dashboard")


class DashboardServer:
    """Serves the dashboard until it is closed.

    Args:
        store: what it shows; whoever has opened it closes it.
        host: in the place of the one in the settings.
        port: the same; 0 is a free one.

    Attributes:
        url: where it is.

    Raises:
        AddressInUseError: another process listens on the port.
        ConfigError: others could reach it without a login, the address cannot be bound, or there is something wrong
            with the certificate.
    """

    def __init__(self, store: FeatureStore, *, host: str | None = None, port: int | None = None) -> None:
        config = store.config
        settings = config.dashboard
        where = settings.host if host is None else host
        bound = _bound(where, settings.port if port is None else port)
        try:
            _check_guarded(config, where, bound)
            self._dashboard = Dashboard(store)
            try:
                self._server = uvicorn.Server(_settings(config, self._dashboard))
            except BaseException:
                self._dashboard.close()
                raise
        except BaseException:
            bound.close()
            raise
        self._thread = threading.Thread(target=self._run, args=(bound,), name="dashboard")
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not self._server.started:
            self.close()
            raise ConfigError("The dashboard did not begin.", hint="Its log says why.")
        scheme = "https" if settings.tls.enabled else "http"
        shown = f"[{where}]" if ":" in where else where
        self.url = f"{scheme}://{shown}:{bound.getsockname()[1]}/"
        _log.info("dashboard is served", url=self.url, authentication=settings.authentication)

    def close(self) -> None:
        """Serve no more; open pages say so, and go on when it is served again."""
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._dashboard.news.end(), loop).result(_END_SECONDS)
        self._server.should_exit = True
        self._thread.join()
        self._dashboard.close()

    _loop: asyncio.AbstractEventLoop | None = None

    def _run(self, bound: socket.socket) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await self._server.serve(sockets=[bound])

        with bound:
            asyncio.run(serve())


def _settings(config: Config, dashboard: Dashboard) -> uvicorn.Config:
    tls = config.dashboard.tls
    encrypted: dict[str, Any] = {}
    if tls.enabled:
        encrypted = {"ssl_certfile": config.path(tls.certificate), "ssl_keyfile": config.path(tls.key)}
        if tls.client_ca:
            encrypted |= {"ssl_ca_certs": str(config.path(tls.client_ca)), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    made = uvicorn.Config(
        dashboard.application,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # Which proxies are believed, and what, is decided at the door.
        proxy_headers=False,
        timeout_graceful_shutdown=_END_SECONDS,
        **encrypted,
    )
    try:
        made.load()
    except OSError as error:  # that of a certificate too
        raise ConfigError(
            f"The dashboard cannot speak TLS: {error.strerror or error}.",
            hint="Check certificate and key under [dashboard.tls] in featurestore.toml.",
        ) from None
    return made


def _check_guarded(config: Config, host: str, bound: socket.socket) -> None:
    if config.dashboard.authentication != "none" or _is_loopback(bound):
        return
    raise ConfigError(
        f"Whoever reaches {host} could read the dashboard, as nobody has to log in.",
        hint='Write authentication = "token" or "proxy" under [dashboard], or listen on 127.0.0.1.',
    )


def _is_loopback(bound: socket.socket) -> bool:
    return ipaddress.ip_address(str(bound.getsockname()[0]).partition("%")[0]).is_loopback


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that has the address; the system's own words say why it cannot."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"The dashboard cannot be served at {host}: {error.strerror}.", hint=_HINT) from None
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                f"Port {port} of {host}, for the dashboard, is taken by another process.",
                hint='Stop it, or choose another "port" under [dashboard] in featurestore.toml.',
            ) from None
        raise ConfigError(f"The dashboard cannot be served at {host}:{port}: {error.strerror}.", hint=_HINT) from None
    return made
