"""Statuses and ages of served rows."""

from __future__ import annotations

from featurestore.serving.lookup import LogEntry, Lookups
from featurestore.serving.metrics.rows import AGE, BUDGET, STATUS, ServedRows
from featurestore.v1 import serving_pb2 as pb

HOUR = 3600.0


def entry(lookups: Lookups, *origins: str) -> LogEntry:
    request = pb.GetOnlineFeaturesRequest(service="some")
    request.columns.add(name="origin").strings.values.extend(origins)
    return lookups.get_online_features(request.SerializeToString()).entry


def statuses(rows: ServedRows) -> dict[str, float]:
    return {one.labels[2]: one.values[0] for one in rows.samples() if one.metric is STATUS and one.values[0]}


def test_each_status_is_counted_by_service_and_view(lookups: Lookups) -> None:
    rows = ServedRows()
    rows.answered(entry(lookups, "JFK", "LGA", "EWR", "XXX", "YYY"))
    found = {one.labels: one.values for one in rows.samples() if one.metric is STATUS}
    assert found == {
        ("some@1", "weather", "PRESENT"): (2,),
        ("some@1", "weather", "OUTSIDE_MAX_AGE"): (1,),
        ("some@1", "weather", "NOT_FOUND"): (2,),
    }


def test_ages_are_those_of_rows_that_there_are_too_old_ones_included(lookups: Lookups) -> None:
    rows = ServedRows()
    rows.answered(entry(lookups, "JFK", "LGA", "EWR", "XXX"))
    (age,) = [one for one in rows.samples() if one.metric is AGE]
    *counts, total = age.values
    assert sum(counts) == 3
    assert total == 3 * HOUR + (3 * HOUR + 1) + HOUR
    assert counts[AGE.bounds.index(HOUR)] == 1  # EWR, at the bound itself


def test_a_row_ahead_of_the_clock_has_no_age_below_zero(lookups: Lookups) -> None:
    rows = ServedRows()
    one = entry(lookups, "EWR")
    rows.answered(one._replace(served_at=one.served_at - 7_200_000_000))
    (age,) = [one for one in rows.samples() if one.metric is AGE]
    assert age.values[0] == 1
    assert age.values[-1] == 0.0


def test_a_flood_is_looked_at_in_part_and_a_trickle_as_a_whole(lookups: Lookups) -> None:
    rows = ServedRows()
    one = entry(lookups, "JFK", "EWR", "JFK")
    for _ in range(BUDGET):
        rows.answered(one)
    assert statuses(rows) == {"PRESENT": BUDGET}
    rows.answered(one)
    assert statuses(rows) == {"PRESENT": BUDGET + 3}
