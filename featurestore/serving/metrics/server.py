"""All metrics of a server: what its workers say, what the online store holds, and the page that shows both."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection

from featurestore import __version__
from featurestore.config import Config
from featurestore.serving.metrics.exposition import MetricsPage
from featurestore.serving.metrics.freshness import Freshness
from featurestore.serving.metrics.samples import Metric, Sample
from featurestore.serving.metrics.workers import WorkersTotals

BUILD = Metric(
    name="featurestore_build_info", help="1 for the release that serves.", kind="gauge", labels=("version", "project")
)


class ServerMetrics:
    """Serves the metrics of a server, in the process of its workers' parent.

    Args:
        config: says where, and what is served.

    Attributes:
        url: of the page.

    Raises:
        AddressInUseError: another process listens on the port.
        ConfigError: the address cannot be bound.
    """

    def __init__(self, config: Config) -> None:
        host, port = config.serving.metrics_host, config.serving.metrics_port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"
        self._project = config.project
        self._workers = WorkersTotals()
        self._freshness = Freshness(config)
        try:
            self._page = MetricsPage(host, port, (self._build, self._workers.samples, self._freshness.samples))
        except BaseException:
            self._end_threads()
            raise

    def line(self) -> Connection:
        """Return the end of a line by which one more worker says how it stands."""
        ours, theirs = multiprocessing.Pipe(duplex=False)
        self._workers.follow(ours)
        return theirs

    def close(self) -> None:
        """Serve no more."""
        self._page.close()
        self._end_threads()

    def _end_threads(self) -> None:
        self._workers.close()
        self._freshness.close()

    def _build(self) -> Iterator[Sample]:
        yield BUILD.sample(1, __version__, self._project)
