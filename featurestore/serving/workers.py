"""Server processes on one port: started, watched, drained."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import structlog

from featurestore import types
from featurestore.config import Config
from featurestore.errors import AddressInUseError, ConfigError, FeatureStoreError, ServingError
from featurestore.folders import check_folders
from featurestore.logs import configure_logging
from featurestore.online import open_online_store
from featurestore.serving import exposure
from featurestore.serving.certificates import Certificates
from featurestore.serving.log import remove_finished_watermarks
from featurestore.serving.metrics.server import ServerMetrics
from featurestore.serving.replay import ReplayFeed, instant, sole_holder
from featurestore.serving.runtime import Runtime, compile_plans
from featurestore.serving.worker import SIGNALS, serve_here
from featurestore.serving.worker_status import remove_dead_statuses

_RESTART_SECONDS = 1.0
#: Beyond the grace that calls get: a worker writes its log.
_EXIT_SECONDS = 10.0
_LAST_PORT = 65535

_logger = structlog.get_logger(__name__)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def serve(
    config: Config,
    *,
    replay: str = "",
    clock: datetime | None = None,
    workers: int | None = None,
    host: str | None = None,
    port: int | None = None,
    announce: Callable[[str], None] = _say,
) -> None:
    """Serve until SIGINT or SIGTERM, then drain; in the main thread of a process.

    Args:
        config: the feature store's configuration.
        replay: names a rehearsal: its own store, made anew, with a clock that the client moves.
        clock: where the clock of a rehearsal starts; 1970 when not given.
        workers: processes; ``serving.workers`` of the configuration when not given.
        host: the address; ``serving.host`` when not given.
        port: ``serving.port`` when not given; 0 takes a free one.
        announce: gets one line when the server answers: address, services with versions, and the clock.

    Raises:
        AddressInUseError: another process listens on the port.
        ConfigError: the address cannot be bound, the rehearsal is or was held, or a clock is given without one.
        FeatureStoreError: the registry or a store cannot be opened.
    """
    if clock is not None and not replay:
        raise ConfigError("A clock was given to a live server.", hint="Name a rehearsal: --replay NAME.")
    if replay:
        config = config.for_replay(replay)
    check_folders(config)
    host = config.serving.host if host is None else host
    count = config.serving.workers if workers is None else workers
    with contextlib.ExitStack() as held:
        taken = held.enter_context(_reserved(host, config.serving.port if port is None else port))
        if replay:
            held.enter_context(sole_holder(replay, config.path(config.serving.log_path).parent))
        address = f"[{host}]:{taken}" if ":" in host else f"{host}:{taken}"
        line = _prepare(config, clock, address, count)
        page = None
        if config.serving.metrics_port:
            page = held.enter_context(contextlib.closing(ServerMetrics(config)))
            line = f"{line} Metrics at {page.url}."
        # Metrics are added up and shown by a parent, so that whoever reads them holds up no lookup.
        if count == 1 and page is None:
            serve_here(config, address, None, lambda: announce(line))
        else:
            _Supervisor(config, address, count, page).run(lambda: announce(line))


@contextlib.contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """Hold a port for the workers to share, without listening, and give its number."""
    if not 0 <= port <= _LAST_PORT:
        # The resolver would take its lowest 16 bits.
        raise ConfigError(f"{port} is not a port.", hint=f"Take one from 1 to {_LAST_PORT}, or 0 for a free one.")
    try:
        family, kind, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Without SO_REUSEPORT a bind fails beside any server, even one that would share the port with us.
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            where = (where[0], probe.getsockname()[1], *where[2:])
        held = socket.socket(family, kind)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                f"Port {port} of {host} is taken by another process.",
                hint="Stop it, or choose another: featurestore serve --port 0 takes a free one.",
            ) from None
        raise ConfigError(
            f"The server cannot listen at {host}:{port}: {error.strerror}.",
            hint='Check "host" and "port" under [serving] in featurestore.toml.',
        ) from None
    with held:
        number: int = held.getsockname()[1]
        yield number


def _prepare(config: Config, clock: datetime | None, address: str, workers: int) -> str:
    """Check what will be served, set a rehearsal up, and return the line that announces it."""
    log = config.path(config.serving.log_path)
    runtime = Runtime(config)
    try:
        services = runtime.services()
        ids = sorted({service.id for service in services.values()})
        guards = "".join(f", {one}" for one in exposure.guards(config.serving))
        many = "s" * (workers > 1)
        line = f"Serving {', '.join(ids) or 'no service yet'} at {address}, {workers} worker{many}{guards}."
        exposure.warn(config.serving, address, runtime.tokens)
        if config.serving.tls.enabled:
            Certificates(config).tell()
        if not config.replay:
            remove_finished_watermarks(log)
            remove_dead_statuses(log)
            return line
        if any(log.glob("*/*.parquet")):
            raise ConfigError(
                f'Replay "{config.replay}" was held before: {log} has its serving log.',
                hint=f"Take another name, or remove {log.parent}.",
            )
        remove_finished_watermarks(log, living=True)
        # A worker compiles before it serves, and says what is wrong; here it must be known before the clock is set.
        compile_plans(services)
        start = instant(0) if clock is None else types.utc(clock, "The clock of the replay")
        store = open_online_store(config.online_store(), config.root, durable=False)
        try:
            ReplayFeed(runtime.offline, store).start(start)
        finally:
            store.close()
        return f"{line} REPLAY {config.replay}: clock at {start.isoformat()}, moves by AdvanceClock."
    finally:
        runtime.close()


class _Supervisor:
    """The parent of several workers: starts them, starts a new one for one that dies, and drains them."""

    def __init__(self, config: Config, address: str, count: int, metrics: ServerMetrics | None) -> None:
        self._metrics = metrics
        self._config = config
        self._address = address
        self._count = count
        # Spawned, not forked: neither LMDB nor gRPC survives a fork.
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[BaseProcess, Connection] = {}
        self._stopping = False

    def run(self, ready: Callable[[], None]) -> None:
        before = {number: signal.signal(number, self._stop) for number in SIGNALS}
        try:
            for _ in range(self._count):
                self._start()
            for line in list(self._workers.values()):
                self._await_ready(line)
            if not self._stopping:
                ready()
            while not self._stopping:
                # A signal does not end the wait, so it is a short one.
                self._restart_dead(wait([one.sentinel for one in self._workers], timeout=0.2))
        finally:
            self._drain()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _start(self) -> None:
        ours, theirs = self._context.Pipe()
        counted = None if self._metrics is None else self._metrics.line()
        worker = self._context.Process(
            target=_work, args=(self._config, self._address, theirs, counted), name="feature-server"
        )
        worker.start()
        theirs.close()
        if counted is not None:
            counted.close()
        self._workers[worker] = ours

    def _await_ready(self, line: Connection) -> None:
        while not self._stopping:
            if line.poll(0.2):
                try:
                    fault = line.recv()
                except EOFError:
                    fault = ("A server process ended before it served.", "Its log says why.")
                if fault is not None:
                    raise ServingError(fault[0], hint=fault[1])
                return

    def _restart_dead(self, sentinels: Sequence[object]) -> None:
        for worker in [one for one in self._workers if one.sentinel in sentinels]:
            line = self._workers.pop(worker)
            reason = _reason(line)
            line.close()
            if not self._stopping:
                _logger.error("server process died", pid=worker.pid, exit_code=worker.exitcode, reason=reason)
                time.sleep(_RESTART_SECONDS)  # one that dies at once must not keep a core busy
                self._start()

    def _drain(self) -> None:
        for worker in self._workers:
            worker.terminate()
        deadline = time.monotonic() + self._config.serving.drain_seconds + _EXIT_SECONDS
        for worker, line in self._workers.items():
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                worker.kill()
                worker.join()
            line.close()


def _reason(line: Connection) -> str:
    """Return what a worker that ended said of it, if anything."""
    reason = ""
    with contextlib.suppress(EOFError, OSError):
        while line.poll():
            fault = line.recv()
            reason = reason if fault is None else fault[0]
    return reason


def _work(config: Config, address: str, parent: Connection, metrics: Connection | None) -> None:
    """Be one worker; ``parent`` is told None when it serves, or what went wrong."""
    configure_logging()
    serves = False

    def stop(*_: object) -> None:
        # Until the loop handles signals: a worker that is stopped while it starts just ends. Once it has served it ends
        # by itself, and another signal would come into the midst of that.
        if not serves:
            sys.exit(0)

    def ready() -> None:
        nonlocal serves
        serves = True
        parent.send(None)

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        serve_here(config, address, parent, ready, metrics)
    except FeatureStoreError as error:
        parent.send((error.message, error.hint))
        sys.exit(1)
    finally:
        # It ends by itself; a signal that came to the interpreter's last steps would be shown as a traceback.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
