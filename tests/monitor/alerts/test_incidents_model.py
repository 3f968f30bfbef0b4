"""The life of incidents beside a model that keeps no state but logs: what fired, was acknowledged, and was said.

The machine keeps what each channel was told and looks at the difference; the model asks its logs, for each channel and
instant, what the rules of STATISTICS ask for. The invariants look at what was said alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from monitor.alerts.base import Kind
from monitor.alerts.calendars import Calendar
from monitor.alerts.grouping import Faults, Subject, group_of
from monitor.alerts.incident_state import Incident, Member
from monitor.alerts.incidents import acknowledged, followed, joined, opened
from monitor.alerts.notices import Around, Notice, Timers, due
from monitor.alerts.silences import Silence, new_silence
from monitor.alerts.states import Alert, State

_START = datetime(2013, 7, 1, 12, tzinfo=UTC)
_WAIT, _INTERVAL, _REPEAT, _SETTLE = 2, 60, 24 * 60, 6 * 60
_NIGHTS = Calendar(
    name="nights", days=tuple(range(7)), spans=((20 * 60, 30 * 60),), timezone="UTC", severities=("ticket", "info")
)
_TIMERS = Timers(settle_interval=timedelta(minutes=_SETTLE))
_RANK = {"info": 0, "ticket": 1, "page": 2}


#: What passes before something happens, unseen by the dispatcher.
_PAUSE = st.sampled_from([0, 1, 2, 5, 30, 61])


@dataclass(frozen=True)
class About:
    """What one of the world's alerts is."""

    severity: str
    routes: tuple[str, ...]
    rule: str
    features: tuple[str, ...] = ()
    slice: str = ""
    escalate_after: int = 0
    escalate_to: tuple[str, ...] = ()


ALERTS = {
    "drift": About("page", ("ops",), "drift", ("temp",), "", 30, ("lead",)),
    "nulls": About("page", ("ops", "mail"), "null spike", ("temp",)),
    "slow": About("ticket", ("ops", "mail"), "performance", (), "", 90, ("lead", "mail")),
    "slice": About("info", ("mail",), "drift", ("wind", "dewp"), "carrier=AA"),
    "unheard": About("page", (), "volume_drop"),
}
CHANNELS = ("lead", "mail", "ops")
SILENCES = (
    ("rule=drift",),
    ("feature=wind",),
    ("feature=dewp", "slice=~carrier=.*"),
    ("severity!=page",),
    ("incident=1",),
    ("policy=flights", "rule=~null.*|perf.*"),
)


@dataclass(eq=False)
class Episode:
    """One alert from when it fired to when it ended."""

    name: str
    number: int
    place: int  # of its incident
    since: float
    step: int
    ended: float | None = None
    last: int = -1  # the step at which it ended

    @property
    def id(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def about(self) -> About:
        return ALERTS[self.name]


@dataclass(frozen=True)
class Said:
    """One message."""

    at: float
    step: int
    place: int
    channel: str
    change: str
    fresh: frozenset[str] = frozenset()


class Telling(RuleBasedStateMachine):
    """Any sequence of alerts, acknowledgements and silences, at any pace."""

    def __init__(self) -> None:
        super().__init__()
        self.minute, self.step = 0.0, 0
        self.incidents: list[Incident] = []
        self.silences: list[Silence] = []
        self.log: list[Said] = []
        self.notices: list[tuple[int, Notice]] = []
        self.episodes: list[Episode] = []
        self.causes: list[str] = []
        self.acknowledgements: list[tuple[int, int]] = []  # step and place
        self.escalated: set[str] = set()

    # What happens.

    @rule(name=st.sampled_from(sorted(ALERTS)), pause=_PAUSE)
    def fires(self, name: str, pause: int) -> None:
        self.minute += pause
        if self.present(name) is None:
            number = 1 + sum(one.name == name for one in self.episodes)
            place = self.place_of(name)
            assert self.join(name, number) == place
            self.episodes.append(Episode(name, number, place, self.minute, self.step))
        self.tick()

    @precondition(lambda self: any(one.ended is None for one in self.episodes))
    @rule(data=st.data(), pause=_PAUSE)
    def ends(self, data: st.DataObject, pause: int) -> None:
        self.minute += pause
        one = data.draw(st.sampled_from([one for one in self.episodes if one.ended is None]))
        one.ended, one.last = self.minute, self.step
        alert = Alert(key=one.name, state=State.RESOLVED, episode=one.number)
        self.incidents = [followed(each, alert, now=self.now) for each in self.incidents]
        self.tick()

    @rule(minutes=st.sampled_from([0.5, 1, 2, 5, 28, 58, 61, 300, 1440]))
    def time_passes(self, minutes: float) -> None:
        self.minute += minutes
        self.tick()

    @precondition(lambda self: any(one.open for one in self.incidents))
    @rule(data=st.data(), pause=_PAUSE)
    def is_acknowledged(self, data: st.DataObject, pause: int) -> None:
        self.minute += pause
        place = data.draw(st.sampled_from([at for at, one in enumerate(self.incidents) if one.open]))
        # Two acknowledgements at one instant are told apart by who.
        self.incidents[place] = acknowledged(self.incidents[place], by=f"person {self.step}", now=self.now)
        self.acknowledgements.append((self.step, place))
        self.tick()

    @rule(texts=st.sampled_from(SILENCES), minutes=st.sampled_from([3, 45, 200, 2000]), pause=_PAUSE)
    def is_silenced(self, texts: tuple[str, ...], minutes: int, pause: int) -> None:
        self.minute += pause
        until = self.now + timedelta(minutes=minutes)
        self.silences.append(new_silence(texts, starts_at=self.now, expires_at=until, author="ann", reason="a test"))
        self.tick()

    @precondition(lambda self: self.silences)
    @rule()
    def silences_end(self) -> None:
        self.silences = [replace(one, expires_at=min(one.expires_at, self.now)) for one in self.silences]
        self.tick()

    # The machine.

    @property
    def now(self) -> datetime:
        return _START + timedelta(minutes=self.minute)

    def join(self, name: str, number: int) -> int:
        about = ALERTS[name]
        subject = Subject(
            project="default",
            service="s@1",
            model="m@1",
            rule=about.rule,
            slice=about.slice,
            features=about.features,
            sources={"temp": ("weather",)},
        )
        group = group_of(subject, [one for one in self.incidents if one.open])
        place = next((at for at, one in enumerate(self.incidents) if one.open and one.group == group.key), None)
        if place is None:
            place = len(self.incidents)
            episode = 1 + sum(one.group == group.key for one in self.incidents)
            self.incidents.append(replace(opened(group, episode=episode, now=self.now), number=place + 1))
        self.incidents[place] = joined(
            self.incidents[place],
            Member(
                alert=name,
                episode=number,
                policy="flights",
                service="s@1",
                rule=about.rule,
                slice=about.slice,
                features=about.features,
                severity=about.severity,
                routes=about.routes,
                escalate_after=timedelta(minutes=about.escalate_after) if about.escalate_after else None,
                escalate_to=about.escalate_to,
                joined_at=self.now,
            ),
        )
        return place

    def tick(self) -> None:
        expected = [one for place in range(len(self.causes)) for one in self.expect(place)]
        faults = Faults([one for one in self.incidents if one.open])
        around = Around(timers=_TIMERS, silences=tuple(self.silences), calendars=(_NIGHTS,), faults=faults)
        said: list[Said] = []
        for place, one in enumerate(self.incidents):
            made, notices = due(one, around, now=self.now)
            assert due(made, around, now=self.now) == (made, ())
            self.incidents[place] = Incident.from_dict(json.loads(json.dumps(made.to_dict())))
            assert self.incidents[place] == made
            for notice in notices:
                self.notices.append((place, notice))
                fresh = frozenset(each.id for each in notice.fresh)
                said.append(Said(self.minute, self.step, place, notice.channel, str(notice.change), fresh))
        # Between incidents and channels there is no order.
        assert sorted(said, key=_stream) == sorted(expected, key=_stream)
        self.log += said
        self.step += 1

    # The model.

    def present(self, name: str) -> Episode | None:
        return next((one for one in self.episodes if one.name == name and one.ended is None), None)

    def over(self, place: int) -> bool:
        return all(one.ended is not None for one in self.episodes if one.place == place)

    def place_of(self, name: str) -> int:
        follows = name == "drift" and self.present("nulls") is not None
        cause = "source weather" if name == "nulls" or follows else "model m@1"
        for place, one in enumerate(self.causes):
            if one == cause and not self.over(place):
                return place
        self.causes.append(cause)
        return len(self.causes) - 1

    def hushed(self, one: Episode) -> bool:
        if one.about.severity != "page" and not 6 <= self.now.hour < 20:
            return True
        active = [each for each in self.silences if each.starts_at <= self.now < each.expires_at]
        labels = {"policy": "flights", "rule": one.about.rule, "slice": one.about.slice}
        labels |= {"severity": one.about.severity, "incident": str(one.place + 1)}
        return all(
            any(_holds([str(matcher) for matcher in each.matchers], labels | {"feature": feature}) for each in active)
            for feature in one.about.features or ("",)
        )

    def visible(self, one: Episode) -> bool:
        return one.ended is None and not self.hushed(one) and not self.follows(one)

    def follows(self, one: Episode) -> bool:
        """Return whether a fault explains it, or did a while ago."""
        if one.name != "drift":
            return False
        faults = [each for each in self.episodes if each.name == "nulls"]
        ends = [each.ended for each in faults if each.ended is not None and each.last > one.step]
        return self.present("nulls") is not None or (bool(ends) and self.minute < max(ends) + _SETTLE)

    def acked(self, one: Episode) -> bool:
        return any(place == one.place and step > one.step for step, place in self.acknowledgements)

    def past(self, place: int, channel: str) -> list[Said]:
        return [one for one in self.log if (one.place, one.channel) == (place, channel)]

    def raised(self, one: Episode) -> bool:
        """Return whether an episode is to be escalated now."""
        heard = [each.at for each in self.log if one.id in each.fresh]
        waits = bool(heard) and self.minute >= heard[0] + one.about.escalate_after
        return waits and one.about.escalate_after > 0 and one.id not in self.escalated and not self.acked(one)

    def expect(self, place: int) -> list[Said]:
        mine = {one.name: one for one in self.episodes if one.place == place}.values()  # the latest of each alert
        seen = [one for one in mine if self.visible(one)]
        raised = [one for one in seen if self.raised(one)]
        self.escalated |= {one.id for one in raised}
        found: list[Said] = []
        for channel in CHANNELS:
            past = self.past(place, channel)
            told = set().union(*(one.fresh for one in past))
            reachable = any(not self.hushed(one) for one in mine if any(t.startswith(one.name + "/") for t in told))
            if self.over(place):
                if past and past[-1].change != "resolved" and reachable:
                    found.append(Said(self.minute, self.step, place, channel, "resolved"))
                continue
            heard = [
                one
                for one in seen
                if channel in one.about.routes or (one.id in self.escalated and channel in one.about.escalate_to)
            ]
            escalates = any(channel in one.about.escalate_to for one in raised)
            change = "escalated" if escalates else self.change(past, told, heard)
            if change:
                fresh = frozenset(one.id for one in heard) - told
                found.append(Said(self.minute, self.step, place, channel, change, fresh))
            last = max((step for step, each in self.acknowledgements if each == place), default=None)
            if last is None or not (change or (past and reachable)) or not all(self.acked(one) for one in heard):
                continue
            if not any(one.change == "acknowledged" and one.step >= last for one in past):
                found.append(Said(self.minute, self.step, place, channel, "acknowledged"))
        return found

    def change(self, past: Sequence[Said], told: set[str], heard: Sequence[Episode]) -> str:
        ready = [one for one in heard if one.id not in told and self.minute >= one.since + _WAIT]
        if not past:
            return "fired" if ready else ""
        spoke = max(one.at for one in past if one.change != "acknowledged")
        known = max(_RANK[ALERTS[one.partition("/")[0]].severity] for one in told)
        if ready and (self.minute >= spoke + _INTERVAL or max(_RANK[one.about.severity] for one in ready) > known):
            return "alert_added"
        waiting = any(not self.acked(one) for one in heard)
        return "repeated" if waiting and self.minute >= spoke + _REPEAT else ""

    # What must hold of what was said, whatever the model says.

    @invariant()
    def nothing_is_resolved_that_was_not_sent_and_it_is_the_last_that_is_said(self) -> None:
        for kinds in self.streams().values():
            assert kinds[0] is Kind.FIRING
            assert kinds.count(Kind.FIRING) == 1
            assert kinds.count(Kind.RESOLVED) <= 1
            assert Kind.RESOLVED not in kinds[:-1]

    @invariant()
    def each_message_has_its_place_in_the_order(self) -> None:
        for place, channel in self.streams():
            numbers = [one.sequence for at, one in self.notices if (at, one.channel) == (place, channel)]
            assert numbers == [str(n) for n in range(1, len(numbers) + 1)]

    @invariant()
    def nobody_is_told_twice_without_a_reason(self) -> None:
        for (place, channel), kinds in self.streams().items():
            before: Said | None = None
            told: set[str] = set()
            for one, kind in zip(self.past(place, channel), kinds, strict=True):
                if kind is Kind.UPDATED and before is not None:
                    assert (
                        (one.change == "alert_added" and one.fresh)
                        or (one.change == "repeated" and one.at >= before.at + _REPEAT)
                        or one.change == "escalated"
                    )
                assert not one.fresh & told
                told |= one.fresh
                before = before if kind is Kind.ACKNOWLEDGED else one

    @invariant()
    def every_alert_that_may_be_heard_is_told_in_time(self) -> None:
        for one in self.episodes:
            if not self.visible(one) or self.minute < one.since + _WAIT:
                continue
            for channel in one.about.routes:
                past = self.past(one.place, channel)
                assert past, f"{channel} was not told of {one.id}"
                spoke = max(each.at for each in past if each.change != "acknowledged")
                told = any(one.id in each.fresh for each in past)
                assert told or self.minute < max(spoke, one.since) + _INTERVAL

    @invariant()
    def a_silenced_incident_says_nothing(self) -> None:
        for place in range(len(self.causes)):
            if all(self.hushed(one) for one in self.episodes if one.place == place):
                assert not [one for one in self.log if one.place == place and one.step == self.step - 1]

    @invariant()
    def what_is_over_and_can_be_heard_is_settled(self) -> None:
        for place, one in enumerate(self.incidents):
            assert one.open != self.over(place)
            told = {each.channel for each in self.log if each.place == place}
            ended = {each.channel for each in self.log if each.place == place and each.change == "resolved"}
            assert one.settled == (not one.open and told == ended)

    def streams(self) -> dict[tuple[int, str], list[Kind]]:
        found: dict[tuple[int, str], list[Kind]] = {}
        for place, one in self.notices:
            found.setdefault((place, one.channel), []).append(one.kind)
        return found


def _stream(one: Said) -> tuple[int, str]:
    return one.place, one.channel


def _holds(matchers: Sequence[str], labels: dict[str, str]) -> bool:
    for text in matchers:
        field, operator, value = re.split(r"(=~|!=|=)", text, maxsplit=1)
        same = re.fullmatch(value, labels[field]) is not None if operator == "=~" else labels[field] == value
        if same == (operator == "!="):
            return False
    return True


TestTelling = Telling.TestCase
