"""What an incident is: the alerts that it is made of, and who was told what of them. Plain values, kept as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from monitor.alerts.states import State

#: From the least to the most urgent.
SEVERITIES = ("info", "ticket", "page")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One alert of an incident, in one of its episodes.

    Attributes:
        alert: the alert's key.
        episode: the alert's, which joined.
        policy: the policy's name.
        service: the stream: ``flight_delay@1``.
        rule: ``drift``, ``null spike`` ...
        slice: which rows; "" for all.
        features: those that it is about, as the service names them; none where it is about no feature.
        severity: ``page``, ``ticket`` or ``info``.
        routes: channels that hear of it.
        escalate_after: how long after it was first told, unacknowledged, others hear of it; None for never.
        escalate_to: channels that hear of it then.
        joined_at: when it fired.
        state: where the alert is.
        firing: whether it still fires: see :attr:`~monitor.alerts.states.Alert.firing`.
        onset: start of the first window that is likely different.
        summary: what was found, in a line.
        ended: why it has ended, where no look has shown that it is over: nobody looks any more, or somebody said so.
        told_at: when any of its channels was first told of it.
        acknowledged: whether somebody has said that they work on it.
        escalated: whether the channels of ``escalate_to`` were told.
        explained: those of its features that faults explained when they last explained it all.
        settles_at: until when it is taken for what is left of faults that are over; None where they are not.
    """

    alert: str
    episode: int
    policy: str
    service: str
    rule: str
    slice: str = ""
    features: tuple[str, ...] = ()
    severity: str = "page"
    routes: tuple[str, ...] = ()
    escalate_after: timedelta | None = None
    escalate_to: tuple[str, ...] = ()
    joined_at: datetime
    state: State = State.FIRING
    firing: bool = True
    onset: datetime | None = None
    summary: str = ""
    ended: str = ""
    told_at: datetime | None = None
    acknowledged: bool = False
    escalated: bool = False
    explained: tuple[str, ...] = ()
    settles_at: datetime | None = None

    @property
    def id(self) -> str:
        """Alert and episode: what a channel is told of once."""
        return f"{self.alert}/{self.episode}"

    def settling(self, now: datetime) -> bool:
        """Return whether it is taken for what is left of faults that are over: until it is about more than those."""
        return self.settles_at is not None and now < self.settles_at and set(self.features) <= set(self.explained)

    def heard_on(self, channel: str) -> bool:
        """Return whether a channel hears of it."""
        return channel in self.routes or (self.escalated and channel in self.escalate_to)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one channel was told of an incident.

    Attributes:
        channel: its name.
        last_at: when it was last told that something is wrong.
        messages: how many messages were written for it.
        members: what it was told of, by :attr:`Member.id`; of each alert the latest episode.
        severity: the most urgent that it was told of.
        acknowledgement: the last one that it was told of, by :attr:`Incident.acknowledgement`.
        resolved: whether it was told that all is over.
        stands_in_for: channels that did not take a page of it in time, of which this one is the fallback: it hears what
            they hear.
    """

    channel: str
    last_at: datetime
    messages: int
    members: tuple[str, ...]
    severity: str
    acknowledgement: str = ""
    resolved: bool = False
    stands_in_for: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Incident:
    """What people are told of: alerts that have one cause, from the first that fires to the last that ends.

    Attributes:
        number: its name for people and commands; 0 until the database has given one.
        group: what its alerts have in common, as a hash.
        episode: how many incidents of the group there were, this one included.
        cause: the same in words: ``source weather_csv``, ``model flight_delay_ridge@1``, ``service flight_delay@1``.
        opened_at: when its first alert fired.
        resolved_at: when the last one that fired ended; None while any fires.
        members: its alerts, in the order in which they joined.
        told: who was told of it, in the order in which they were.
        acknowledged_by: who works on it; "" for nobody.
        acknowledged_at: since when.
    """

    number: int = 0
    group: str
    episode: int
    cause: str
    opened_at: datetime
    resolved_at: datetime | None = None
    members: tuple[Member, ...] = ()
    told: tuple[Told, ...] = ()
    acknowledged_by: str = ""
    acknowledged_at: datetime | None = None

    @property
    def key(self) -> str:
        """The deduplication key: the same from its first message to its last, and no other incident's."""
        return f"{self.group}-{self.episode}"

    @property
    def name(self) -> str:
        """What people and commands call it."""
        return str(self.number)

    @property
    def open(self) -> bool:
        """Whether anything of it still fires."""
        return self.resolved_at is None

    @property
    def settled(self) -> bool:
        """Whether nothing is ever going to be said of it again."""
        return not self.open and all(one.resolved for one in self.told)

    @property
    def severity(self) -> str:
        """The most urgent of what fires; of all it was made of, once it is over."""
        firing = [one.severity for one in self.members if one.firing]
        return most_urgent(firing or (one.severity for one in self.members))

    @property
    def acknowledgement(self) -> str:
        """Who acknowledged it, and when, as one text; "" for nobody."""
        at = self.acknowledged_at
        return f"{at.isoformat()} {self.acknowledged_by}" if at is not None else ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values from which :meth:`from_dict` makes it again."""
        values: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Incident:
        """Return the incident that :meth:`to_dict` came from.

        Raises:
            ValueError: these are no values of an incident.
        """
        return _adapter().validate_python(values)


def most_urgent(severities: Iterable[str]) -> str:
    """Return the most urgent of some severities; ``info`` where there is none."""
    return max(severities, key=SEVERITIES.index, default="info")


@cache
def _adapter() -> TypeAdapter[Incident]:
    return TypeAdapter(Incident)
