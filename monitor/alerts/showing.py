"""Incidents, as people and programs look at them from a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from monitor.alerts.base import Kind
from monitor.alerts.incident_state import Incident, Member
from monitor.alerts.message import called
from monitor.alerts.outbox import Entry
from monitor.alerts.silences import Silence, silenced_by
from monitor.history import Line

#: What a message of the outbox is called in a timeline.
_SAID = {
    Kind.FIRING: "told",
    Kind.UPDATED: "told again",
    Kind.ACKNOWLEDGED: "told of the acknowledgement",
    Kind.RESOLVED: "told of its end",
    Kind.RETRAINING: "sent the retraining signal",
    Kind.RETRAINED: "told whether retraining helped",
    Kind.ACTION: "told of an action",
}
_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One line of what is shown.

    Attributes:
        at: when.
        what: in a word or two.
        who: whose doing it is; "" for the monitor's.
        text: the rest.
    """

    at: datetime
    what: str
    who: str
    text: str


def incident_values(incident: Incident) -> dict[str, Any]:
    """Return an incident as JSON values."""
    return {
        "number": incident.number,
        "incident": incident.key,
        "cause": incident.cause,
        "severity": incident.severity,
        "state": state_of(incident),
        "opened_at": incident.opened_at.isoformat(),
        "resolved_at": None if incident.resolved_at is None else incident.resolved_at.isoformat(),
        "acknowledged_by": incident.acknowledged_by,
        "told": [one.channel for one in incident.told],
        "alerts": [
            {
                "alert": one.alert,
                "policy": one.policy,
                "service": one.service,
                "rule": one.rule,
                "slice": one.slice,
                "state": str(one.state),
                "firing": one.firing,
                "features": list(one.features),
                "onset": None if one.onset is None else one.onset.isoformat(),
                "summary": one.summary,
            }
            for one in incident.members
        ],
    }


def state_of(incident: Incident) -> str:
    """Return where an incident is: ``open``, ``acknowledged``, ``resolved``, or ``closed`` if nobody saw its end."""
    if not incident.open:
        return "closed" if any(one.ended for one in incident.members) else "resolved"
    return "acknowledged" if incident.acknowledged_by else "open"


def incident_line(incident: Incident) -> str:
    """Return an incident in a line: ``12  page  open  since 2013-07-06 00:00  source weather_csv: null spike ...``."""
    since = min((one.onset for one in incident.members if one.onset is not None), default=incident.opened_at)
    whose = f" by {incident.acknowledged_by}" if incident.open and incident.acknowledged_by else ""
    return (
        f"{incident.name:>4}  {incident.severity:<6}  {state_of(incident)}{whose}  since {time_of(since)}  "
        f"{incident.cause}: {_rules(incident.members)}"
    )


def _rules(members: Sequence[Member]) -> str:
    """Return what an incident is made of: ``null spike (temp, wind and 3 more) in flight_delay@1``."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for one in members:
        found.setdefault((called(one.rule), one.service, one.slice), []).extend(one.features)
    texts = []
    for (rule, service, slice_), features in list(found.items())[:_SHOWN]:
        more = f" and {len(features) - 3:,} more" if len(features) > 3 else ""
        about = f" ({', '.join(features[:3])}{more})" if features else ""
        texts.append(f"{rule}{about} in {service}" + (f", {slice_}" if slice_ else ""))
    rest = len(found) - _SHOWN
    return "; ".join(texts) + (f"; and {rest} more" if rest > 0 else "")


def happenings(lines: Sequence[Line], messages: Sequence[Entry]) -> list[Happening]:
    """Return what happened, in the order in which it was so, with who was told, and what of it arrived."""
    found = [(one.at, 0, Happening(at=one.at, what=one.what, who=one.who, text=one.text)) for one in lines]
    for one in messages:
        what = _SAID.get(Kind(one.kind), one.kind)
        stands_in = f", in place of {one.stands_in_for}" if one.stands_in_for else ""
        said = Happening(at=one.created_at, what=what, who="", text=f"{one.channel}{stands_in}: {_became(one)}")
        found.append((one.created_at, 1, said))
    return [one for _, _, one in sorted(found, key=lambda each: each[:2])]


def _became(message: Entry) -> str:
    tries = f" at the {_nth(message.attempts + 1)} try" if message.attempts else ""
    match str(message.state):
        case "delivered":
            return f"delivered {time_of(message.settled_at)}{tries}"
        case "dead":
            return f"given up {time_of(message.settled_at)}: {message.last_error}"
        case "overtaken":
            why = "" if message.overtaken_by else message.last_error
            return f"not sent: {why or 'newer news overtook it'}"
    if message.attempts:
        tries = "try" if message.attempts == 1 else "tries"
        return f"not delivered yet, {message.attempts} {tries}: {message.last_error}"
    return "waits to be delivered"


def _nth(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")


def incident_lines(
    incident: Incident,
    shown: Sequence[Happening],
    *,
    silences: Sequence[Silence] = (),
    finding: Mapping[str, Any] | None = None,
    now: datetime,
) -> Iterator[str]:
    """Yield what ``featurestore monitor incident`` shows.

    Args:
        incident: the incident.
        shown: what happened.
        silences: all there are.
        finding: the message of its first alert, where there is one.
        now: the clock that the incident goes by.
    """
    ended = f", over since {time_of(incident.resolved_at)}" if not incident.open else ""
    yield f"Incident {incident.name}: {incident.cause} ({incident.severity}, {state_of(incident)}{ended})"
    if incident.open and incident.acknowledged_by:
        yield f"  {incident.acknowledged_by} works on it since {time_of(incident.acknowledged_at)}"
    if finding and finding.get("suggestedAction") and incident.open:
        yield f"  do: {finding['suggestedAction']}"
    yield "Alerts"
    for one in incident.members:
        rows = f", {one.slice}" if one.slice else ""
        hushed = silenced_by(one, incident.name, silences, now) if incident.open else ()
        quiet = "".join(f"; silence {each.id} by {each.author} until {time_of(each.expires_at)}" for each in hushed)
        state = "closed" if one.ended else one.state
        yield f"  {state:<10}  {called(one.rule)} of {one.service}{rows}, by policy {one.policy}{quiet}"
        if one.summary:
            yield f"              {one.summary}"
    yield "Timeline"
    for line in shown:
        who = f" by {line.who}" if line.who else ""
        yield f"  {time_of(line.at)}  {line.what}{who}{': ' if line.text else ''}{line.text}"


def time_of(value: datetime | None) -> str:
    """Return an instant as it is read here: to the second, UTC."""
    return "never" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
