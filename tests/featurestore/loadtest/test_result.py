"""What is made of counts: percentiles, saturation, targets, and whether they are worth anything."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from featurestore.loadtest.report import drawn, lines
from featurestore.loadtest.result import About, Result, judged
from featurestore.loadtest.schedule import Schedule
from featurestore.loadtest.tally import Tally
from featurestore.loadtest.targets import parse_targets

ABOUT = About(service="churn", server="127.0.0.1:1", run="ab", rows="a test")
RAMP = Schedule(first=100, last=2100, seconds=20, poisson=False)
STEADY = Schedule(first=100, last=100, seconds=20, poisson=False)


def result(
    schedule: Schedule,
    targets: str = "",
    *,
    latency: Callable[[float], float] = lambda _: 0.001,
    code: Callable[[float], str] = lambda _: "OK",
    lag: Callable[[float], float] = lambda _: 0.0,
    until: float | None = None,
) -> Result:
    """Return the result of a test whose server answers as these functions of the rate at the instant say."""
    tally = Tally(seconds=schedule.seconds)
    for due in schedule.instants():
        if until is not None and due >= until:
            break
        rate = schedule.rate_at(due)
        tally.send(due, lag(rate))
        tally.end(due, due + latency(rate), code(rate), waited=code(rate) == "OK")
    seconds = schedule.seconds if until is None else until
    return judged(tally, schedule, parse_targets(targets), ABOUT, seconds=seconds, interrupted=until is not None)


def test_a_good_server_reaches_its_targets() -> None:
    found = result(STEADY, "p99<5ms,errors<0.1%,rate>98")
    assert (found.passed, found.invalid, found.saturation) == (True, "", None)
    assert found.requests == found.answered == 2000
    assert found.latency[50.0] == pytest.approx(0.001, rel=0.011)
    assert found.achieved_rate == pytest.approx(100)
    assert list(lines(found))[-1] == "PASSED"


def test_one_bound_that_is_missed_fails_the_test_and_is_named() -> None:
    found = result(STEADY, "p99<5ms,errors<0.1%", code=lambda _: "UNAVAILABLE")
    assert [one.holds for one in found.checks] == [False, False]  # nothing was answered, so no latency is good
    said = "\n".join(lines(found))
    assert "MISSED      errors<0.1% (measured 100.00%)" in said
    assert "MISSED      p99<5ms (measured nothing)" in said
    assert said.endswith("FAILED")


def test_refusals_at_once_do_not_make_a_server_look_fast() -> None:
    turn = iter(range(10_000))
    found = result(STEADY, latency=lambda _: 0.1, code=lambda _: "OK" if next(turn) % 4 < 2 else "UNAVAILABLE")
    assert found.latency[50.0] == pytest.approx(0.1, rel=0.011)


def test_a_ramp_finds_the_rate_from_which_the_latency_is_over_its_target() -> None:
    found = result(RAMP, "p99<5ms", latency=lambda rate: 0.001 if rate < 1200 else 0.05)
    assert found.saturation == pytest.approx(1150, abs=60)
    assert found.saturated
    assert not found.passed
    assert result(RAMP, "p99<5ms,rate>=1000", latency=lambda rate: 0.001 if rate < 1200 else 0.05).passed
    assert not result(RAMP, "p99<5ms,rate>=1500", latency=lambda rate: 0.001 if rate < 1200 else 0.05).passed


def test_a_ramp_finds_the_rate_at_which_responses_stay_behind_without_any_target() -> None:
    found = result(RAMP, latency=lambda rate: max(0.001, 20 * (rate - 1500) / 600))
    assert found.saturation == pytest.approx(1450, abs=110)
    assert found.saturated


def test_one_bad_step_between_two_that_hold_is_chance_and_two_are_not() -> None:
    one = result(RAMP, "p99<5ms", latency=lambda rate: 0.05 if 500 <= rate < 600 else 0.001)
    assert one.saturation == pytest.approx(2050, abs=10)
    two = result(RAMP, "p99<5ms", latency=lambda rate: 0.05 if 500 <= rate < 700 else 0.001)
    assert two.saturation == pytest.approx(450, abs=10)


def test_a_ramp_that_never_saturates_says_so_and_one_that_begins_over_it_too() -> None:
    easy = result(RAMP, "p99<5ms")
    assert (easy.saturated, easy.passed) == (False, True)
    assert any("at least: the ramp did not go beyond it" in line for line in lines(easy))
    hard = result(RAMP, "p99<5ms,rate>10", latency=lambda _: 0.1)
    assert (hard.saturation, hard.saturated, hard.passed) == (None, True, False)
    assert any("below the beginning of the ramp" in line for line in lines(hard))


def test_a_sender_that_is_late_makes_the_result_invalid_whatever_it_measured() -> None:
    found = result(STEADY, "p99<5s", latency=lambda _: 0.02, lag=lambda _: 0.01)
    assert "10." in found.invalid
    assert not found.passed
    assert list(lines(found))[-1].startswith("INVALID")
    assert result(STEADY, latency=lambda _: 0.02, lag=lambda _: 0.0019).invalid == ""
    assert result(STEADY, latency=lambda _: 1.0, lag=lambda _: 0.01).invalid == ""


def test_senders_that_give_in_beyond_the_saturation_of_the_server_say_nothing_about_it() -> None:
    def latency(rate: float) -> float:
        return 0.001 if rate < 800 else 0.05

    late = result(RAMP, "p99<5ms", latency=latency, lag=lambda rate: 0.0 if rate < 1200 else 0.5)
    assert late.invalid == ""
    early = result(RAMP, "p99<5ms", latency=latency, lag=lambda rate: 0.0 if rate < 600 else 0.5)
    assert early.invalid


def test_a_test_that_was_stopped_is_judged_by_what_there_was() -> None:
    found = result(STEADY, until=5.0)
    assert (found.interrupted, found.requests, len(found.steps)) == (True, 500, 5)
    assert found.asked_rate == pytest.approx(100)
    assert any("STOPPED" in line for line in lines(found))
    assert result(STEADY, until=0.0).invalid == "no request was sent"


def test_a_result_is_json_with_all_figures() -> None:
    found = json.loads(json.dumps(result(RAMP, "p99<5ms").to_json()))
    assert found["latency"].keys() == {"p50", "p90", "p99", "p99.9", "max"}
    assert found["steps"][0]["latency"].keys() == {"p50", "p99"}
    assert (found["passed"], found["errors"], len(found["steps"])) == (True, 0.0, 20)


def test_the_counts_of_senders_add_up() -> None:
    total, parts = Tally(seconds=10), [Tally(seconds=10) for _ in range(3)]
    for number, part in enumerate(parts):
        part.send(1.0, 0.1 * number)
        part.end(1.0, 1.5 + number, "OK", waited=True)
        part.give_up(9.0)
        total.add(part)
    assert (total.codes["OK"], total.unsent, int(total.scheduled.sum()), int(total.failed.sum())) == (3, 3, 6, 3)
    assert (total.longest, total.longest_lag) == (2.5, 0.2)


def test_latency_is_drawn_over_time_and_of_a_ramp_over_the_rate() -> None:
    steady, ramp = (drawn(result(one)).to_dict() for one in (STEADY, RAMP))
    assert [one["encoding"]["x"]["title"] for one in steady["vconcat"]] == ["seconds", "seconds"]
    assert {one["encoding"]["x"]["title"] for one in ramp["vconcat"]} == {"requests/s asked"}
