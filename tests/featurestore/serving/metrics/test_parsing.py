"""What a server writes on its page of metrics is what is read from it."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from featurestore.errors import ServingError
from featurestore.serving.metrics.calls import ENTITY_ROWS, LATENCY, LATENCY_BOUNDS, REFUSED, STALE, CallCounts
from featurestore.serving.metrics.exposition import families
from featurestore.serving.metrics.parsing import parse
from featurestore.serving.metrics.server import BUILD
from featurestore.serving.metrics.workers import WORKERS


def written(counts: CallCounts, project: str = "shop") -> str:
    """Return the page of a server that has counted so much."""

    class Page(Collector):
        def collect(self):  # type: ignore[no-untyped-def]
            return families([BUILD.sample(1, "1.2.3", project), WORKERS.sample(2), *counts.samples()])

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page())
    return generate_latest(registry).decode()


def test_calls_are_read_as_they_were_counted() -> None:
    counts = CallCounts()
    for seconds in (0.0003, 0.0004, 0.3, 99.0):
        counts.answered("GetOnlineFeatures", "delay@1", 3, seconds)
    counts.answered("PushFeatures", "", 0, 0.001)
    counts.refused("GetOnlineFeatures", "NOT_FOUND")
    counts.stale("delay@1")
    found = parse(written(counts, 'a "shop"\\'))
    assert (found.project, found.version) == ('a "shop"\\', "1.2.3")
    of = ("GetOnlineFeatures", "delay@1")
    cumulative = {float(key[-1]): value for key, value in found.totals.items() if key[:3] == (LATENCY.name, *of)}
    assert sorted(cumulative) == [*LATENCY_BOUNDS, float("inf")]
    assert [cumulative[bound] for bound in (2e-4, 5e-4, 0.5, 10.0, float("inf"))] == [0, 2, 3, 3, 4]
    assert found.totals[LATENCY.name, "PushFeatures", "", "+Inf"] == 1
    assert found.totals[REFUSED.name, "GetOnlineFeatures", "NOT_FOUND"] == 1
    assert found.totals[ENTITY_ROWS.name, "delay@1"] == 12
    assert found.totals[STALE.name, "delay@1"] == 1
    assert {key[0] for key in found.totals} == {LATENCY.name, REFUSED.name, ENTITY_ROWS.name, STALE.name}


def test_a_server_that_nobody_has_called_has_counted_nothing() -> None:
    assert parse(written(CallCounts())).totals == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no page of a feature server"),
        ("<html>hello</html>", "no page of a feature server"),
        ("# TYPE up gauge\nup 1\n", "no page of a feature server"),
        ('featurestore_build_info{project="shop"} many\n', "cannot be read as metrics"),
        (f'# TYPE {STALE.name} counter\n{STALE.name}{{other="x"}} 1\n', "cannot be read as metrics"),
    ],
)
def test_what_is_no_page_of_a_server_is_said_to_be_none(text: str, says: str) -> None:
    with pytest.raises(ServingError, match=says):
        parse(text)
