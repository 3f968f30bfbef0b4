"""Values of metrics added up, and shown as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from featurestore.serving.metrics.calls import LATENCY, CallCounts
from featurestore.serving.metrics.exposition import families
from featurestore.serving.metrics.samples import Metric, Sample, Totals

CALLS = Metric(name="featurestore_calls_total", help="Calls.", kind="counter", labels=("method",))


def shown(samples: list[Sample]) -> dict[tuple[str, ...], float]:
    """Return what a page with these samples says: by name and values of labels, in the order of the labels' names."""

    class Page:
        def collect(self) -> object:
            return families(samples)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page())  # type: ignore[arg-type]
    found = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (one.name, *(value for _, value in sorted(one.labels.items()))): one.value
        for family in found
        for one in family.samples
    }


@pytest.mark.parametrize(("merge", "expected"), [("sum", 7), ("min", 2), ("max", 5)])
def test_values_of_several_workers_become_one_as_the_metric_says(merge: str, expected: float) -> None:
    metric = Metric(name="featurestore_x", help="x", kind="gauge", merge=merge)  # type: ignore[arg-type]
    total = Totals()
    total.add([metric.sample(2)])
    total.add([metric.sample(5)])
    assert total.samples() == [metric.sample(expected)]


def test_values_with_other_labels_stay_apart_and_each_metric_is_told_of_once() -> None:
    total = Totals()
    total.add([CALLS.sample(1, "b"), CALLS.sample(2, "a")])
    total.add([CALLS.sample(4, "b")])
    assert shown(total.samples()) == {("featurestore_calls_total", "a"): 2, ("featurestore_calls_total", "b"): 5}


def test_a_label_may_hold_any_text() -> None:
    text = 'a "quoted"\nline \\ with everything'
    assert shown([CALLS.sample(1, text)]) == {("featurestore_calls_total", text): 1}


@given(st.lists(st.floats(0, 20), min_size=1, max_size=50))
def test_a_bucket_counts_what_is_no_longer_than_its_bound(durations: list[float]) -> None:
    counts = CallCounts()
    for seconds in durations:
        counts.answered("Get", "svc@1", 3, seconds)
    found = shown(list(counts.samples()))
    name = LATENCY.name
    for bound in LATENCY.bounds:
        at_most = sum(seconds <= bound for seconds in durations)
        assert found[f"{name}_bucket", str(bound), "Get", "svc@1"] == at_most
    assert found[f"{name}_count", "Get", "svc@1"] == found[f"{name}_bucket", "+Inf", "Get", "svc@1"] == len(durations)
    assert found[f"{name}_sum", "Get", "svc@1"] == pytest.approx(sum(durations))
    assert found["featurestore_entity_rows_total", "svc@1"] == 3 * len(durations)


def test_refusals_are_counted_by_method_and_code() -> None:
    counts = CallCounts()
    refuse: Callable[[str, str], None] = counts.refused
    refuse("Get", "NOT_FOUND")
    refuse("Get", "NOT_FOUND")
    refuse("Push", "INTERNAL")
    name = "featurestore_requests_refused_total"
    assert shown(list(counts.samples())) == {(name, "NOT_FOUND", "Get"): 2, (name, "INTERNAL", "Push"): 1}
