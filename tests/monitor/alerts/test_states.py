"""The life of an alert, checked against a plain model of what people should have heard."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from monitor.alerts.states import (
    Alert,
    Notification,
    Observation,
    State,
    advance,
    alert_key,
    closed,
    expected,
    unseen,
    worst,
)

_START = datetime(2013, 7, 1, tzinfo=UTC)


def seen(*, alarm: bool = False, effect: bool = False, span: int = 1) -> Observation:
    return Observation(alarm=alarm, effect=effect, onset=_START, span=span)


def test_an_alarm_fires_once_and_further_alarms_say_nothing() -> None:
    alert, said = advance(Alert(key="k"), seen(alarm=True, effect=True, span=9))
    assert (alert.state, alert.episode, alert.onset, alert.span) == (State.FIRING, 1, _START, 9)
    assert said is Notification.FIRING
    again, said = advance(alert, seen(alarm=True, effect=True))
    assert said is None
    assert again == alert


def test_an_effect_without_evidence_does_not_fire() -> None:
    assert advance(Alert(key="k"), seen(effect=True)) == (Alert(key="k"), None)


def test_it_recovers_and_resolves_after_enough_windows_without_effect_in_a_row() -> None:
    alert, _ = advance(Alert(key="k"), seen(alarm=True, effect=True))
    told = []
    for effect in (False, False, True, False, False, False):
        alert, notification = advance(alert, seen(effect=effect))
        told.append((alert.state, notification))
    assert told == [
        (State.RECOVERING, None),
        (State.RECOVERING, None),
        (State.FIRING, None),
        (State.RECOVERING, None),
        (State.RECOVERING, None),
        (State.RESOLVED, Notification.RESOLVED),
    ]
    assert not alert.firing


def test_an_alarm_is_held_for_its_windows_and_dropped_by_one_without_effect() -> None:
    alert, said = advance(Alert(key="k"), seen(alarm=True, effect=True), hold_for=2)
    assert (alert.state, said, alert.open, alert.firing) == (State.PENDING, None, True, False)
    held, said = advance(alert, seen(effect=True), hold_for=2)
    assert (held.state, said) == (State.PENDING, None)
    assert advance(held, seen(effect=False), hold_for=2) == (replace(held, state=State.OK, held=0), None)
    fired, said = advance(held, seen(effect=True), hold_for=2)
    assert (fired.state, fired.episode, said) == (State.FIRING, 1, Notification.FIRING)


@pytest.mark.parametrize("why", [State.NO_DATA, State.ERROR])
def test_what_fires_goes_on_while_nobody_sees_it(why: State) -> None:
    alert, _ = advance(Alert(key="k"), seen(alarm=True, effect=True))
    alert, _ = advance(alert, seen(effect=False))
    blind = alert
    for looks in range(1, 9):
        blind, said = unseen(blind, why, since=_START, tell_after=2)
        assert (blind.state, blind.unseen, blind.open, blind.firing, said) == (why, looks, True, True, None)
    # Windows that showed nothing are no windows without effect.
    assert advance(blind, seen(effect=False)) == advance(alert, seen(effect=False))
    assert advance(blind, seen(effect=True)) == advance(alert, seen(effect=True))
    assert closed(blind)[1] is Notification.RESOLVED


def test_that_nothing_is_seen_is_told_when_it_lasts() -> None:
    alert = Alert(key="k", state=State.RESOLVED, episode=1)
    told = []
    for why in (State.NO_DATA, State.ERROR, State.ERROR, State.ERROR):
        alert, said = unseen(alert, why, since=_START, tell_after=3)
        told.append((alert.state, alert.firing, said))
    assert told == [
        (State.NO_DATA, False, None),
        (State.ERROR, False, None),
        (State.ERROR, True, Notification.FIRING),
        (State.ERROR, True, None),
    ]
    assert (alert.episode, alert.onset, alert.open) == (2, _START, False)
    assert advance(alert, seen()) == (
        replace(alert, state=State.RESOLVED, unseen=0, before=State.OK),
        (Notification.RESOLVED),
    )
    # What is seen then may be worse than nothing: that is another episode.
    fired, said = advance(alert, seen(alarm=True, effect=True))
    assert (fired.state, fired.episode, said) == (State.FIRING, 3, Notification.FIRING)
    held, said = advance(alert, seen(alarm=True, effect=True), hold_for=1)
    assert (held.state, held.firing, said) == (State.PENDING, False, Notification.RESOLVED)


def test_that_nothing_is_seen_is_never_told_unless_it_is_wanted() -> None:
    alert = Alert(key="k")
    for _ in range(100):
        alert, said = unseen(alert, State.NO_DATA, since=_START)
        assert said is None
    assert advance(alert, seen()) == (Alert(key="k"), None)
    with pytest.raises(ValueError, match="ok does not say"):
        unseen(alert, State.OK, since=_START)


def test_a_held_alarm_is_still_held_when_there_is_something_to_see_again() -> None:
    alert, _ = advance(Alert(key="k"), seen(alarm=True, effect=True), hold_for=1)
    blind, _ = unseen(alert, State.NO_DATA, since=_START)
    assert (blind.open, blind.firing) == (True, False)
    assert advance(blind, seen(effect=True), hold_for=1)[1] is Notification.FIRING
    told, said = unseen(blind, State.NO_DATA, since=_START + timedelta(days=1), tell_after=2)
    assert (told.blind, told.onset, said) == (True, _START + timedelta(days=1), Notification.FIRING)


def test_what_nobody_looks_after_any_more_is_closed_and_told_only_where_it_was_told() -> None:
    fired, _ = advance(Alert(key="k"), seen(alarm=True, effect=True))
    assert closed(fired) == (replace(fired, state=State.RESOLVED), Notification.RESOLVED)
    held, _ = advance(Alert(key="k"), seen(alarm=True, effect=True), hold_for=1)
    assert closed(held)[0].state is State.OK
    assert closed(held)[1] is None
    assert closed(Alert(key="k", state=State.RESOLVED, episode=1)) == (
        Alert(key="k", state=State.RESOLVED, episode=1),
        None,
    )


def test_an_alarm_of_the_past_waits_for_the_next_window() -> None:
    alert = expected(Alert(key="k"), seen(alarm=True, effect=True, span=4))
    assert (alert.state, alert.span) == (State.PENDING, 4)
    assert advance(alert, seen(effect=True))[1] is Notification.FIRING
    fired, _ = advance(Alert(key="k"), seen(alarm=True, effect=True))
    assert expected(fired, seen(alarm=True, effect=True, span=9)) == fired
    blind, _ = unseen(Alert(key="k"), State.ERROR, since=_START, tell_after=1)
    assert expected(blind, seen(alarm=True, effect=True)) == blind
    unknown, _ = unseen(Alert(key="k"), State.ERROR, since=_START)
    assert expected(unknown, seen(alarm=True, effect=True)).state is State.PENDING


def test_the_worst_state_is_the_one_that_someone_should_see_first() -> None:
    assert worst([]) is State.OK
    assert worst([State.RESOLVED, State.OK]) is State.RESOLVED
    assert worst([State.ERROR, State.NO_DATA, State.PENDING, State.RECOVERING]) is State.ERROR
    assert worst(State) is State.FIRING


def test_a_resolved_incident_fires_again_as_a_new_episode() -> None:
    alert = Alert(key="k", state=State.RESOLVED, episode=1, quiet=3)
    alert, said = advance(alert, seen(alarm=True, effect=True))
    assert (alert.episode, alert.quiet, said) == (2, 0, Notification.FIRING)


def test_the_key_depends_on_what_is_wrong_and_on_the_rehearsal() -> None:
    key = alert_key("default", "", "flight_delay@1", "flight_drift/drift")
    assert key == alert_key("default", "", "flight_delay@1", "flight_drift/drift")
    others = [
        alert_key("other", "", "flight_delay@1", "flight_drift/drift"),
        alert_key("default", "july", "flight_delay@1", "flight_drift/drift"),
        alert_key("default", "", "flight_delay@2", "flight_drift/drift"),
        alert_key("default", "", "flight_delay@1", "night_drift/drift"),
    ]
    assert len({key, *others}) == 5


class Life(RuleBasedStateMachine):
    """Any sequence of looks: what should be said is told by the list of looks alone, without the machine's state."""

    @initialize(hold_for=st.integers(0, 2), keep_firing_for=st.integers(1, 3), tell_after=st.integers(0, 3))
    def begins(self, hold_for: int, keep_firing_for: int, tell_after: int) -> None:
        self.hold_for, self.keep_firing_for, self.tell_after = hold_for, keep_firing_for, tell_after
        self.alert = Alert(key="k")
        #: Of each look whether it saw an alarm and an effect; None where it saw nothing.
        self.looks: list[tuple[bool, bool] | None] = []
        self.said: list[Notification | None] = []

    @rule(alarm=st.booleans(), effect=st.booleans(), span=st.integers(1, 50))
    def window(self, alarm: bool, effect: bool, span: int) -> None:
        one = Observation(alarm=alarm, effect=effect or alarm, onset=_START, span=span)
        self.alert, said = advance(self.alert, one, hold_for=self.hold_for, keep_firing_for=self.keep_firing_for)
        self.looks.append((alarm, effect or alarm))
        self.said.append(said)

    @rule(why=st.sampled_from([State.NO_DATA, State.ERROR]))
    def nothing(self, why: State) -> None:
        self.alert, said = unseen(self.alert, why, since=_START, tell_after=self.tell_after)
        self.looks.append(None)
        self.said.append(said)

    @invariant()
    def it_says_what_the_looks_say(self) -> None:
        assert self.said == self.story()[0]

    @invariant()
    def it_fires_as_long_as_it_was_told_and_not_resolved(self) -> None:
        told = [one for one in self.said if one is not None]
        assert self.alert.firing == (bool(told) and told[-1] is Notification.FIRING)
        assert self.alert.episode == told.count(Notification.FIRING)
        assert self.alert.firing == self.story()[1]
        assert (self.alert.state in (State.NO_DATA, State.ERROR)) == bool(self.looks and self.looks[-1] is None)

    @invariant()
    def nothing_is_resolved_that_was_not_told(self) -> None:
        told = [one for one in self.said if one is not None]
        for before, one in zip([None, *told], told, strict=False):
            assert one is Notification.FIRING or before is Notification.FIRING

    def story(self) -> tuple[list[Notification | None], bool]:
        """Return what should have been said at each look, and whether it fires after them."""
        said: list[Notification | None] = []
        fires = blind = False
        since: list[tuple[bool, bool]] = []  # windows since the alarm that is held or fires, that one included
        gap = 0
        for look in self.looks:
            say: Notification | None = None
            if look is None:
                gap += 1
                if self.tell_after and gap >= self.tell_after and not fires:
                    say, fires, blind, since = Notification.FIRING, True, True, []
                said.append(say)
                continue
            gap = 0
            if blind:
                say, fires, blind = Notification.RESOLVED, False, False
            if fires:
                since.append(look)
                if [effect for _, effect in since[1:]][-self.keep_firing_for :] == [False] * self.keep_firing_for:
                    say, fires, since = Notification.RESOLVED, False, []
            elif since and not look[1]:
                since = []
            elif since or look[0]:
                since.append(look)
                if len(since) > self.hold_for:
                    say, fires, since = Notification.FIRING, True, since[-1:]
            said.append(say)
        return said, fires


TestLife = Life.TestCase
