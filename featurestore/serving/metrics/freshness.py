"""How fresh the stores are: rows online and the newest of them, pushed rows that wait; counted in the background."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Sequence

import structlog

from featurestore.config import Config
from featurestore.definitions import storage_id
from featurestore.errors import FeatureStoreError
from featurestore.online import open_online_store
from featurestore.pushing.log import PushLog
from featurestore.serving.metrics.samples import Metric, Sample
from featurestore.serving.runtime import Runtime

ROWS = Metric(
    name="featurestore_online_rows",
    help="Rows of a view in the online store.",
    kind="gauge",
    labels=("view", "version"),
)
NEWEST = Metric(
    name="featurestore_online_newest_event_timestamp_seconds",
    help="Event time of the newest row of a view in the online store, seconds since 1970.",
    kind="gauge",
    labels=("view", "version"),
)
COUNTED = Metric(
    name="featurestore_online_counted_timestamp_seconds",
    help="When the rows of the online store were last counted, seconds since 1970.",
    kind="gauge",
)
BACKLOG = Metric(
    name="featurestore_push_backlog_rows", help="Pushed rows that are not in the offline store yet.", kind="gauge"
)
BACKLOG_SINCE = Metric(
    name="featurestore_push_backlog_oldest_timestamp_seconds",
    help="When the oldest of them was pushed, seconds since 1970; absent where none waits.",
    kind="gauge",
)

#: Counting reads every row. It takes a hundredth of the time, however many there are.
_LEAST_SECONDS = 15.0
_REST = 100.0

_logger = structlog.get_logger(__name__)


class Freshness:
    """Counts the rows of the views that are served, in a thread.

    It reads the store in the process of the parent, so no lookup waits for it.

    Args:
        config: the configuration; what it names is opened when first counted.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._samples: Sequence[Sample] = ()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="freshness", daemon=True)
        self._thread.start()

    def samples(self) -> Iterable[Sample]:
        """Return what was found last."""
        return self._samples

    def close(self) -> None:
        """Count no more; a count that goes on is not waited for, as it ends with the process."""
        self._closing.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        said = ""
        while True:
            started = time.monotonic()
            try:
                self._samples = online_samples(self._config)
                said = ""
            except FeatureStoreError as error:
                self._samples = ()  # stale figures would hide that nobody counts
                if error.message != said:
                    _logger.error("online rows cannot be counted", error=error.message, hint=error.hint)
                said = error.message
            except Exception:  # what is unforeseen must not end the thread either
                self._samples = ()
                _logger.exception("online rows cannot be counted")
            taken = time.monotonic() - started
            if self._closing.wait(max(_LEAST_SECONDS, _REST * taken)):
                return


def online_samples(config: Config) -> list[Sample]:
    """Return the rows of each view that a service reads, when the newest was true, and how many pushed rows wait.

    Raises:
        FeatureStoreError: the registry or the online store cannot be read.
    """
    with contextlib.closing(Runtime(config)) as runtime:
        services = runtime.services().values()
        tables = {
            (use.view.name, str(service.pins.get(use.view.reference, 0))): storage_id(use.view)
            for service in services
            for use in service.definition.uses
        }
    store = open_online_store(config.online_store(), config.root)
    try:
        found = store.status()
    finally:
        store.close()
    samples = [COUNTED.sample(time.time())]
    for labels, table in sorted(tables.items()):
        status = found.get(table)
        samples.append(ROWS.sample(0 if status is None else status.rows, *labels))
        if status is not None and status.newest is not None:
            samples.append(NEWEST.sample(status.newest / 1e6, *labels))
    waiting = PushLog(config.path(config.push.path)).backlog()
    samples.append(BACKLOG.sample(waiting.rows))
    if waiting.oldest is not None:
        samples.append(BACKLOG_SINCE.sample(waiting.oldest / 1e6))
    return samples
