"""The monitor as a process: one job a policy, one that delivers, one heartbeat, until it is told to stop.

One of the daemons on a database leads, and the others stand by: when its process ends, however it ends, the next one
goes on from what the database knows. One that was only stopped, and finds another at work when it goes on, stands by.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler

from featurestore.definitions import MonitorPolicy
from featurestore.errors import FeatureStoreError, LeadershipLostError
from featurestore.registry import Registered
from monitor.alerts.base import Channel
from monitor.alerts.dispatching import dispatch
from monitor.alerts.fallbacks import fallbacks
from monitor.alerts.outbox import Courier
from monitor.history import History
from monitor.leading import Lead, next_monitor, sole_monitor
from monitor.metrics import MonitorMetrics, serve_metrics
from monitor.pace import Pace
from monitor.pipeline import run_once
from monitor.pipeline.left_behind import close_left_behind
from monitor.ports import Ports, Served
from monitor.retention import prune_all
from monitor.signalling.opening import own_channels
from monitor.signalling.server import serve_signals
from monitor.signalling.source import SignalSource
from monitor.store import Store

#: How many jobs run at once: a policy, the courier and the heartbeat need not wait for a slow policy.
_THREADS = 4

#: How often at least the outbox is looked at: retries begin after seconds, whatever the policies' rhythm.
_COURIER_SECONDS = 1.0

#: How long a signal may wait to be heard.
_SIGNAL_SECONDS = 0.5

#: How often messages that nobody needs any more are removed.
_PRUNING_SECONDS = 3_600.0

#: A clock that is corrected by less needs no attention.
_SET_BACK = timedelta(seconds=5)

#: Begins the name of a policy's job.
_JOB = "policy "

_log = structlog.get_logger("monitor.daemon")

# It warns when a run takes longer than the pause between runs, which is no fault: the next one takes up the rest.
logging.getLogger("apscheduler").setLevel(logging.ERROR)


class Daemon:
    """Runs every current policy of a store's registry while it leads.

    Args:
        store: configuration and registry.
        history: the monitor's database.
        channels: by name; see :func:`monitor.alerts.channels.open_channels`.
        standby: whether to wait for another monitor on the database to end.
        also: what listens on a port beside metrics and signals while this one works, by what the port is for.

    Raises:
        ConfigError: a channel's fallback is none.
    """

    def __init__(
        self,
        store: Store,
        history: History,
        channels: Mapping[str, Channel],
        *,
        standby: bool = True,
        also: Mapping[str, Callable[[], Served | None]] | None = None,
    ) -> None:
        self._store = store
        self._history = history
        self._channels = channels
        self._fallbacks = fallbacks(store.config)
        self._standby = standby
        self._also = dict(also or {})
        self._signal = ""
        self._metrics = MonitorMetrics(history, store.config.project)
        self._stop = threading.Event()

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; the window and the messages at hand are finished first.

        Call it in the main thread.

        Raises:
            MonitorError: another monitor works on the database, and this one is not to stand by.
            ConfigError: a port cannot be bound, or a certificate is not valid. One on which another process listens is
                waited for: what this one is there for is to judge and to deliver.
        """
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        seconds = self._store.config.monitor.lease_seconds
        try:
            if not self._standby:
                with sole_monitor(self._history, lease_seconds=seconds) as ours:
                    self._work(ours)
                return
            while not self._stop.is_set():
                with next_monitor(self._history, stop=self._stop, waiting=self._waits, lease_seconds=seconds) as lead:
                    if lead is not None:
                        self._work(lead)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _log.info("stopped", signal=self._signal)

    def stop(self) -> None:
        """Make :meth:`run` return."""
        self._stop.set()

    def _work(self, lead: Lead) -> None:
        """Work until told to stop, or until another one has taken over."""
        config, registry = self._store.config, self._store.registry
        with ExitStack() as opened:
            # Only who works has ports: daemons of one host share them.
            ports = opened.enter_context(
                Ports(
                    {
                        "metrics": lambda: serve_metrics(config, self._metrics),
                        "signals": lambda: serve_signals(config, SignalSource(self._history, registry), registry),
                        **self._also,
                    }
                )
            )
            own = own_channels(config, self._history, registry)
            channels = {**self._channels, **own}
            courier = opened.enter_context(
                Courier(self._history, channels, fallbacks=self._fallbacks, may_send=lead.valid)
            )
            # Before the courier waits for what is at hand: a command may take long, and the next monitor runs it again.
            for one in own.values():
                opened.callback(one.close)
            jobs = Jobs(self._store, self._history, courier, self._metrics)
            # Not one long wait: a signal that the system gives to another thread does not end it.
            while not self._stop.wait(_SIGNAL_SECONDS) and not lead.lost():
                ports.open()
                jobs.follow_clock()
            if lead.lost():
                _log.warning("another monitor has taken over", database=self._history.name)
            jobs.finish()

    def _waits(self, holder: str) -> None:
        _log.info("standing by", works=holder, database=self._history.name)

    def _on_signal(self, number: int, _frame: object) -> None:
        # Nothing is written here: the main thread may be at it, and hold the lock of the log.
        self._signal = signal.Signals(number).name
        self.stop()


class Jobs:
    """What a monitor does while it leads, each at its own pace.

    Args:
        store: configuration and registry.
        history: the monitor's database.
        courier: delivers.
        metrics: counts.
        clock: the wall clock, as the scheduler has it.
    """

    def __init__(
        self,
        store: Store,
        history: History,
        courier: Courier,
        metrics: MonitorMetrics,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._clock_at = clock()
        self._store = store
        self._history = history
        self._courier = courier
        self._metrics = metrics
        self._finishing = threading.Event()
        self._again: set[str] = set()
        self._started_at = datetime.now(UTC)
        self._revision: int | None = None
        # Runs that were missed become one, however late: the ledger of windows knows what is to be done.
        self._threads = ThreadPoolExecutor(_THREADS)
        self._scheduler = BackgroundScheduler(
            executors={"default": self._threads},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        self._scheduler.start()
        poll = store.config.monitor.poll_seconds
        self.every(poll, "heartbeat", self._beat)
        self.every(poll, "registry", self._follow_registry)
        self.every(min(poll, _COURIER_SECONDS), "courier", self._deliver)
        self.every(_PRUNING_SECONDS, "retention", self._prune)
        # On PostgreSQL; elsewhere, and where a notice is lost, a change is found at the next look.
        told = (store.registry.follow(partial(self.wake, "registry")), history.follow(partial(self.wake, "")))
        self._listeners = [one for one in told if one is not None]

    def every(self, seconds: float, name: str, work: Callable[[], None]) -> None:
        """Do some work now and at an interval, one at a time; what fails is told in the log and done again.

        Args:
            seconds: the interval.
            name: the job's; one of the same name is replaced.
            work: what to do.
        """
        self._scheduler.add_job(
            self._guarded,
            "interval",
            args=(name, work),
            seconds=seconds,
            id=name,
            replace_existing=True,
            next_run_time=datetime.now(UTC),
        )

    def follow_clock(self) -> None:
        """Do everything now where the clock was set back: all of it would wait until it is again where it was."""
        before, self._clock_at = self._clock_at, self._clock()
        if self._clock_at < before - _SET_BACK:
            _log.warning("the clock was set back", by=str(before - self._clock_at))
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))

    def wake(self, name: str) -> None:
        """Do a job now that is done at an interval, or once more if it is at work; without a name, every job."""
        with suppress(JobLookupError, SchedulerNotRunningError):
            for job in self._scheduler.get_jobs():
                if name in ("", job.id):
                    self._again.add(job.id)
                    job.modify(next_run_time=datetime.now(UTC))

    def finish(self) -> None:
        """Begin nothing more, and wait for what is at hand."""
        self._finishing.set()
        # Not by the scheduler: it would wait with its lock, and a job at hand that makes or removes others needs that.
        self._scheduler.shutdown(wait=False)
        self._threads.shutdown(wait=True)
        for one in self._listeners:
            one.close()

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        self._again.discard(name)
        try:
            work()
        except LeadershipLostError as error:
            # What was at hand is not lost: the other one does it.
            _log.warning("job left to another monitor", job=name, reason=error.message)
        except FeatureStoreError as error:
            # Other jobs go on, and this one is tried again.
            self._metrics.failed(name)
            _log.error("job failed", job=name, error=error.message, hint=error.hint)
        except Exception:  # noqa: BLE001 - what is unforeseen is told in our log, and ends no other job
            self._metrics.failed(name)
            _log.exception("job failed", job=name)
        else:
            self._metrics.succeeded(name)
        if name in self._again and not self._finishing.is_set():
            # Whoever woke it did so while it was at work, and the scheduler has passed over that turn.
            self.wake(name)

    def _follow_registry(self) -> None:
        """Have one job for each current policy, as applies change them."""
        revision = self._store.registry.revision()
        if revision == self._revision:
            return
        policies = {one.name: one for one in self._store.registry.list("monitor_policy")}
        for name in policies:
            policy = self._store.registry.policy(name)
            self.every(self._store.config.monitor.poll_seconds, _JOB + name, partial(self._run_policy, policy))
        for job in self._scheduler.get_jobs():
            if job.id.startswith(_JOB) and job.id.removeprefix(_JOB) not in policies:
                with suppress(JobLookupError):  # the scheduler has ended, and its jobs are gone
                    job.remove()
        left = close_left_behind(self._history, self._store.config, policies, now=datetime.now(UTC))
        if left:
            _log.warning("alerts of policies that are gone were closed", alerts=left)
        _log.info("watching", policies=sorted(one.id for one in policies.values()), revision=revision)
        self._revision = revision

    def _run_policy(self, policy: Registered[MonitorPolicy]) -> None:
        pace, more = Pace(self._store.config.monitor.cpu_share), True
        # After a pause there may be more windows than one run takes: it is bounded, and so is its memory.
        while more and not self._finishing.is_set():
            report = run_once(
                self._store,
                self._history,
                policy,
                now=datetime.now(UTC),
                stop=lambda: pace.keep(self._finishing.wait) or self._finishing.is_set(),
            )
            self._metrics.ran(policy.name, report)
            self._deliver()
            more = report.more

    def _deliver(self) -> None:
        """Write the messages that are due by now, and have them delivered."""
        dispatch(self._history, self._store.config, now=datetime.now(UTC))
        self._courier.kick()

    def _prune(self) -> None:
        """Remove the messages that ``[retention]`` does not keep."""
        removed = prune_all(self._history, self._store.config, now=datetime.now(UTC), stop=self._finishing.is_set)
        if removed:
            _log.info("old messages were removed", messages=removed)

    def _beat(self) -> None:
        self._history.beat(
            host=socket.gethostname(), pid=os.getpid(), started_at=self._started_at, now=datetime.now(UTC)
        )
