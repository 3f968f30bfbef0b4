"""One server process: its server, its logs, and the tasks beside them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from multiprocessing.connection import Connection

import structlog

from featurestore.config import Config
from featurestore.definitions import FeatureService
from featurestore.errors import FeatureStoreError
from featurestore.notices import Listener
from featurestore.online import open_online_store
from featurestore.online.local_copy import LocalCopy, local_copy_of
from featurestore.registry.records import Registered
from featurestore.serving.access_log import nobody
from featurestore.serving.certificates import Certificates
from featurestore.serving.feedback import FeedbackLog
from featurestore.serving.feedback.methods import FeedbackAnswers
from featurestore.serving.heads import HeadLog
from featurestore.serving.log import ServingLog
from featurestore.serving.lookup import Lookups
from featurestore.serving.metrics.worker import UNDER_WAY, copy_samples, log_samples, push_samples, service_samples
from featurestore.serving.observing import Observing
from featurestore.serving.plan import ServicePlan
from featurestore.serving.pushes import PushMethod
from featurestore.serving.refreshing import Refreshing
from featurestore.serving.replay import ReplayFeed
from featurestore.serving.routing import canaries
from featurestore.serving.rpc.admission import TokenAdmission, caller_name
from featurestore.serving.rpc.credentials import server_credentials
from featurestore.serving.rpc.server import FeatureServer, Limits, Methods
from featurestore.serving.runtime import Runtime, compile_plans
from featurestore.serving.tokens import KnownTokens
from featurestore.serving.upkeep import Copying, Merging, Upkeep
from featurestore.serving.worker_status import StatusFile
from featurestore.settings.online import RedisConfig

_RELOAD_SECONDS = 1.0
_TICK_SECONDS = 1.0
_METRICS_SECONDS = 1.0
_STATUS_SECONDS = 5.0
_MERGE_SECONDS = 60.0
#: What ends a server.
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_logger = structlog.get_logger(__name__)


def serve_here(
    config: Config,
    address: str,
    parent: Connection | None,
    ready: Callable[[], None],
    metrics: Connection | None = None,
) -> None:
    """Serve in this process; ``metrics`` takes what it counts."""
    with contextlib.closing(Runtime(config)) as runtime:
        store = open_online_store(config.online_store(), config.root, durable=not config.replay)
        copy = local_copy_of(config.online_store())
        try:
            lookups = Lookups(
                store,
                {},
                max_rows=config.serving.max_rows,
                replay=bool(config.replay),
                row_cache=int(config.serving.row_cache_mb * 2**20),
                local_copy=copy,
            )
            tokens = KnownTokens() if config.serving.authentication == "token" else None
            observing = Observing(config, metrics, nobody if tokens is None else partial(caller_name, tokens))
            worker = _Worker(runtime, lookups, observing, tokens, copy)
            with contextlib.closing(worker), _handlers_put_back(), asyncio.Runner(loop_factory=_event_loop) as runner:
                runner.run(worker.run(address, parent, ready))
        finally:
            store.close()
            if copy is not None:
                copy.close()


@contextlib.contextmanager
def _handlers_put_back() -> Iterator[None]:
    """Have signals do afterwards what they did before: uvloop's handlers outlive its loop, and do nothing then."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # takes a tenth less of the processor, and is not for Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class _Worker:
    """One server process: its server, its log, and the tasks beside them."""

    def __init__(
        self,
        runtime: Runtime,
        lookups: Lookups,
        observing: Observing,
        tokens: KnownTokens | None,
        copy: LocalCopy | None,
    ) -> None:
        self._runtime = runtime
        self._copy = copy
        self._observing = observing
        self._lookups = lookups
        self._config = runtime.config
        self._feed = ReplayFeed(runtime.offline, lookups.store) if lookups.replay else None
        self._heads: HeadLog | None = None
        self._status: StatusFile | None = None
        self._tokens = tokens
        self._revision = -1
        self._services: Mapping[str, Registered[FeatureService]] = {}
        self._reloading = threading.Lock()
        self._listener: Listener | None = None

    def close(self) -> None:
        """Say nothing of itself any more, and hear nothing: however it ended, it serves no longer."""
        if self._listener is not None:
            self._listener.close()
        if self._status is not None:
            self._status.close()

    async def run(self, address: str, parent: Connection | None, ready: Callable[[], None]) -> None:
        """Serve until a signal comes or the parent is gone."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
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
            # After the log, which says by an error of its own that its folder cannot be written.
            self._status = StatusFile(self._config.path(serving.log_path))
            self._status.current(self._revision, self._services)
            self._heads = HeadLog(self._config.path(serving.log_path), self._runtime)
            self._heads.add()
        feedback = FeedbackLog(self._config.path(serving.feedback_path))
        logging = FeedbackAnswers(lambda: feedback, self._runtime.model, self._lookups.now, most=serving.max_rows)
        pushes = (
            None if self._feed else PushMethod(self._runtime.pusher(self._lookups.store), max_rows=serving.max_rows)
        )
        advance = None if self._feed is None else partial(self._advance, self._feed)
        server = FeatureServer(
            self._lookups,
            log,
            Methods(
                advance=advance,
                refresh=Refreshing(self._reload),
                others={**logging.awaited(), **({} if pushes is None else {"PushFeatures": pushes})},
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
        self._observing.add(partial(copy_samples, self._lookups))
        if pushes is not None:
            self._observing.add(partial(push_samples, pushes.answers))
        # Polars starts its threads when it first evaluates: not while somebody waits for it.
        for plan in self._lookups.plans.values():
            if isinstance(plan, ServicePlan) and plan.on_demand:
                plan.on_demand[0].transform.microseconds_per_request()
                break
        await server.start(address, None if certificates is None else server_credentials(certificates))
        ready()

        async def tick() -> None:
            log.tick(self._lookups.now())

        async def reload() -> None:
            await asyncio.to_thread(self._reload)

        changed = asyncio.Event()

        def hear() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(changed.set)

        self._listener = self._runtime.follow(hear)
        beside = [
            asyncio.create_task(_every(_TICK_SECONDS, "serving log", tick)),
            asyncio.create_task(_every(_RELOAD_SECONDS, "reload of the services", reload, changed)),
            asyncio.create_task(_every(_METRICS_SECONDS, "metrics", self._observing.publish)),
        ]
        if certificates is not None:
            refresh = partial(asyncio.to_thread, certificates.refresh)
            beside.append(asyncio.create_task(_every(_RELOAD_SECONDS, "reload of the certificate", refresh)))
        if self._tokens is not None:
            enter = partial(asyncio.to_thread, self._tokens.enter_expired, self._runtime.enter_expired_tokens)
            beside.append(asyncio.create_task(_every(_RELOAD_SECONDS, "audit of expired tokens", enter)))
        if self._status is not None:
            write = partial(asyncio.to_thread, self._status.write)
            beside.append(asyncio.create_task(_every(_STATUS_SECONDS, "status of this server", write)))
        upkeep = Upkeep(self._runtime, self._lookups.store)
        merging = Merging(self._config)
        if self._feed is None:  # a rehearsal keeps its rows, and its log is thrown away
            beside.append(
                asyncio.create_task(_every(serving.upkeep_seconds, "upkeep of the online store", upkeep.turn))
            )
            begun = asyncio.Event()
            begun.set()  # with what others have left
            beside.append(
                asyncio.create_task(_every(_MERGE_SECONDS, "merging of the serving log", merging.turn, begun))
            )
        copying = None if self._copy is None else Copying(self._runtime, self._lookups.store, self._copy)
        if copying is not None and isinstance(self._config.online, RedisConfig):
            first = asyncio.Event()
            first.set()
            seconds = self._config.online.fallback_seconds
            beside.append(asyncio.create_task(_every(seconds, "copy of the online store", copying.turn, first)))
        await stop.wait()
        if parent is not None:
            loop.remove_reader(parent.fileno())
        await server.stop(serving.drain_seconds)
        upkeep.close()
        merging.close()
        if copying is not None:
            copying.close()
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
                if self._status is not None:
                    self._status.current(revision)
                return
            if self._tokens is not None:  # first: a token is revoked also when no service can be read
                self._tokens.replace(self._runtime.tokens())
            services = self._runtime.services()
            plans = compile_plans(services)
            if self._feed is not None:
                self._feed.follow(view for service in services.values() for view in service.definition.views)
            self._lookups.serve(plans, canaries(services, plans, self._runtime.canaries()))
            self._revision, self._services = revision, services
            if self._status is not None:
                self._status.current(revision, services)
            if self._heads is not None:
                self._heads.add()

    def _advance(self, feed: ReplayFeed, now: int) -> int:
        # Another worker may serve a new service already; its views must not miss the rows of this advance.
        self._reload()
        return feed.advance(now)


async def _every(
    seconds: float, name: str, work: Callable[[], Awaitable[None]], now: asyncio.Event | None = None
) -> None:
    """Do some work at an interval, and whenever ``now`` is set."""
    said, now = "", now or asyncio.Event()
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(now.wait(), seconds)
        now.clear()
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
