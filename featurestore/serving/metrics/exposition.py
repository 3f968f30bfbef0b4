"""The page that Prometheus reads."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from featurestore.errors import AddressInUseError, ConfigError
from featurestore.serving.metrics.samples import Metric, Sample, Source, Totals


class MetricsPage:
    """Serves ``/metrics`` over HTTP, in threads of its own.

    Args:
        host: the address.
        port: the port.
        sources: what is on the page; asked for each time that it is read.
        section: of ``featurestore.toml``, where the address stands.

    Raises:
        AddressInUseError: another process listens on the port.
        ConfigError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, sources: Sequence[Source], *, section: str = "serving") -> None:
        registry = prometheus_client.CollectorRegistry(auto_describe=False)
        registry.register(_Sources(sources))
        try:
            self._server, self._thread = prometheus_client.start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUseError(
                    f"Port {port} of {host}, for metrics, is taken by another process.",
                    hint=f'Stop it, or choose another "metrics_port" under [{section}] in featurestore.toml.',
                ) from None
            raise ConfigError(
                f"Metrics cannot be served at {host}:{port}: {error.strerror}.",
                hint=f'Check "metrics_host" and "metrics_port" under [{section}] in featurestore.toml.',
            ) from None

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Sources(Collector):
    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        total = Totals()
        for source in self._sources:
            total.add(source())
        return families(total.samples())


def families(samples: Iterable[Sample]) -> Iterator[Family]:
    """Yield samples as the library has them, each metric once, in the order of their names."""
    by_metric: dict[Metric, list[Sample]] = {}
    for sample in samples:
        by_metric.setdefault(sample.metric, []).append(sample)
    for metric in sorted(by_metric, key=lambda one: one.name):
        ordered = sorted(by_metric[metric], key=lambda one: one.labels)
        if metric.kind == "histogram":
            yield _histogram(metric, ordered)
            continue
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.help, labels=metric.labels)
        for one in ordered:
            family.add_metric(one.labels, one.values[0])
        yield family


def _histogram(metric: Metric, samples: Sequence[Sample]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*map(str, metric.bounds), "+Inf"]
    for one in samples:
        *counts, total = one.values
        family.add_metric(one.labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    return family
