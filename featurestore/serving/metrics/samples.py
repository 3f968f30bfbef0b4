"""Metrics and their values, as they go from a worker to its parent; which library shows them is no matter here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import add
from typing import Literal, NamedTuple

_MERGES: dict[str, Callable[[float, float], float]] = {"sum": add, "min": min, "max": max}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is counted or measured. Its labels hold no join key, and no value of a feature.

    Attributes:
        name: as Prometheus has it: ``featurestore_..._seconds``; a counter's ends in ``_total``.
        help: one sentence.
        kind: ``counter`` only grows, ``gauge`` is how things stand, ``histogram`` counts by size.
        labels: their names.
        bounds: of a histogram, the upper bound of each bucket but the last, which has none.
        merge: how the values of several workers become one.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    merge: Literal["sum", "min", "max"] = "sum"

    def sample(self, value: float, *labels: str) -> Sample:
        """Return a value of a counter or a gauge."""
        return Sample(self, labels, (value,))


class Sample(NamedTuple):
    """One value of a metric.

    Attributes:
        metric: of what.
        labels: the values of its labels, in their order.
        values: the value; of a histogram, the count of each bucket by itself, then the sum of what was measured.
    """

    metric: Metric
    labels: tuple[str, ...]
    values: tuple[float, ...]


#: Gives values when it is asked, about once a second, in the thread that serves: it must be quick.
Source = Callable[[], Iterable[Sample]]


class Totals:
    """Samples added up by metric and labels."""

    def __init__(self) -> None:
        self._values: dict[tuple[Metric, tuple[str, ...]], tuple[float, ...]] = {}

    def add(self, samples: Iterable[Sample]) -> None:
        """Add samples: each to what has its metric and labels."""
        for metric, labels, values in samples:
            before = self._values.get((metric, labels))
            merge = _MERGES[metric.merge]
            self._values[metric, labels] = values if before is None else tuple(map(merge, before, values))

    def samples(self) -> list[Sample]:
        """Return the sums."""
        return [Sample(metric, labels, values) for (metric, labels), values in self._values.items()]
