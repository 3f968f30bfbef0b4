"""What the daemon counts and measures, for Prometheus. Labels hold no join key and no value of a feature."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

from featurestore import __version__
from featurestore.config import Config
from featurestore.serving.metrics.exposition import MetricsPage
from featurestore.serving.metrics.samples import Metric, Sample
from monitor.alerts import outbox
from monitor.alerts.incident_state import SEVERITIES
from monitor.history import History
from monitor.pipeline import RunReport, ServiceReport

_STREAM = ("policy", "service")

BUILD = Metric(
    name="featurestore_monitor_build_info",
    help="1 for the release that watches.",
    kind="gauge",
    labels=("version", "project"),
)
WINDOWS = Metric(
    name="featurestore_monitor_windows_judged_total",
    help="Windows judged since the daemon began.",
    kind="counter",
    labels=_STREAM,
)
VERDICT = Metric(
    name="featurestore_monitor_verdict",
    help="1 for the verdict on the newest window that was judged.",
    kind="gauge",
    labels=(*_STREAM, "verdict"),
)
EVIDENCE = Metric(
    name="featurestore_monitor_evidence_log",
    help="Evidence of change over all rows, natural logarithm; an alarm when it reaches its limit.",
    kind="gauge",
    labels=_STREAM,
)
LIMIT = Metric(
    name="featurestore_monitor_evidence_limit_log",
    help="Limit of the evidence, natural logarithm of the average run length in windows.",
    kind="gauge",
    labels=_STREAM,
)
LAG = Metric(
    name="featurestore_monitor_lag_seconds",
    help="How far what has been judged lies behind what is complete.",
    kind="gauge",
    labels=_STREAM,
)
NOTIFIED = Metric(
    name="featurestore_monitor_alerts_total",
    help="Alerts that began to fire, or were resolved, since the daemon began.",
    kind="counter",
    labels=(*_STREAM, "change"),
)
FIRING = Metric(name="featurestore_monitor_alerts_firing", help="Alerts that fire.", kind="gauge")
INCIDENTS = Metric(
    name="featurestore_monitor_incidents",
    help="Incidents that go on, by their urgency, and by whether somebody works on them.",
    kind="gauge",
    labels=("severity", "acknowledged"),
)
OLDEST = Metric(
    name="featurestore_monitor_oldest_unacknowledged_page_seconds",
    help="For how long the oldest incident that pages goes on and nobody works on it; 0 where there is none.",
    kind="gauge",
)
SILENCES = Metric(name="featurestore_monitor_silences", help="Silences that hold.", kind="gauge")
OUTBOX = Metric(
    name="featurestore_monitor_outbox_messages",
    help="Messages that wait, were delivered, or were given up.",
    kind="gauge",
    labels=("state",),
)
ERRORS = Metric(
    name="featurestore_monitor_job_errors_total", help="Runs of a job that failed.", kind="counter", labels=("job",)
)
SUCCESS = Metric(
    name="featurestore_monitor_job_last_success_timestamp_seconds",
    help="When a job last ended well, in seconds since 1970.",
    kind="gauge",
    labels=("job",),
)


class MonitorMetrics:
    """Counts what the daemon does. Every method may be called from any thread.

    Args:
        history: the monitor's database; asked when the page is read.
        project: the namespace.
    """

    def __init__(self, history: History, project: str) -> None:
        self._history = history
        self._project = project
        self._lock = threading.Lock()
        self._counters: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._streams: dict[tuple[str, str], ServiceReport] = {}
        self._verdicts: dict[tuple[str, str], str] = {}
        self._successes: dict[str, float] = {}

    def ran(self, policy: str, report: RunReport) -> None:
        """Count what a run of a policy did."""
        with self._lock:
            for one in report.services:
                stream = (policy, one.service)
                self._add(WINDOWS, one.windows, *stream)
                self._add(NOTIFIED, one.fired, *stream, "fired")
                self._add(NOTIFIED, one.resolved, *stream, "resolved")
                self._verdicts[stream] = one.verdict if one.windows else self._verdicts.get(stream, one.verdict)
                known = self._streams.get(stream)
                # A run without a new window says nothing of the evidence.
                self._streams[stream] = one if one.windows or known is None else _with_lag(known, one)

    def succeeded(self, job: str) -> None:
        """Note that a job has ended well."""
        with self._lock:
            self._successes[job] = datetime.now(UTC).timestamp()
            self._add(ERRORS, 0, job)

    def failed(self, job: str) -> None:
        """Count a failure of a job."""
        with self._lock:
            self._add(ERRORS, 1, job)

    def samples(self) -> Iterator[Sample]:
        """Yield how things stand."""
        yield BUILD.sample(1, __version__, self._project)
        with self._lock:
            counters, streams = dict(self._counters), dict(self._streams)
            verdicts, successes = dict(self._verdicts), dict(self._successes)
        for (metric, labels), value in counters.items():
            yield metric.sample(value, *labels)
        for stream, one in streams.items():
            yield VERDICT.sample(1, *stream, verdicts[stream])
            if one.log_evidence is not None and one.log_limit is not None:
                yield EVIDENCE.sample(one.log_evidence, *stream)
                yield LIMIT.sample(one.log_limit, *stream)
            if one.lag is not None:
                yield LAG.sample(one.lag.total_seconds(), *stream)
        for job, when in successes.items():
            yield SUCCESS.sample(when, job)
        with self._history.read() as connection:
            counts, firing = outbox.counts(connection), self._history.firing(connection)
            incidents, now = self._history.open_incidents(connection), datetime.now(UTC)
            silences = [one for one in self._history.silences(connection, after=now) if one.active(now)]
        for state, count in counts.items():
            yield OUTBOX.sample(count, state)
        yield FIRING.sample(firing)
        yield SILENCES.sample(len(silences))
        by_kind: dict[tuple[str, bool], int] = dict.fromkeys(product(SEVERITIES, (False, True)), 0)
        for incident in incidents:
            by_kind[incident.severity, bool(incident.acknowledged_by)] += 1
        for (severity, acknowledged), count in by_kind.items():
            yield INCIDENTS.sample(count, severity, str(acknowledged).lower())
        waiting = [one.opened_at for one in incidents if one.severity == "page" and not one.acknowledged_by]
        yield OLDEST.sample((now - min(waiting)).total_seconds() if waiting else 0.0)

    def _add(self, metric: Metric, count: float, *labels: str) -> None:
        self._counters[metric, labels] = self._counters.get((metric, labels), 0.0) + count


def serve_metrics(config: Config, metrics: MonitorMetrics) -> MetricsPage | None:
    """Serve the page of a daemon; None where ``metrics_port`` is 0.

    Raises:
        AddressInUseError: another process listens on the port.
        ConfigError: the address cannot be bound.
    """
    section = config.monitor
    if not section.metrics_port:
        return None
    return MetricsPage(section.metrics_host, section.metrics_port, (metrics.samples,), section="monitor")


def _with_lag(known: ServiceReport, newer: ServiceReport) -> ServiceReport:
    return replace(known, lag=newer.lag)
