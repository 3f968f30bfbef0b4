"""What a server's page of metrics says of its calls: what ``exposition`` has written, read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from featurestore.errors import ServingError
from featurestore.serving.metrics.calls import ENTITY_ROWS, LATENCY, REFUSED, STALE
from featurestore.serving.metrics.samples import Metric

#: A counter: the name of its metric, and the values of its labels in their order. A histogram has one for each bucket,
#: with the bucket's upper bound as the last value: ``+Inf`` counts all.
Series: TypeAlias = tuple[str, ...]

_BUILD, _BUCKET = "featurestore_build_info", f"{LATENCY.name}_bucket"
_COUNTERS: Mapping[str, Metric] = {one.name: one for one in (REFUSED, ENTITY_ROWS, STALE)}
#: Everything else on the page is passed over before it is parsed: of many views there are many lines.
_WANTED = (_BUILD, LATENCY.name, *_COUNTERS)


@dataclass(frozen=True, kw_only=True)
class CallTotals:
    """What a server has counted of its calls since it started.

    Attributes:
        project: whose server it is.
        version: its release.
        totals: each counter; they only grow while the server runs.
    """

    project: str
    version: str
    totals: Mapping[Series, float]


def parse(text: str) -> CallTotals:
    """Return what a page in Prometheus' text format says of calls.

    Args:
        text: the page.

    Raises:
        ServingError: it is no page of a feature server.
    """
    build: Mapping[str, str] | None = None
    totals: dict[Series, float] = {}
    try:
        for family in text_string_to_metric_families("\n".join(_wanted(text)) + "\n"):
            for one in family.samples:
                if one.name == _BUILD:
                    build = one.labels
                elif one.name == _BUCKET:
                    labels = (*(one.labels[name] for name in LATENCY.labels), one.labels["le"])
                    totals[LATENCY.name, *labels] = one.value
                elif one.name in _COUNTERS:
                    labels = tuple(one.labels[name] for name in _COUNTERS[one.name].labels)
                    totals[one.name, *labels] = one.value
    except (ValueError, KeyError) as error:
        raise ServingError(f"What is there cannot be read as metrics: {error}.") from None
    if build is None:
        raise ServingError("What is there is no page of a feature server's metrics.")
    return CallTotals(project=build.get("project", ""), version=build.get("version", ""), totals=totals)


def _wanted(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        # A comment, "# TYPE NAME histogram", says what kind of metric the lines after it are.
        name = line.split(" ", 3)[2] if line.startswith("# TYPE ") else line
        if name.startswith(_WANTED):
            yield line
