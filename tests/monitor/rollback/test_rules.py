"""Which action an incident justifies: more than an alert is wanted, and people decide where it is not sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.rollback.rules import (
    AFTER_PROMOTION,
    LAG,
    LEAST_ROWS,
    LEAST_SHARE,
    AliasFacts,
    CanaryFacts,
    FaultyRows,
    LoadFacts,
    bad_load,
    suspects,
    why_held,
    worse_canary,
    worse_release,
)
from monitor.rollback.values import Deed, Opened, Outlook, Proposal

ONSET = datetime(2026, 5, 2, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
NULLS = Opened(
    incident=12,
    key="group-1",
    service="flight_delay@3",
    rule="null spike",
    features=("temp", "wind"),
    views={"temp": "weather", "wind": "weather"},
    source="weather_csv",
    onset=ONSET,
    since=ONSET + 2 * HOUR,
    window=HOUR,
)
FALL = replace(NULLS, rule="performance", features=(), views={})
SPIKE = FaultyRows(rows=1000, faulty=600, rows_before=9000, faulty_before=90)
WELL = FaultyRows(rows=1000, faulty=9, rows_before=9000, faulty_before=90)


def load(name: str, minutes: float, faulty: FaultyRows | None = None, *, pushed: bool = False) -> LoadFacts:
    at = ONSET + timedelta(minutes=minutes)
    found = None if faulty is None else {"temp": faulty}
    return LoadFacts(view="weather", load_id=name, published_at=at, pushed=pushed, faulty=found)


def proposed(found: Outlook) -> Proposal:
    assert found.proposal is not None, found.reason
    return found.proposal


def test_a_fault_that_begins_with_a_load_and_is_in_its_rows_takes_the_load_back() -> None:
    found = proposed(bad_load(NULLS, {"weather": [load("good", -3000), load("bad", -5, SPIKE)]}))
    assert (found.deed, found.target) == (Deed.RESTORE_LOAD, "view weather")
    assert found.details == {"steps": [{"view": "weather", "last_good": "good", "loads": ["bad"]}]}
    assert found.subject == "restore_load:weather:bad"
    assert found.summary == (
        "load bad of view weather (null spike of temp in 60.0% of its 1,000 rows, 1.0% before) is taken back, "
        "as flight_delay@3 has null spike since 2026-05-02 02:00"
    )


def test_loads_after_the_bad_one_go_with_it_and_pushed_rows_stay() -> None:
    loads = [load("good", -60), load("bad", -5, SPIKE), load("push-1", 0, pushed=True), load("worse", 30, SPIKE)]
    found = proposed(bad_load(NULLS, {"weather": loads}))
    assert found.details["steps"][0]["loads"] == ["bad", "worse"]
    assert "is taken back with the 1 load after it" in found.summary


def test_the_last_good_state_may_be_that_of_pushed_rows() -> None:
    loads = [load("good", -60), load("push-1", -30, pushed=True), load("bad", -5, SPIKE)]
    assert proposed(bad_load(NULLS, {"weather": loads})).details["steps"][0]["last_good"] == "push-1"


@pytest.mark.parametrize(
    ("opened", "loads", "reason"),
    [
        (NULLS, [load("good", -60), load("right", -5, WELL)], "no load of its views"),
        (NULLS, [load("good", -60), load("nobody looked", -5)], "no load of its views"),
        (NULLS, [load("good", -9000), load("long before", -3000, SPIKE)], "no load of its views"),
        (NULLS, [load("good", -60), load("push-1", -5, SPIKE, pushed=True)], "no load of its views"),
        (NULLS, [load("bad", -5, SPIKE)], "is the first load of view weather"),
        (NULLS, [], "no load of its views"),
        (replace(NULLS, slice="carrier=AA"), [load("good", -60), load("bad", -5, SPIKE)], "about a slice"),
        (replace(NULLS, onset=None), [load("good", -60), load("bad", -5, SPIKE)], "when it began is not known"),
        (replace(NULLS, rule="drift"), [load("good", -60), load("bad", -5, SPIKE)], '"drift" shows in no rows'),
    ],
)
def test_what_did_not_come_with_a_load_takes_none_back(opened: Opened, loads: Sequence[LoadFacts], reason: str) -> None:
    found = bad_load(opened, {"weather": loads})
    assert found.proposal is None
    assert reason in found.reason


def test_bad_loads_of_two_views_go_together() -> None:
    wind = [replace(load("w1", -60), view="wind"), replace(load("w2", -4, SPIKE), view="wind")]
    found = proposed(bad_load(NULLS, {"weather": [load("good", -60), load("bad", -5, SPIKE)], "wind": wind}))
    assert [one["view"] for one in found.details["steps"]] == ["weather", "wind"]
    assert found.target == "views weather, wind"


def test_a_load_that_waited_for_a_materialization_is_suspected_too() -> None:
    times = [-LAG / timedelta(minutes=1) - 1, -LAG / timedelta(minutes=1), 0, 120, 121]
    found = suspects(NULLS, [load(str(number), minutes) for number, minutes in enumerate(times)])
    assert [one.load_id for one in found] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("rows", "sure"),
    [
        (SPIKE, True),
        (WELL, False),
        (FaultyRows(rows=LEAST_ROWS - 1, faulty=LEAST_ROWS - 1, rows_before=9000), False),
        (FaultyRows(rows=LEAST_ROWS, faulty=LEAST_ROWS, rows_before=9000), True),
        (FaultyRows(rows=1000, faulty=1000, rows_before=0), False),
        (FaultyRows(rows=0), False),
        (FaultyRows(rows=1000, constant=True), True),
        (FaultyRows(rows=10**9, faulty=2 * 10**7, rows_before=10**9, faulty_before=9 * 10**6), True),
        (FaultyRows(rows=10**9, faulty=10**7, rows_before=10**9, faulty_before=9 * 10**6), False),
    ],
)
def test_a_load_is_guilty_when_surely_more_of_its_rows_have_the_fault(rows: FaultyRows, sure: bool) -> None:
    assert rows.surely is sure


@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 10**6), st.floats(0, 1))
def test_no_load_is_guilty_whose_rows_have_the_fault_no_more_often(
    rows: int, share: float, rows_before: int, share_before: float
) -> None:
    found = FaultyRows(
        rows=rows,
        faulty=round(rows * share),
        rows_before=rows_before,
        faulty_before=round(rows_before * share_before),
    )
    if found.surely:
        assert found.faulty / rows > found.faulty_before / max(rows_before, 1) + LEAST_SHARE


CANARY = CanaryFacts(service="flight_delay", version=3, production=2, share=0.1, worse=("No: it is worse",))


def test_a_canary_that_is_surely_worse_gets_no_requests_any_more() -> None:
    found = proposed(worse_canary(FALL, CANARY))
    assert (found.deed, found.target) == (Deed.STOP_CANARY, "alias canary of flight_delay")
    assert found.summary == "the canary flight_delay@3 goes from 10% to 0 %: No: it is worse"
    assert found.details == {"service": "flight_delay", "version": 3, "share": 0.1}


@pytest.mark.parametrize(
    ("opened", "canary", "reason"),
    [
        (FALL, replace(CANARY, worse=(), open=("Not yet: it is open",)), "Not yet: it is open"),
        (FALL, replace(CANARY, worse=()), "was not compared"),
        (FALL, replace(CANARY, version=4), "flight_delay@3 is no canary"),
        (FALL, replace(CANARY, share=0.0), "gets no requests"),
        (FALL, None, "is no canary"),
        (NULLS, CANARY, "not about a version"),
    ],
)
def test_a_canary_stays_where_it_is_not_surely_worse(opened: Opened, canary: Any, reason: str) -> None:
    found = worse_canary(opened, canary)
    assert found.proposal is None
    assert reason in found.reason


ALIAS = AliasFacts(service="flight_delay", alias="production", version=3, before=2, moved_at=ONSET + HOUR / 2)


def test_an_alias_goes_back_when_the_fall_began_with_its_promotion() -> None:
    found = proposed(worse_release(FALL, ALIAS))
    assert found.deed is Deed.ROLL_BACK_ALIAS
    assert found.details == {"service": "flight_delay", "alias": "production", "version": 3, "to": 2}
    assert "goes back from flight_delay@3 to flight_delay@2" in found.summary


@pytest.mark.parametrize(
    ("alias", "reason"),
    [
        (replace(ALIAS, moved_at=ONSET + HOUR * 1.1), "not with the promotion"),
        (replace(ALIAS, moved_at=ONSET - AFTER_PROMOTION - HOUR), "not with the promotion"),
        (replace(ALIAS, before=None), "no way back"),
        (replace(ALIAS, moved_at=None), "not known"),
        (replace(ALIAS, version=4), "no alias production points to flight_delay@3"),
        (replace(ALIAS, before_is_ill=True), "flight_delay@2, where the way back leads, has the same alert"),
        (None, "no alias production"),
    ],
)
def test_an_alias_stays_where_the_promotion_is_not_the_cause(alias: Any, reason: str) -> None:
    found = worse_release(FALL, alias)
    assert found.proposal is None
    assert reason in found.reason


def test_what_holds_an_action_is_said() -> None:
    free: dict[str, Any] = {
        "allowed": ["restore_load"],
        "enabled": True,
        "replay": "",
        "done_today": 0,
        "per_day": 1,
        "undone_by": "",
    }
    assert why_held(Deed.RESTORE_LOAD, **free) == ""
    for change, reason in (
        ({"replay": "july"}, "a rehearsal changes nothing"),
        ({"allowed": []}, "the policy does not allow it"),
        ({"enabled": False}, "featurestore.toml does not allow it"),
        ({"undone_by": "ada"}, "ada has taken the same back before"),
        ({"done_today": 1}, "the policy allows 1 in 24 hours"),
    ):
        assert why_held(Deed.RESTORE_LOAD, **(free | change)).startswith(reason)
    assert why_held(Deed.STOP_CANARY, **free) != ""
