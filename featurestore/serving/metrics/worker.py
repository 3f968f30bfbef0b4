"""How a worker stands: what it serves, and its serving log."""

from __future__ import annotations

from collections.abc import Iterator

from featurestore.serving.log import ServingLog
from featurestore.serving.lookup import Lookups
from featurestore.serving.metrics.samples import Metric, Sample
from featurestore.serving.plan import ServicePlan
from featurestore.serving.pushes import PushAnswers

SERVICE_UP = Metric(
    name="featurestore_service_up",
    help="1 for each name of a service and the version behind it; 0, without a version, if it cannot be served here.",
    kind="gauge",
    labels=("name", "service"),
    merge="min",
)
UNDER_WAY = Metric(name="featurestore_requests_under_way", help="Calls that are being answered.", kind="gauge")
LOG_ROWS = Metric(
    name="featurestore_log_rows_written_total", help="Entity rows written to the serving log.", kind="counter"
)
LOG_DROPPED = Metric(
    name="featurestore_log_requests_dropped_total",
    help="Requests that were to be in the serving log and are not: the queue was full, or the disk.",
    kind="counter",
)
LOG_FAILED = Metric(
    name="featurestore_log_failed_writes_total",
    help="Writes of the serving log that failed: the disk is full, or refuses.",
    kind="counter",
)
LOG_QUEUE = Metric(
    name="featurestore_log_queue_length", help="Requests that wait to be written to the serving log.", kind="gauge"
)

COPY_COMPLETE = Metric(
    name="featurestore_local_copy_complete_timestamp_seconds",
    help="Up to when the local copy of the online store is complete, in all views that are served; 0 if it is not.",
    kind="gauge",
    merge="min",
)

PUSHED = Metric(
    name="featurestore_pushed_rows_total",
    help="Pushed rows by the version whose checks they met: accepted, rejected, or suppressed as of someone erased.",
    kind="counter",
    labels=("view", "result"),
)


def push_samples(pushes: PushAnswers) -> Iterator[Sample]:
    """Yield what became of pushed rows."""
    for labels, rows in pushes.rows().items():
        yield PUSHED.sample(rows, *labels)


def service_samples(lookups: Lookups) -> Iterator[Sample]:
    """Yield which version each name stands for."""
    for name, plan in lookups.plans.items():
        if "@" not in name:
            known = isinstance(plan, ServicePlan)
            yield SERVICE_UP.sample(int(known), name, plan.id if isinstance(plan, ServicePlan) else "")


def copy_samples(lookups: Lookups) -> Iterator[Sample]:
    """Yield how old the local copy of the online store is, if there is to be one."""
    if lookups.stale is not None:
        plans = [plan for plan in lookups.plans.values() if isinstance(plan, ServicePlan)]
        complete_to = lookups.stale.complete_to({view.storage_id for plan in plans for view in plan.stored})
        yield COPY_COMPLETE.sample((complete_to or 0) / 1e6)


def log_samples(log: ServingLog) -> Iterator[Sample]:
    """Yield how a serving log does."""
    yield LOG_ROWS.sample(log.rows_written)
    yield LOG_DROPPED.sample(log.dropped)
    yield LOG_FAILED.sample(log.failed_writes)
    yield LOG_QUEUE.sample(log.waiting)
