"""Gates: never while something is broken, not too soon, not too often; and what waits is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from featurestore.definitions import RetrainingPolicy
from monitor.retraining.gates import QUARTER, Facts, Fault, judge

_NOW = datetime(2026, 5, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_FAULT = Fault(rule="null spike", name="12", service="flight_delay@1", features=("temp",), onset=_NOW - _HOUR)
_RULES = RetrainingPolicy(cooldown=timedelta(days=1), budget=2)


def test_a_cause_that_stands_with_nothing_in_its_way_goes_out() -> None:
    assert judge("drift", Facts(), _RULES, now=_NOW).open


def test_what_is_in_the_way_is_said() -> None:
    recent = [_NOW - _HOUR]
    said = {
        "fault": judge("drift", Facts(faults=[_FAULT, _FAULT]), _RULES, now=_NOW).held,
        "soon": judge("drift", Facts(sent=recent), _RULES, now=_NOW).held,
        "often": judge("drift", Facts(sent=[_NOW - timedelta(days=one) for one in (9, 5)]), _RULES, now=_NOW).held,
        "asked": judge("drift", Facts(pending="0123456789abcdef"), _RULES, now=_NOW).held,
    }
    assert said == {
        "fault": "incident 12 (null spike of temp) of flight_delay@1 and 1 more is open: a model would learn the fault",
        "soon": "the last signal went out at 2026-04-30 23:00 UTC; the next one may at 2026-05-01 23:00 UTC",
        "often": "2 signals went out in 91 days, of 2 allowed; the next one may at 2026-07-22 00:00 UTC",
        "asked": "signal 0123456789ab waits for approval",
    }
    assert judge("drift", Facts(gone="it is over", faults=[_FAULT]), _RULES, now=_NOW).lapsed == "it is over"


def test_what_a_person_asks_for_is_refused_only_while_something_is_broken() -> None:
    busy = Facts(sent=[_NOW] * 9, pending="0123456789abcdef")
    assert judge("request", busy, _RULES, now=_NOW).open
    assert judge("request", Facts(faults=[_FAULT]), _RULES, now=_NOW).held


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["cause", "over", "break", "mend", "wait", "wait long"]),
        st.integers(0, 2),
    ),
    max_size=60,
)


@given(_STEPS, st.integers(1, 4), st.integers(0, 72))
def test_whatever_happens_the_rules_hold_and_nothing_is_lost(
    steps: list[tuple[str, int]], budget: int, cooldown: int
) -> None:
    rules = RetrainingPolicy(budget=budget, cooldown=timedelta(hours=cooldown))
    now, broken = _NOW, set[int]()
    stands, sent = dict[int, bool](), dict[int, list[datetime]]()
    held: dict[int, str] = {}
    for what, which in steps:
        if what == "cause" and which not in held and which not in sent:
            stands[which], held[which] = True, "not looked at yet"
        elif what == "over":
            stands[which] = False
        elif what == "break":
            broken.add(which)
        elif what == "mend":
            broken.discard(which)
        else:
            now += timedelta(hours=7) if what == "wait" else timedelta(days=40)
        for one in sorted(held):
            facts = Facts(
                faults=[_FAULT] * len(broken),
                gone="" if stands[one] else "over",
                sent=[at for each in sent.values() for at in each],
            )
            verdict = judge("drift", facts, rules, now=now)
            # It goes out, waits for a reason that is said, or is gone for one: nothing else can become of it.
            assert [verdict.open, bool(verdict.held), bool(verdict.lapsed)].count(True) == 1
            if verdict.open:
                assert not broken
                assert stands[one]
                sent.setdefault(one, []).append(now)
            if not verdict.held:
                del held[one]
            else:
                held[one] = verdict.held
    instants = sorted(at for each in sent.values() for at in each)
    assert all(len(each) == 1 for each in sent.values())
    assert all(after - before >= rules.cooldown for before, after in pairwise(instants))
    for at in instants:
        assert sum(at - QUARTER < one <= at for one in instants) <= budget
