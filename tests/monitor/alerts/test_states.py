"""The life of an alert, checked against a plain model of what people should have heard."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from monitor.alerts.states import KEEP_FIRING_FOR, Alert, Notification, Observation, State, advance, alert_key

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


def test_it_resolves_after_enough_windows_without_effect_in_a_row() -> None:
    alert, _ = advance(Alert(key="k"), seen(alarm=True, effect=True))
    said = []
    for effect in (False, False, True, False, False, False):
        alert, notification = advance(alert, seen(effect=effect))
        said.append(notification)
    assert said == [None] * 5 + [Notification.RESOLVED]
    assert alert.state is State.RESOLVED


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
    """Any sequence of windows: what was said is told by the windows alone, without the machine's state."""

    def __init__(self) -> None:
        super().__init__()
        self.alert = Alert(key="k")
        self.windows: list[Observation] = []
        self.said: list[tuple[int, Notification]] = []

    @rule(alarm=st.booleans(), effect=st.booleans(), span=st.integers(1, 50))
    def window(self, alarm: bool, effect: bool, span: int) -> None:
        one = Observation(
            alarm=alarm, effect=effect or alarm, onset=_START + timedelta(days=len(self.windows)), span=span
        )
        self.windows.append(one)
        self.alert, said = advance(self.alert, one)
        if said is not None:
            self.said.append((len(self.windows) - 1, said))

    @invariant()
    def what_was_said_alternates_and_starts_with_firing(self) -> None:
        kinds = [kind for _, kind in self.said]
        assert kinds[::2] == [Notification.FIRING] * len(kinds[::2])
        assert kinds[1::2] == [Notification.RESOLVED] * len(kinds[1::2])
        assert self.alert.episode == len(kinds[::2])
        assert (self.alert.state is State.FIRING) == (len(kinds) % 2 == 1)

    @invariant()
    def firing_is_said_at_the_first_alarm_after_the_last_resolve(self) -> None:
        before = -1
        for place, kind in self.said:
            if kind is Notification.FIRING:
                assert [one.alarm for one in self.windows[before + 1 : place + 1]] == [False] * (place - before - 1) + [
                    True
                ]
            before = place
        if len(self.said) % 2 == 0:
            assert not any(one.alarm for one in self.windows[before + 1 :])

    @invariant()
    def resolved_is_said_at_the_first_quiet_stretch_after_firing(self) -> None:
        for (fired, _), (resolved, _) in zip(self.said[::2], self.said[1::2], strict=False):
            quiet = [not one.effect for one in self.windows[fired + 1 : resolved + 1]]
            assert quiet[-KEEP_FIRING_FOR:] == [True] * KEEP_FIRING_FOR
            assert not _has_stretch(quiet[:-1])
        if len(self.said) % 2 == 1:
            assert not _has_stretch([not one.effect for one in self.windows[self.said[-1][0] + 1 :]])


def _has_stretch(quiet: list[bool]) -> bool:
    return any(all(quiet[at : at + KEEP_FIRING_FOR]) for at in range(len(quiet) - KEEP_FIRING_FOR + 1))


TestLife = Life.TestCase
