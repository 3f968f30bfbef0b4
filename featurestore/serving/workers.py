"""Server processes on one port: started, watched, drained."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import multiprocessing
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import structlog

from featurestore import types
from featurestore.config import Config
from featurestore.errors import AddressInUseError, ConfigError, FeatureStoreError, ServingError
from featurestore.logs import configure_logging
from featurestore.online import open_online_store
from featurestore.serving import exposure
from featurestore.serving.access_log import nobody
from featurestore.serving.certificates import Certificates
from featurestore.serving.feedback import FeedbackLog
from featurestore.serving.feedback.methods import FeedbackMethods
from featurestore.serving.heads import HeadLog
from featurestore.serving.log import WATERMARKS, ServingLog, remove_finished_watermarks
from featurestore.serving.lookup import Lookups
from featurestore.serving.metrics.server import ServerMetrics
from featurestore.serving.metrics.worker import UNDER_WAY, log_samples, service_samples
from featurestore.serving.observing import Observing
from featurestore.serving.pushes import PushMethod
from featurestore.serving.replay import ReplayFeed, instant, sole_holder
from featurestore.serving.routing import canaries
from featurestore.serving.rpc.admission import TokenAdmission, caller_name
from featurestore.serving.rpc.credentials import server_credentials
from featurestore.serving.rpc.server import FeatureServer, Limits, Methods
from featurestore.serving.runtime import Runtime, compile_plans
from featurestore.serving.tokens import KnownTokens
from featurestore.serving.upkeep import Upkeep

_RELOAD_SECONDS = 1.0
_TICK_SECONDS = 0.5
_METRICS_SECONDS = 1.0
_RESTART_SECONDS = 1.0
#: Beyond the grace that calls get: a worker writes its log.
_EXIT_SECONDS = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
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
            _serve_in(config, address, None, lambda: announce(line))
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
            return line
        if any(log.glob("*/*.parquet")):
            raise ConfigError(
                f'Replay "{config.replay}" was held before: {log} has its serving log.',
                hint=f"Take another name, or remove {log.parent}.",
            )
        for file in (log / WATERMARKS).glob("*.json"):
            file.unlink()
        # A worker compiles before it serves, and says what is wrong; here it must be known before the clock is set.
        compile_plans(services)
        start = instant(0) if clock is None else types.utc(clock, "The clock of the replay")
        store = open_online_store(config.online, config.root, durable=False)
        try:
            ReplayFeed(runtime.offline, store).start(start)
        finally:
            store.close()
        return f"{line} REPLAY {config.replay}: clock at {start.isoformat()}, moves by AdvanceClock."
    finally:
        runtime.close()


def _serve_in(
    config: Config,
    address: str,
    parent: Connection | None,
    ready: Callable[[], None],
    metrics: Connection | None = None,
) -> None:
    """Serve in this process; ``metrics`` takes what it counts."""
    with contextlib.closing(Runtime(config)) as runtime:
        store = open_online_store(config.online, config.root, durable=not config.replay)
        try:
            lookups = Lookups(
                store,
                {},
                max_rows=config.serving.max_rows,
                replay=bool(config.replay),
                row_cache=int(config.serving.row_cache_mb * 2**20),
            )
            tokens = KnownTokens() if config.serving.authentication == "token" else None
            observing = Observing(config, metrics, nobody if tokens is None else partial(caller_name, tokens))
            asyncio.run(_Worker(runtime, lookups, observing, tokens).run(address, parent, ready))
        finally:
            store.close()


class _Worker:
    """One server process: its server, its log, and the tasks beside them."""

    def __init__(self, runtime: Runtime, lookups: Lookups, observing: Observing, tokens: KnownTokens | None) -> None:
        self._runtime = runtime
        self._observing = observing
        self._lookups = lookups
        self._config = runtime.config
        self._feed = ReplayFeed(runtime.offline, lookups.store) if lookups.replay else None
        self._heads: HeadLog | None = None
        self._tokens = tokens
        self._revision = -1
        self._reloading = threading.Lock()

    async def run(self, address: str, parent: Connection | None, ready: Callable[[], None]) -> None:
        """Serve until a signal comes or the parent is gone."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop.set)
        if parent is not None:
            # The parent never writes: its end becomes readable when the parent dies.
            loop.add_reader(parent.fileno(), stop.set)
        serving = self._config.serving
        certificates = Certificates(self._config) if serving.tls.enabled else None
        self._reload()
        log = ServingLog(
            self._config.path(serving.log_path),
            now=self._lookups.now(),
            sample=serving.log_sample,
            queue=serving.log_queue,
            replay=self._lookups.replay,
        )
        if self._feed is None:  # a rehearsal's log is thrown away, and would be no witness
            self._heads = HeadLog(self._config.path(serving.log_path), self._runtime)
            self._heads.add()
        feedback = FeedbackLog(self._config.path(serving.feedback_path))
        logging = FeedbackMethods(feedback, self._runtime.model, self._lookups.now, most=serving.max_rows)
        pushes = (
            None if self._feed else PushMethod(self._runtime.pusher(self._lookups.store), max_rows=serving.max_rows)
        )
        advance = None if self._feed is None else partial(self._advance, self._feed)
        server = FeatureServer(
            self._lookups,
            log,
            Methods(
                advance=advance,
                others={**logging.methods(), **({} if pushes is None else {"PushFeatures": pushes})},
            ),
            limits=Limits(
                calls=serving.max_calls,
                message_bytes=int(serving.max_message_mb * 2**20),
                streams=serving.max_calls_per_connection,
                keepalive_seconds=serving.keepalive_seconds,
                min_ping_seconds=serving.min_ping_seconds,
                connection_age_seconds=serving.max_connection_age_seconds,
                connection_idle_seconds=serving.max_connection_idle_seconds,
            ),
            admission=None if self._tokens is None else TokenAdmission(self._tokens),
            watcher=self._observing.watcher,
        )
        self._observing.add(lambda: (UNDER_WAY.sample(server.gate.under_way),))
        self._observing.add(partial(log_samples, log))
        self._observing.add(partial(service_samples, self._lookups))
        await server.start(address, None if certificates is None else server_credentials(certificates))
        ready()

        async def tick() -> None:
            log.tick(self._lookups.now())

        async def reload() -> None:
            await asyncio.to_thread(self._reload)

        beside = [
            asyncio.create_task(_every(_TICK_SECONDS, "serving log", tick)),
            asyncio.create_task(_every(_RELOAD_SECONDS, "reload of the services", reload)),
            asyncio.create_task(_every(_METRICS_SECONDS, "metrics", self._observing.publish)),
        ]
        if certificates is not None:
            refresh = partial(asyncio.to_thread, certificates.refresh)
            beside.append(asyncio.create_task(_every(_RELOAD_SECONDS, "reload of the certificate", refresh)))
        if self._tokens is not None:
            enter = partial(asyncio.to_thread, self._tokens.enter_expired, self._runtime.enter_expired_tokens)
            beside.append(asyncio.create_task(_every(_RELOAD_SECONDS, "audit of expired tokens", enter)))
        upkeep = Upkeep(self._runtime, self._lookups.store)
        if self._feed is None:  # a rehearsal keeps its rows
            beside.append(
                asyncio.create_task(_every(serving.upkeep_seconds, "upkeep of the online store", upkeep.turn))
            )
        await stop.wait()
        if parent is not None:
            loop.remove_reader(parent.fileno())
        await server.stop(serving.drain_seconds)
        upkeep.close()
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        log.close(self._lookups.now())
        feedback.close()
        if pushes is not None:
            pushes.close()
        self._observing.close()
        if self._feed is not None:
            self._feed.close()

    def _reload(self) -> None:
        """Compile the services anew if the registry has changed; requests under way keep the plan they have."""
        with self._reloading:
            revision = self._runtime.revision()
            if revision == self._revision:
                return
            if self._tokens is not None:  # first: a token is revoked also when no service can be read
                self._tokens.replace(self._runtime.tokens())
            services = self._runtime.services()
            plans = compile_plans(services)
            if self._feed is not None:
                self._feed.follow(view for service in services.values() for view in service.definition.views)
            beside = canaries(services, plans, self._runtime.canaries())
            self._lookups.plans, self._lookups.canaries = plans, beside
            self._revision = revision
            if self._heads is not None:
                self._heads.add()

    def _advance(self, feed: ReplayFeed, now: int) -> int:
        # Another worker may serve a new service already; its views must not miss the rows of this advance.
        self._reload()
        return feed.advance(now)


async def _every(seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
    said = ""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
            said = ""
        except FeatureStoreError as error:
            # A registry that is away must not end the serving; it is told of once, not every second.
            if error.message != said:
                _logger.error("background task failed", task=name, error=error.message, hint=error.hint)
            said = error.message
        except Exception:  # what is unforeseen must not end the task either
            _logger.exception("background task failed", task=name)


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
        before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
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
    for number in _SIGNALS:
        # Until the loop handles them: a worker that is stopped while it starts just ends.
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        _serve_in(config, address, parent, lambda: parent.send(None), metrics)
    except FeatureStoreError as error:
        parent.send((error.message, error.hint))
        sys.exit(1)
